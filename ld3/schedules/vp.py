"""Variance-preserving schedules, α² + σ² = 1, in continuous time or from a table of betas."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ld3.schedules.base import Schedule, check_increasing


class VariancePreserving(Schedule):
    """α² + σ² = 1, given by log α(t) and its inverse."""

    @abstractmethod
    def log_alpha(self, t: Tensor) -> Tensor:
        """log α(t), falling from about 0."""

    @abstractmethod
    def time_at_log_alpha(self, log_alpha: Tensor) -> Tensor:
        """The inverse of `log_alpha`."""

    def alpha(self, t: Tensor) -> Tensor:
        return self.log_alpha(t).exp()

    def half_log_snr(self, t: Tensor) -> Tensor:
        log_alpha = self.log_alpha(t)
        return log_alpha - 0.5 * torch.log(-torch.expm1(2 * log_alpha))

    def time(self, lam: Tensor) -> Tensor:
        return self.time_at_log_alpha(-0.5 * softplus(-2 * lam.double()))  # α² = sigmoid(2λ)


@final
@dataclass(frozen=True)
class VPLinear(VariancePreserving):
    """β(t) = β_min + t (β_max - β_min): log α = -t² (β_max - β_min)/4 - t β_min/2 (Song et al., arXiv 2011.13456)."""

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-3
    t_max: float = 1.0

    def __post_init__(self) -> None:
        check_increasing(beta_min=self.beta_min, beta_max=self.beta_max)
        check_increasing(zero=0.0, t_min=self.t_min, t_max=self.t_max)

    def log_alpha(self, t: Tensor) -> Tensor:
        t = t.double()
        return -(t**2) * (self.beta_max - self.beta_min) / 4 - t * self.beta_min / 2

    def time_at_log_alpha(self, log_alpha: Tensor) -> Tensor:
        # The root of the quadratic in the form that does not cancel as t -> 0.
        root = (self.beta_min**2 - 4 * (self.beta_max - self.beta_min) * log_alpha).sqrt()
        return -4 * log_alpha / (self.beta_min + root)


@final
@dataclass(frozen=True)
class VPCosine(VariancePreserving):
    """α(t) = cos(π/2 (t + s)/(1 + s)) / cos(π/2 s/(1 + s)) (Nichol & Dhariwal, arXiv 2102.09672).

    `t_max` stays below 1, where α vanishes; 0.9946 is where DPM-Solver (arXiv 2206.00927) stops.
    """

    offset: float = 0.008
    t_min: float = 1e-3
    t_max: float = 0.9946

    def __post_init__(self) -> None:
        check_increasing(zero=0.0, offset=self.offset)
        check_increasing(zero=0.0, t_min=self.t_min, t_max=self.t_max, one=1.0)

    def log_alpha(self, t: Tensor) -> Tensor:
        t = t.double()
        return torch.log(torch.cos(self._phase(t)) / torch.cos(self._phase(torch.zeros_like(t))))

    def time_at_log_alpha(self, log_alpha: Tensor) -> Tensor:
        cosine = log_alpha.exp() * torch.cos(self._phase(torch.zeros_like(log_alpha)))
        return torch.arccos(cosine) * (2 / math.pi) * (1 + self.offset) - self.offset

    def _phase(self, t: Tensor) -> Tensor:
        return math.pi / 2 * (t + self.offset) / (1 + self.offset)


@final
@dataclass(frozen=True)
class VPDiscrete(VariancePreserving):
    """A table of n betas: training step i (from 0) is t = (i + 1)/n, where log α = Σ_{j<=i} log(1 - β_j)/2.

    Between the steps log α is linear in t, as in DPM-Solver (arXiv 2206.00927); a network that was trained on step
    numbers is given n t - 1.
    """

    betas: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.betas) < 2:
            raise ValueError(f"betas must have at least 2 entries, got {len(self.betas)}")
        for i, beta in enumerate(self.betas):
            if not 0 < beta < 1:
                raise ValueError(f"betas must lie in (0, 1), got betas[{i}] = {beta}")

    @property
    def t_min(self) -> float:
        return 1 / len(self.betas)

    @property
    def t_max(self) -> float:
        return 1.0

    @cached_property
    def _table(self) -> tuple[Tensor, Tensor]:
        """t and log α at the training steps, shape (n,) each."""
        log_alphas = 0.5 * torch.log1p(-torch.tensor(self.betas, dtype=torch.float64)).cumsum(0)
        return torch.arange(1, len(self.betas) + 1, dtype=torch.float64) / len(self.betas), log_alphas

    def log_alpha(self, t: Tensor) -> Tensor:
        return _interpolate(t.double(), *self._table)

    def time_at_log_alpha(self, log_alpha: Tensor) -> Tensor:
        times, log_alphas = self._table
        return _interpolate(log_alpha, log_alphas.flip(0), times.flip(0))


def _interpolate(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Piecewise linear through the points (xs, ys), xs increasing; the outer pieces extend beyond the ends."""
    xs, ys = xs.to(x.device), ys.to(x.device)
    right = torch.searchsorted(xs, x.detach().contiguous()).clamp(1, len(xs) - 1)
    left = right - 1
    slope = (ys[right] - ys[left]) / (xs[right] - xs[left])
    return ys[left] + slope * (x - xs[left])
