"""Variance-exploding schedules: the data keep their scale, the noise grows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ld3.schedules.base import Schedule, check_increasing


class VarianceExploding(Schedule):
    """α = 1, so that λ = -log σ."""

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t, dtype=torch.float64)


@final
@dataclass(frozen=True)
class VE(VarianceExploding):
    """σ(t) = σ_min (σ_max/σ_min)^t, so that λ is affine in t (Song et al., arXiv 2011.13456)."""

    sigma_min: float
    sigma_max: float
    t_min: float = 0.0
    t_max: float = 1.0

    def __post_init__(self) -> None:
        check_increasing(zero=0.0, sigma_min=self.sigma_min, sigma_max=self.sigma_max)
        check_increasing(t_min=self.t_min, t_max=self.t_max)

    @property
    def _log_ratio(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)

    def half_log_snr(self, t: Tensor) -> Tensor:
        return -(math.log(self.sigma_min) + t.double() * self._log_ratio)

    def time(self, lam: Tensor) -> Tensor:
        return (-lam.double() - math.log(self.sigma_min)) / self._log_ratio


@final
@dataclass(frozen=True)
class EDM(VarianceExploding):
    """σ(t) = t (Karras et al., arXiv 2206.00364)."""

    t_min: float = 0.002
    t_max: float = 80.0

    def __post_init__(self) -> None:
        check_increasing(zero=0.0, t_min=self.t_min, t_max=self.t_max)

    def half_log_snr(self, t: Tensor) -> Tensor:
        return -torch.log(t.double())

    def time(self, lam: Tensor) -> Tensor:
        return torch.exp(-lam.double())
