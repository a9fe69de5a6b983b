"""The straight path from data to noise, of rectified flows and flow matching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ld3.schedules.base import Schedule, check_increasing


@final
@dataclass(frozen=True)
class RectifiedFlow(Schedule):
    """α = 1 - t, σ = t (Liu et al., arXiv 2209.03003; Lipman et al., arXiv 2210.02747).

    `t_max` stays below 1, where α vanishes and λ is -∞.
    """

    t_min: float = 1e-3
    t_max: float = 1.0 - 1e-3

    def __post_init__(self) -> None:
        check_increasing(zero=0.0, t_min=self.t_min, t_max=self.t_max, one=1.0)

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t.double()

    def half_log_snr(self, t: Tensor) -> Tensor:
        return -torch.logit(t.double())

    def time(self, lam: Tensor) -> Tensor:
        return torch.sigmoid(-lam.double())
