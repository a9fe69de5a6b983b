"""Pose ⊕ (translation, rotation, torsions): how a ligand moves.

DiffDock's convention (Corso et al. 2023, arXiv 2210.01776, section 4): the rigid part turns the pose about its centroid
and shifts it; the torsions are then applied bond by bond, and the flexed pose is superposed on the rigid one, so that a
torsion update carries no net translation or rotation. All functions are batched over poses and differentiable.
"""

from __future__ import annotations

import math

import roma
import torch
from torch import Tensor


def centroid(positions: Tensor, mask: Tensor) -> Tensor:
    """Mean position (B, 3) of the atoms of `positions` (B, A, 3) that `mask` (B, A) keeps."""
    weight = mask.to(positions.dtype).unsqueeze(-1)
    return (positions * weight).sum(1) / weight.sum(1)


def turned(arms: Tensor, rotation: Tensor) -> Tensor:
    """Vectors (B, A, 3) turned by the rotation vectors (B, 3), rad. Rodrigues' formula."""
    angle = torch.linalg.vector_norm(rotation, dim=-1)[:, None, None]
    axis = rotation.unsqueeze(1).expand_as(arms)
    across = torch.linalg.cross(axis, arms)
    # sinc(x) is sin(πx)/(πx): sin(ω)/ω and (1 - cos ω)/ω², smooth where there is no rotation.
    first, second = torch.sinc(angle / math.pi), torch.sinc(angle / (2 * math.pi)).square() / 2
    return arms + first * across + second * torch.linalg.cross(axis, across)


def move_rigidly(positions: Tensor, mask: Tensor, translation: Tensor, rotation: Tensor) -> Tensor:
    """Turn (B, A, 3) positions by the rotation vectors (B, 3) (rad, about the centroid), then shift by (B, 3) Å."""
    centre = centroid(positions, mask).unsqueeze(1)
    return turned(positions - centre, rotation) + (centre + translation.unsqueeze(1))


def flex(positions: Tensor, bonds: Tensor, sides: Tensor, angles: Tensor) -> Tensor:
    """Apply torsion updates `angles` (B, R) rad, without removing the rigid motion they cause.

    The atoms of a side turn about the bond (u, v), v on that side, whose axis points to u and passes through v
    (DiffDock's sign). In which order does not matter, since sides lie within each other or apart. From the smallest
    side to the largest no bond has been moved before it turns, so that all axes are those of `positions`.
    """
    order = sides.sum(-1).argsort(-1)
    row = torch.arange(len(positions), device=positions.device).unsqueeze(-1)
    ends = positions[row.unsqueeze(-1), bonds[row, order]]
    turn = _about(ends[:, :, 0] - ends[:, :, 1], angles.gather(1, order))
    # x -> (x - v) M + v, the transposes of rotations.
    shift = ends[:, :, 1:] - ends[:, :, 1:] @ turn
    inside = sides[row, order].unsqueeze(-1)
    for side, matrix, moved in zip(inside.unbind(1), turn.unbind(1), shift.unbind(1), strict=True):
        positions = torch.where(side, torch.baddbmm(moved, positions, matrix), positions)
    return positions


def _about(axis: Tensor, angle: Tensor) -> Tensor:
    """Transposed rotation matrices (..., 3, 3) by `angle` (...) rad about `axis` (..., 3) of any length."""
    # Padding rows point at (0, 0), whose axis is zero: they turn nothing, and must not divide by zero.
    unit = axis / torch.linalg.vector_norm(axis, dim=-1, keepdim=True).clamp_min(1e-6)
    identity = torch.eye(3, dtype=axis.dtype, device=axis.device)
    across = torch.linalg.cross(unit.unsqueeze(-2), identity.expand(*unit.shape, 3))  # rows k × e_i
    sin, cos = angle.sin()[..., None, None], angle.cos()[..., None, None]
    return identity + sin * across + (1 - cos) * (across @ across)


def superposition(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """Transposed rotation matrices (B, 3, 3) that turn `a` (B, A, 3) nearest to `b` about the origin (Kabsch 1976)."""
    product = (a * mask.unsqueeze(-1)).transpose(1, 2) @ b
    if product.requires_grad:
        # Its derivative is damped where no superposition is unique, such as that of atoms in a row.
        matrix: Tensor = roma.special_procrustes(product)
        return matrix
    u, _, v = torch.linalg.svd(product)
    nearest = u @ v
    mirrored = (torch.linalg.det(nearest) < 0).to(product)[:, None, None]
    return nearest - 2 * mirrored * u[:, :, 2:] @ v[:, 2:]


def move(
    positions: Tensor, mask: Tensor, bonds: Tensor, sides: Tensor, translation: Tensor, rotation: Tensor, angles: Tensor
) -> Tensor:
    """Pose ⊕ (translation (B, 3) Å, rotation (B, 3) rad, angles (B, R) rad) -> positions (B, A, 3) Å.

    `mask` (B, A) marks real atoms, `bonds` (B, R, 2) and `sides` (B, R, A) the torsions; padding torsions have an empty
    side, padding atoms move with the rest.
    """
    centre = centroid(positions, mask).unsqueeze(1)
    arms = turned(positions - centre, rotation)
    if bonds.shape[1]:
        flexed = flex(arms, bonds, sides, angles)
        flexed = flexed - centroid(flexed, mask).unsqueeze(1)
        arms = flexed @ superposition(flexed, arms, mask)
    return arms + (centre + translation.unsqueeze(1))
