"""A grid for one receptor and a sample of a library, and whether it pays: on the sample, and on ligands not in it."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from domains.bootstrap import Interval, bootstrap_difference, bootstrap_interval
from domains.docking.engine import dock_by_teacher, dock_groups, make_groups
from domains.docking.fits import learn_grid
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.timed_pool import Failure, run
from domains.docking.samplers import Sampler, sampler_of, usual_sampler
from domains.docking.screen.conformers import Recipe, prepare
from domains.docking.screen.library import Library
from domains.docking.screen.molecules import Molecule, identify
from domains.docking.screen.receptor import Receptor
from domains.docking.settings import TEACHER
from domains.docking.structures.complexes import Complex
from domains.seeds import seed_of
from ld3.learn import FitResult

_PATIENCE: Final = 60.0  # s for a conformer
FITTED: Final = "ligands of the fit, new starts"
OTHERS: Final = "other ligands"
USUAL: Final = "usual grid"
_NEAR: Final = 2.0  # Å from where the teacher ends


def plan(nfe: int, poses: int, test_poses: int, sample: int, others: int) -> dict[str, float]:
    """Stage -> the network evaluations that it takes, about."""
    found: dict[str, float] = {"fit": 2.0 * TEACHER.nfe * poses}
    for name, count in ((FITTED, sample), (OTHERS, others)):
        found[f"teacher, {name}"] = TEACHER.nfe * count * test_poses
        found |= {f"{grid}, {name}": nfe * count * test_poses for grid in (USUAL, "fitted grid")}
    return found


Stage = Callable[[str], Callable[[int, int], None]]
"""Names a part of the work, and gives a callback (done, in all) for it."""


@final
@dataclass(frozen=True, eq=False)
class Comparison:
    """Two grids on the same starts of the same ligands, by how far they end from the teacher.

    Attributes:
        ligands: how many.
        poses: of each.
        usual, fitted: share of poses within 2 Å of the teacher's, with 95% intervals over ligands and poses.
        gain: fitted - usual, with the interval of the difference.
    """

    ligands: int
    poses: int
    usual: Interval
    fitted: Interval
    gain: Interval


def draw_ligands(library: Library, receptor: Receptor, count: int, seed: int) -> list[Complex]:
    """At most `count` ligands of a library with the receptor, drawn at random, each once; named by their keys.

    The library is streamed. Which ligands are drawn depends on the ligands and the seed, not on their order.
    """
    drawn: dict[bytes, Molecule] = {}
    lots: list[tuple[int, bytes]] = []  # the smallest lots win; a heap of the negated ones has the largest in front
    for molecule in _molecules(library):
        lot = -seed_of(seed, "draw", molecule.key.hex())
        if molecule.key in drawn or (len(lots) == count and lot < lots[0][0]):
            continue
        drawn[molecule.key] = molecule
        heapq.heappush(lots, (lot, molecule.key))
        if len(lots) > count:
            del drawn[heapq.heappop(lots)[1]]
    order = [key for _, key in sorted(lots, reverse=True)]
    made = run(prepare, [[Recipe(drawn[key].smiles, seed)] for key in order], 1, _PATIENCE)
    return [
        receptor.with_ligand(form.ligands[0], form.key)
        for (forms,) in made
        if not isinstance(forms, Failure)
        for form in forms
    ]


def _molecules(library: Library) -> Iterator[Molecule]:
    return (found for entry in library.entries() if isinstance(found := identify(entry), Molecule))


def fit_receptor(
    model: DockingModel,
    complexes: Sequence[Complex],
    others: Sequence[Complex],
    nfe: int,
    poses: int,
    test_poses: int,
    seed: int,
    folder: Path,
    stage: Stage,
) -> tuple[FitResult, dict[str, Comparison]]:
    """Learn a grid on `complexes`, and compare it with the one that docks without a fit, on new starts of theirs and
    of `others`.

    Raises:
        ValueError: if the fit cannot be.
    """
    usual, _ = usual_sampler(model, nfe)
    fit = learn_grid(model, complexes, nfe, poses=poses, seed=seed, folder=folder, on_progress=stage("fit"))
    found = {}
    for name, own in ((FITTED, complexes), (OTHERS, others)):
        found[name] = compare(model, own, usual, fit, test_poses, seed, partial(_within, stage, name))
    return fit, found


def _within(stage: Stage, name: str, part: str) -> Callable[[int, int], None]:
    return stage(f"{part}, {name}")


def compare(
    model: DockingModel,
    complexes: Sequence[Complex],
    usual: Sampler,
    fitted: FitResult,
    poses: int,
    seed: int,
    stage: Stage,
) -> Comparison:
    """See :class:`Comparison`."""
    groups = make_groups(model, complexes, poses, seed)
    goals, _ = dock_by_teacher(groups, TEACHER, on_progress=stage("teacher"))
    near: list[list[NDArray[Any]]] = []
    for name, sampler in ((USUAL, usual), ("fitted grid", sampler_of(model, fitted))):
        found = dock_groups(groups, sampler, on_progress=stage(name))
        near.append([_near(found.positions[name], goals.positions[name]) for name in goals.positions])
    figures = [bootstrap_interval(values, "mean", seed) for values in near]
    gain = bootstrap_difference(near[1], near[0], "mean", seed)
    return Comparison(len(complexes), poses, figures[0], figures[1], gain)


def _near(positions: NDArray[np.float32], goals: NDArray[np.float32]) -> NDArray[np.float64]:
    """1.0 for each pose (S, A, 3) within 2 Å RMSD of its goal; a pose that failed is not."""
    rmsd = np.sqrt(np.square(positions.astype(np.float64) - goals).sum(-1).mean(-1))
    return (rmsd < _NEAR).astype(np.float64)
