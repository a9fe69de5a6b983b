"""Increasing levels from any parameters: the gaps between them, rescaled one by one."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

FARTHEST: Final = 12.0
"""Where parameters stop having an effect. Of ordinary gaps, one of exp(-24) times its neighbour is one in float64;
a line search that went on would reach levels that are equal."""


def scaled_gaps(base: Tensor, theta: Tensor) -> Tensor:
    """The ends of `base` (N+1,), and between them its gaps times exp(θ), rescaled to fill the interval."""
    share = torch.softmax(base.diff().log() + theta.clamp(-FARTHEST, FARTHEST), 0)
    inner = base[0] + (base[-1] - base[0]) * share.cumsum(0)[:-1]
    return torch.cat([base[:1], inner, base[-1:]])


def offset_share(psi: Tensor) -> Tensor:
    """1 - exp(-ψ), by what share of a gap its first level moves to the second: from 0 at ψ <= 0 to just below 1."""
    return -torch.expm1(-psi.clamp(0.0, FARTHEST))
