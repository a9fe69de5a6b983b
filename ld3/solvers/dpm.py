"""DPM-Solver++, multistep, in data prediction (Lu et al., arXiv 2211.01095)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ld3.solvers.node import Node
from ld3.solvers.onestep import ddim


def dpmpp(history: Sequence[Node], lam_next: Tensor) -> Tensor:
    """One to three nodes: DDIM, 2M, 3M."""
    return (ddim, _second, _third)[len(history) - 1](history, lam_next)


def _second(history: Sequence[Node], lam_next: Tensor) -> Tensor:
    """u = (1 - e^-h)(d_0 + D/2), D = (d_0 - d_1)/r, r = h_1/h."""
    previous, start = history
    h = lam_next - start.lam
    slope = (start.clean - previous.clean) / ((start.lam - previous.lam) / h)
    return -torch.expm1(-h) * (start.clean + slope / 2)


def _third(history: Sequence[Node], lam_next: Tensor) -> Tensor:
    """u = (1 - e^-h) d_0 + φ_2 D_1 + φ_3 D_2, φ_2 = 1 - (1 - e^-h)/h, φ_3 = 1/2 - φ_2/h.

    D_1 = h ẋ_0 from the parabola through three nodes. D_2 is published as the second divided difference h² ẍ_0/2, half
    of what φ_3 belongs to, and every implementation follows: the order is 2, at equal steps with a fifth of the local
    error of 2M. The predictor of `unipc_bh1_3` has the full weight.
    """
    older, previous, start = history
    h = lam_next - start.lam
    r_0, r_1 = (start.lam - previous.lam) / h, (previous.lam - older.lam) / h
    slope_0 = (start.clean - previous.clean) / r_0
    slope_1 = (previous.clean - older.clean) / r_1
    second = (slope_0 - slope_1) / (r_0 + r_1)
    first = slope_0 + r_0 * second
    phi_1 = -torch.expm1(-h)
    phi_2 = 1 - phi_1 / h
    phi_3 = 1 / 2 - phi_2 / h
    return phi_1 * start.clean + phi_2 * first + phi_3 * second
