"""The factors between the network's outputs and scores, as the published weights were trained with them.

Rotations: sqrt(Σ s² p / Σ p / π), the root mean square of the radial score of IGSO(3) over 2000 equally spaced angles,
divided by sqrt(π), at the row of a table of 2000 widths that round(2000 · place) names although the table has 1999
intervals: a width 0.1 to 0.5% larger than asked for.
Torsions: the root mean square of the score of the wrapped normal. The published code draws it by Monte Carlo when it
is imported, so that it is about 1% another from run to run; here it is exact unless such a table is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Final, final

import torch
from torch import Tensor

from ld3.geometry import igso3, so3, torus

_ROWS: Final = 2000
_WIDTHS: Final = (5e-4, 4.0)
_TORUS_WIDTHS: Final = (3e-3 * math.pi, 2 * math.pi)


def rotation_norm(sigma: Tensor) -> Tensor:
    """1/rad, shape of `sigma` (rad), rounded to float32 as the published table is; differentiable."""
    low, high = (math.log10(width) for width in _WIDTHS)
    rows = (_ROWS * (sigma.detach().double().log10() - low) / (high - low)).round().clamp(0, _ROWS - 1).long()
    norms = torch.tensor([_row(row) for row in rows.flatten().tolist()], dtype=torch.float32, device=sigma.device)
    return _with_slope(norms.view(rows.shape).to(sigma.dtype), sigma, so3.score_norm)


@cache
def _row(row: int) -> float:
    low, high = (math.log10(width) for width in _WIDTHS)
    sigma = torch.tensor(10 ** (low + (high - low) * row / (_ROWS - 1)), dtype=torch.float64)
    omega = torch.linspace(0, math.pi, _ROWS + 1, dtype=torch.float64)[1:]
    density = igso3.log_density(omega, sigma.expand_as(omega)).exp() * (1 - omega.cos())
    score = omega * igso3.score_ratio(omega, sigma.expand_as(omega))
    return math.sqrt(float((score.square() * density).sum() / density.sum()) / math.pi)


@final
class TorsionNorm:
    """1/rad as a function of sigma (rad).

    Args:
        table: (n,) mean squares at n widths, log-spaced from 0.003 π to 2 π, of which the nearest is taken.
    """

    def __init__(self, table: Tensor | None = None) -> None:
        self.table = table

    def __call__(self, sigma: Tensor) -> Tensor:
        if self.table is None:
            return torus.score_norm(sigma)
        low, high = (math.log(width) for width in _TORUS_WIDTHS)
        last = len(self.table) - 1
        rows = (last * (sigma.detach().double().log() - low) / (high - low)).round().clamp(0, last).long()
        norms = self.table.to(sigma.device)[rows].float().sqrt().to(sigma.dtype)
        return _with_slope(norms, sigma, torus.score_norm)


def _with_slope(value: Tensor, sigma: Tensor, exact: Callable[[Tensor], Tensor]) -> Tensor:
    """`value`, of a table with steps, with the logarithmic slope of the exact function of `sigma`."""
    if not sigma.requires_grad:
        return value
    smooth = exact(sigma)
    return value * (smooth / smooth.detach())
