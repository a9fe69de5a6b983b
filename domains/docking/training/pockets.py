"""Pockets that vary from draw to draw, so that what is in a pocket does not tell where its ligand is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from domains.docking.structures.batch import ComplexBatch
from domains.docking.structures.pocket import Pocket, pocket_around_ligand, pocket_around_point
from domains.docking.structures.protein import Protein
from domains.docking.structures.residues import ATOM_NAME_VOCABULARY

_AROUND = 4.0  # Å that a pocket around a point reaches beyond the farthest atom of the ligand
_BACKBONE: Final = [ATOM_NAME_VOCABULARY.index(name) for name in ("N", "CA", "C", "O", "OXT")]


@final
@dataclass(frozen=True)
class PocketVariation:
    """How pockets are cut and shaken in training; lengths in Å.

    Raises:
        ValueError: naming the value that is out of its range.
    """

    radii: tuple[float, float] = (5.5, 7.5)
    """smallest and largest distance from the ligand's atoms"""
    point_share: float = 0.0
    """share of pockets that are cut around a point instead, as a user does who knows the site and not the pose"""
    point_radii: tuple[float, float] = (9.0, 12.0)
    """of these; more where the ligand needs it"""
    point_jitter: float = 1.5
    """standard deviation of each coordinate of the point about the ligand's centroid"""
    shake: float = 0.1
    """standard deviation of the noise on all atoms"""
    side_chain_shake: float = 0.0
    """largest standard deviation of more noise on the atoms of side chains; a pocket's own is drawn from 0 to this"""

    def __post_init__(self) -> None:
        for name in ("radii", "point_radii"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be two lengths > 0, the smaller one first, got {getattr(self, name)}")
        if not 0 <= self.point_share <= 1:
            raise ValueError(f"point_share must be in [0, 1], got {self.point_share}")
        for name in ("point_jitter", "shake", "side_chain_shake"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")

    def cut(self, protein: Protein, ligand: NDArray[np.float32], generator: np.random.Generator) -> Pocket:
        """A pocket of the protein for a ligand (A, 3) Å."""
        if generator.random() >= self.point_share:
            return pocket_around_ligand(protein, ligand, generator.uniform(*self.radii))
        point = ligand.mean(0) + self.point_jitter * generator.standard_normal(3)
        reach = float(np.linalg.norm(ligand - point, axis=1).max())
        return pocket_around_point(protein, point, max(generator.uniform(*self.point_radii), reach + _AROUND))

    def shaken(self, batch: ComplexBatch, generator: torch.Generator) -> ComplexBatch:
        """The complexes with noise on the atoms of their pockets."""
        sigma = self.shake + self._side_chains(batch, generator)
        noise = torch.randn(batch.pocket_positions.shape, generator=generator)
        return replace(batch, pocket_positions=batch.pocket_positions + sigma * noise)

    def _side_chains(self, batch: ComplexBatch, generator: torch.Generator) -> Tensor:
        """What side chains shake more than the backbone, (K, P, 1)."""
        largest = self.side_chain_shake * torch.rand(len(batch), 1, 1, generator=generator)
        is_backbone = torch.isin(batch.pocket_atom_name, torch.tensor(_BACKBONE))
        return largest * ~is_backbone.unsqueeze(-1)
