"""Pose ⊕ (translation, rotation, torsions): how a ligand moves.

DiffDock's convention (Corso et al. 2023, arXiv 2210.01776, section 4): the rigid part turns the pose about its centroid
and shifts it; the torsions are then applied bond by bond, and the flexed pose is superposed on the rigid one, so that a
torsion update carries no net translation or rotation. All functions are batched over poses and differentiable.
"""

from __future__ import annotations

import roma
import torch
from torch import Tensor


def centroid(positions: Tensor, mask: Tensor) -> Tensor:
    """Mean position (B, 3) of the atoms of `positions` (B, A, 3) that `mask` (B, A) keeps."""
    weight = mask.to(positions.dtype).unsqueeze(-1)
    return (positions * weight).sum(1) / weight.sum(1)


def move_rigidly(positions: Tensor, mask: Tensor, translation: Tensor, rotation: Tensor) -> Tensor:
    """Turn (B, A, 3) positions by the rotation vectors (B, 3) (rad, about the centroid), then shift by (B, 3) Å."""
    centre = centroid(positions, mask).unsqueeze(1)
    matrix = roma.rotvec_to_rotmat(rotation)
    return (positions - centre) @ matrix.transpose(1, 2) + centre + translation.unsqueeze(1)


def turn_bond(positions: Tensor, bond: Tensor, side: Tensor, angle: Tensor) -> Tensor:
    """Turn the atoms in `side` (B, A) by `angle` (B,) rad about the bond (u, v) = `bond` (B, 2).

    The axis points from the turned end v to u and passes through v (DiffDock's sign). Rodrigues' formula.
    """
    row = torch.arange(len(positions), device=positions.device)
    pivot = positions[row, bond[:, 1]].unsqueeze(1)
    axis = positions[row, bond[:, 0]].unsqueeze(1) - pivot
    # Padding rows point at (0, 0), whose axis is zero: they turn nothing, and must not divide by zero.
    axis = axis / axis.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    arm = torch.where(side.unsqueeze(-1), positions - pivot, torch.zeros_like(positions))
    across = torch.linalg.cross(axis.expand_as(arm), arm)
    sin, cos = angle.sin()[:, None, None], angle.cos()[:, None, None]
    return positions + sin * across + (1 - cos) * torch.linalg.cross(axis.expand_as(arm), across)


def flex(positions: Tensor, bonds: Tensor, sides: Tensor, angles: Tensor) -> Tensor:
    """Apply torsion updates `angles` (B, R) rad, bond by bond, without removing the rigid motion they cause."""
    for r in range(bonds.shape[1]):
        positions = turn_bond(positions, bonds[:, r], sides[:, r], angles[:, r])
    return positions


def superpose(positions: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Rigid motion of (B, A, 3) `positions` that is nearest to `target` in the least-squares sense (Kabsch 1976)."""
    a = positions - centroid(positions, mask).unsqueeze(1)
    centre = centroid(target, mask).unsqueeze(1)
    b = target - centre
    weight = mask.to(positions.dtype).unsqueeze(-1)
    matrix = roma.special_procrustes((weight * b).transpose(1, 2) @ a)
    return a @ matrix.transpose(1, 2) + centre


def move(
    positions: Tensor, mask: Tensor, bonds: Tensor, sides: Tensor, translation: Tensor, rotation: Tensor, angles: Tensor
) -> Tensor:
    """Pose ⊕ (translation (B, 3) Å, rotation (B, 3) rad, angles (B, R) rad) -> positions (B, A, 3) Å.

    `mask` (B, A) marks real atoms, `bonds` (B, R, 2) and `sides` (B, R, A) the torsions; padding torsions have an empty
    side, padding atoms move with the rest.
    """
    rigid = move_rigidly(positions, mask, translation, rotation)
    if bonds.shape[1] == 0:
        return rigid
    return superpose(flex(rigid, bonds, sides, angles), rigid, mask)
