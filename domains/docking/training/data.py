"""Complexes to train on: splits by name, and batches of similar size with pockets that vary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import torch

from domains.docking.structures.batch import ComplexBatch, collate
from domains.docking.structures.complexes import Complex, read
from domains.docking.structures.pocket import pocket_around_ligand
from domains.docking.structures.text_files import read_names
from domains.errors import InputError, InputProblem

SPLITS = Path(__file__).parents[1] / "splits"


@dataclass(frozen=True)
class Split:
    """Complexes by what the network knows of them."""

    train: tuple[Complex, ...]
    ligands: tuple[Complex, ...]  # validation: other ligands of targets in `train`
    targets: tuple[Complex, ...]  # validation: complexes of targets that are not in `train`

    @property
    def all(self) -> tuple[Complex, ...]:
        """Of the three parts."""
        return (*self.train, *self.ligands, *self.targets)


def split(complexes: Sequence[Complex], ligand_names: set[str], target_names: set[str]) -> Split:
    """Sort complexes named SERIES/LIGAND by the two validation lists (full names; series names)."""
    series = {c.name: c.name.split("/")[0] for c in complexes}
    targets = tuple(c for c in complexes if series[c.name] in target_names)
    known = [c for c in complexes if series[c.name] not in target_names]
    ligands = tuple(c for c in known if c.name in ligand_names)
    return Split(tuple(c for c in known if c.name not in ligand_names), ligands, targets)


def read_split(data: Path, ligand_list: Path, target_list: Path) -> tuple[Split, list[InputProblem]]:
    """The data folder split by two lists of names, and what of it cannot be used.

    Raises:
        InputError: if a list cannot be read, or nothing in the folder can be used.
    """
    ligands, targets = read_names(ligand_list), read_names(target_list)
    complexes, problems = read(data)
    if not complexes:
        raise InputError(problems[0])
    return split(complexes, ligands, targets), problems


@final
class BatchSampler:
    """Draws batches of complexes of similar size.

    The pocket's radius varies from draw to draw, so that the set of residues does not give the ligand away, and the
    pocket's atoms are shaken a little.

    Args:
        complexes: what to draw from.
        weights: how often each of them is drawn, relative to the others.
        size: complexes a batch; fewer where there are not as many.
        radii: smallest and largest radius of a pocket, Å.
        shake: standard deviation of the noise on pocket atoms, Å.

    Raises:
        ValueError: if there is no complex.
    """

    def __init__(
        self,
        complexes: Sequence[Complex],
        weights: Sequence[float],
        size: int,
        radii: tuple[float, float],
        shake: float,
    ) -> None:
        if not complexes:
            raise ValueError("complexes: got none, at least one is needed")
        order = sorted(range(len(complexes)), key=lambda i: complexes[i].ligand.n_atoms)
        self.complexes = [complexes[i] for i in order]
        self.weights = torch.tensor([weights[i] for i in order], dtype=torch.float64)
        self.size, self.radii, self.shake = size, radii, shake

    def draw(self, generator: torch.Generator) -> ComplexBatch:
        """`size` complexes whose ligands are neighbours in the order of size."""
        n = len(self.complexes)
        anchor = int(torch.multinomial(self.weights, 1, generator=generator))
        window = max(self.size, n // 6)
        low = max(0, min(anchor - window // 2, n - window))
        near = self.weights[low : low + window]
        others = min(self.size - 1, len(near))
        rows = (torch.multinomial(near, others, generator=generator) + low).tolist() if others else []
        radii = self.radii[0] + (self.radii[1] - self.radii[0]) * torch.rand(self.size, generator=generator)
        chosen = [self.complexes[i] for i in [anchor, *rows]]
        batch = collate([self._with_radius(c, r) for c, r in zip(chosen, radii.tolist(), strict=False)])
        noise = torch.randn(batch.pocket_positions.shape, generator=generator)
        return replace(batch, pocket_positions=batch.pocket_positions + self.shake * noise)

    def _with_radius(self, complex_: Complex, radius: float) -> Complex:
        """The same complex with its pocket cut at another radius (Å) around its bound ligand."""
        pocket = pocket_around_ligand(complex_.protein, complex_.ligand.positions, radius)
        return replace(complex_, pocket=pocket)
