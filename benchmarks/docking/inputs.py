"""From the user's files to poses of pure noise: complexes, groups of similar size, and where every method starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.docking.options import Choices
from domains.docking.engine import starts
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.flow import DockingFlow
from domains.docking.poses.pose import Poses
from domains.docking.structures.batch import ComplexBatch, collate
from domains.docking.structures.complexes import Complex, Loaded, load_csv, load_folder, load_posebusters
from domains.docking.structures.ligand import with_conformer
from domains.docking.structures.symmetry import automorphisms
from domains.docking.training.data import names_in
from domains.errors import InputError, InputProblem
from domains.seeds import seed_of
from ld3.fingerprint import fingerprint


@dataclass(frozen=True, eq=False)
class Inputs:
    """What is docked, and what cannot be.

    Attributes:
        complexes: in the order of the user's files.
        symmetries: complex -> permutations of its ligand's atoms that leave the molecule as it is.
        problems: records that were left out, and remarks.
        split: "in-sample" for the complexes that the demo weights have seen, "user" for one's own.
    """

    complexes: tuple[Complex, ...]
    symmetries: Mapping[str, NDArray[np.intp]]
    problems: tuple[InputProblem, ...]
    split: Literal["in-sample", "user"]


def load(choices: Choices) -> Inputs:
    """Read the complexes; a record that cannot be used becomes a problem and does not stop the others.

    Raises:
        InputError: if the list of names cannot be read.
    """
    options = choices.options
    loaded, problems = _read(choices)
    if options.only is not None:
        loaded, unknown = _listed(loaded, options.only)
        problems += unknown
    complexes: list[Complex] = []
    symmetries: dict[str, NDArray[np.intp]] = {}
    for found in loaded:
        try:
            ligand = with_conformer(found.ligand, options.seed) if options.conformer == "rdkit" else found.ligand
            symmetries[found.name] = automorphisms(ligand)
        except InputError as error:
            problems.append(replace(error.problem, file=found.name))
        else:
            complexes.append(replace(found, ligand=ligand))
    split: Literal["in-sample", "user"] = "in-sample" if options.complexes is None else "user"
    return Inputs(tuple(complexes), symmetries, tuple(problems), split)


def _read(choices: Choices) -> Loaded:
    options, pocket = choices.options, choices.pocket
    path: Path | None = options.complexes
    if path is None:
        return load_posebusters(pocket)
    if path.suffix.lower() == ".csv" and not path.is_dir():
        return load_csv(path, pocket, seed=options.seed)
    return load_folder(path, pocket)


def _listed(complexes: Sequence[Complex], path: Path) -> Loaded:
    """The complexes that a list names, by themselves or with all others of their protein, and names of nothing."""
    names = names_in(path)
    kept = [found for found in complexes if not names.isdisjoint(_names_of(found))]
    unknown = sorted(names.difference(*map(_names_of, kept)))
    remedy = "correct the name, or see above why it was left out"
    return kept, [InputProblem(str(path), name, "there is no such complex to dock", remedy) for name in unknown]


def _names_of(complex_: Complex) -> set[str]:
    return {complex_.name, complex_.name.split("/")[0]}


@final
@dataclass(frozen=True, eq=False)
class Group:
    """Complexes of similar size, S poses of each: the poses of the first complex, then those of the second, ...

    Attributes:
        flow: the model at the run's score_scale.
        plain: the model at score scale 1.
        start: where every method starts; the same for all.
        at_once: how many poses to solve side by side.
        seeds: complex -> seed of its starts.
    """

    complexes: tuple[Complex, ...]
    flow: DockingFlow
    plain: DockingFlow
    start: Poses
    seeds: Mapping[str, int]
    at_once: int

    def __len__(self) -> int:
        """Number of poses."""
        return len(self.start.complex_row)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.complexes)

    @cached_property
    def keys(self) -> Mapping[bool, str]:
        """What docking depends on: flow, at the run's score scale (True) or at 1 (False), and starts."""
        return {
            sharp: fingerprint(flow.fingerprint(), *self.start)
            for sharp, flow in ((True, self.flow), (False, self.plain))
        }

    def by_complex(self, positions: Tensor) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Poses (B, A, 3) relative to the pockets as poses (S, A_k, 3), Å, in the frame of each protein."""
        per_complex = len(self) // len(self.complexes)
        origins = self.flow.batch.origin.cpu()
        for found, origin, own in zip(self.complexes, origins, positions.cpu().split(per_complex), strict=True):
            yield found.name, (own[:, : found.ligand.n_atoms] + origin).numpy()


def make_groups(model: DockingModel, complexes: Sequence[Complex], choices: Choices) -> list[Group]:
    """All complexes, sorted by size so that little is padded, with their starts."""
    width = max(1, choices.poses_at_once // choices.options.samples)
    order = sorted(complexes, key=size)
    return [_group(model, order[i : i + width], choices) for i in range(0, len(order), width)]


def size(complex_: Complex) -> tuple[int, int, str]:
    """Sorts complexes by what a pose costs, and by name."""
    return complex_.ligand.n_atoms, len(complex_.pocket.positions), complex_.name


def _group(model: DockingModel, complexes: Sequence[Complex], choices: Choices) -> Group:
    options = choices.options
    encoded = model.encode(on_device(complexes, choices))
    flow, plain = DockingFlow(encoded, options.score_scale), DockingFlow(encoded, 1.0)
    seeds = {c.name: seed_of(options.seed, "dock", c.name) for c in complexes}
    start = starts(encoded, complexes, [options.samples] * len(complexes), seeds)
    return Group(tuple(complexes), flow, plain, start, seeds, choices.poses_at_once)


def on_device(complexes: Sequence[Complex], choices: Choices) -> ComplexBatch:
    """The complexes side by side, where the network is."""
    return collate(complexes).to(choices.device)
