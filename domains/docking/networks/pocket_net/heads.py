"""From features of the ligand's atoms to scores of its degrees of freedom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from domains.docking.networks.pocket_net.config import PocketNetConfig
from domains.docking.networks.pocket_net.tensor_field import mix_vectors, vector_linear
from domains.docking.networks.score import Scores
from domains.docking.poses.kinematics import centroid
from domains.docking.structures.batch import ComplexBatch


@final
class Twist(nn.Module):
    """What the two ends of a rotatable bond make of it directly: sum_c gate_c axis . (v_u^c x v_v^c).

    A pseudoscalar, as an angle must be, and the same whichever end is called u.
    """

    def __init__(self, config: PocketNetConfig) -> None:
        super().__init__()
        v = config.vectors
        self.left, self.right = vector_linear(v, v), vector_linear(v, v)
        self.gate = nn.Sequential(
            nn.Linear(2 * config.scalars, config.scalars), nn.SiLU(), nn.Linear(config.scalars, v)
        )

    def forward(self, s: Tensor, v: Tensor, noise: Tensor, x: Tensor, bonds: Tensor) -> Tensor:
        """Atoms s (B, A, S), v (B, A, 3, V), noise (B, S), x (B, A, 3) Å, bonds (B, R, 2) -> (B, R)."""
        row = torch.arange(len(x), device=x.device).unsqueeze(1)
        axis = bond_axes(x, bonds).unsqueeze(-1)
        u, w = v[row, bonds[..., 0]], v[row, bonds[..., 1]]
        there, back = (
            torch.linalg.cross(mix_vectors(self.left, a), mix_vectors(self.right, b), dim=-2)
            for a, b in ((u, w), (w, u))
        )
        channels = ((there - back) * axis).sum(-2)
        ends = s[row, bonds[..., 0]] + s[row, bonds[..., 1]]
        gate = self.gate(torch.cat([ends, noise.unsqueeze(1).expand_as(ends)], -1))
        twist: Tensor = (gate * channels).sum(-1) / 4.0
        return twist


def project(batch: ComplexBatch, complex_row: Tensor, x: Tensor, fields: Sequence[Tensor]) -> Scores:
    """Three vector fields (B, A, 3) on atoms at `x` (B, A, 3) Å -> scores of the degrees of freedom.

    Each is a force along its degree of freedom, scaled so that independent forces on the atoms give a number of their
    size: translation is the sum of the first field over the root of the number of atoms, rotation the torque of the
    second about the centroid over the radius of gyration as well, a torsion the torque of the third on the turned side
    about the bond, over the root of the sum of the squared arms.
    """
    mask = batch.atom_mask[complex_row]
    weight = mask.to(x.dtype).unsqueeze(-1)
    count = weight.sum(1)
    arm = (x - centroid(x, mask).unsqueeze(1)) * weight
    gyration = ((arm.square().sum(-1).sum(1, keepdim=True) / count) + 1e-3).sqrt()
    tr = (fields[0] * weight).sum(1) / count.sqrt()
    rot = torch.linalg.cross(arm, fields[1]).sum(1) / (gyration * count.sqrt())
    bonds, sides = batch.torsion_bonds[complex_row], batch.torsion_side[complex_row].to(x.dtype)
    return Scores(tr, rot, torque_about_bonds(x, fields[2], bonds, sides))


def torque_about_bonds(x: Tensor, force: Tensor, bonds: Tensor, sides: Tensor) -> Tensor:
    """a . sum_i (x_i - p) x f_i / sqrt(sum_i |x_i - p|² + 1 Å²), (B, R), for atoms i on the turned side.

    a is the axis and p the turned end of each bond (B, R, 2); `sides` (B, R, A) marks the atoms i. The sums are taken
    over moments, for (x_i - p) itself would be a tensor (B, R, A, 3).
    """
    row = torch.arange(len(x), device=x.device).unsqueeze(1)
    pivot = x[row, bonds[..., 1]]
    torque = sides @ torch.linalg.cross(x, force) - torch.linalg.cross(pivot, sides @ force)
    square = (
        (sides @ x.square().sum(-1, keepdim=True)).squeeze(-1)
        - 2 * (pivot * (sides @ x)).sum(-1)
        + sides.sum(-1) * pivot.square().sum(-1)
    )
    lever = (square.clamp_min(0.0) + 1.0).sqrt()
    torques: Tensor = (torque * bond_axes(x, bonds)).sum(-1) / lever
    return torques


def bond_axes(x: Tensor, bonds: Tensor) -> Tensor:
    """Unit vectors (B, R, 3) from v to u of the bonds (u, v) in (B, R, 2); zero where both ends are one atom."""
    row = torch.arange(len(x), device=x.device).unsqueeze(1)
    axes: Tensor = F.normalize(x[row, bonds[..., 0]] - x[row, bonds[..., 1]], dim=-1, eps=1e-6)
    return axes
