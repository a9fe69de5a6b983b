"""The state of the docking flow: poses, and the steps they can take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from domains.docking.poses import kinematics
from domains.docking.structures.batch import ComplexBatch


class Poses(NamedTuple):
    """B poses of the ligands of a :class:`ComplexBatch`, of any mixture of its complexes."""

    complex_row: Tensor  # (B,) int64
    positions: Tensor  # (B, A, 3) Å, relative to the pocket's origin


def retract(batch: ComplexBatch, poses: Poses, step: Mapping[str, Tensor]) -> Poses:
    """Poses ⊕ step: "tr" (B, 3) Å, "rot" (B, 3) rad about the centroid, "tor" (B, R) rad."""
    row = poses.complex_row
    real = poses.positions.dtype
    moved = kinematics.move(
        poses.positions,
        batch.atom_mask[row],
        batch.torsion_bonds[row],
        batch.torsion_side[row],
        step["tr"].to(real),
        step["rot"].to(real),
        step["tor"].to(real),
    )
    return Poses(row, moved)


def mean_square_displacement(batch: ComplexBatch, poses: Poses, other: Poses) -> Tensor:
    """Mean over atoms of the squared distance (B,) in Å² between two sets of poses, atom by atom."""
    mask = batch.atom_mask[poses.complex_row].to(poses.positions.dtype)
    square = (poses.positions - other.positions).square().sum(-1)
    return (square * mask).sum(1) / mask.sum(1)


def bound_poses(batch: ComplexBatch, complex_row: Tensor) -> Poses:
    """The ligands' input coordinates as poses."""
    return Poses(complex_row, batch.conformer[complex_row].clone())


def tangent_sizes(batch: ComplexBatch) -> dict[str, int]:
    """Number of coordinates per factor, torsions padded to the largest ligand."""
    return {"tr": 3, "rot": 3, "tor": batch.torsion_bonds.shape[1]}
