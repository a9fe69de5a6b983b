"""Noise schedules: the Gaussian paths x_t = α(t) x_0 + σ(t) z and their half log-SNR λ(t) = log(α/σ).

Every method takes and returns float64 tensors of any shape and is differentiable. `time` inverts `half_log_snr`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import softplus


class Schedule(ABC):
    """A path from data (`t_min`) to noise (`t_max`); λ falls strictly as t grows."""

    @property
    @abstractmethod
    def t_min(self) -> float:
        """Time of the least noise."""

    @property
    @abstractmethod
    def t_max(self) -> float:
        """Time of the most noise."""

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Scale α(t) of the data."""

    @abstractmethod
    def half_log_snr(self, t: Tensor) -> Tensor:
        """Half log-SNR λ(t) = log(α(t) / σ(t))."""

    @abstractmethod
    def time(self, lam: Tensor) -> Tensor:
        """The t at which `half_log_snr` is `lam`."""

    def sigma(self, t: Tensor) -> Tensor:
        """Standard deviation σ(t) = α(t) exp(-λ(t)) of the noise."""
        return self.alpha(t) * torch.exp(-self.half_log_snr(t))


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
        _check_increasing(beta_min=self.beta_min, beta_max=self.beta_max)
        _check_increasing(zero=0.0, t_min=self.t_min, t_max=self.t_max)

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
        _check_increasing(zero=0.0, offset=self.offset)
        _check_increasing(zero=0.0, t_min=self.t_min, t_max=self.t_max, one=1.0)

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
    numbers is told n t - 1.
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
        _check_increasing(zero=0.0, sigma_min=self.sigma_min, sigma_max=self.sigma_max)
        _check_increasing(t_min=self.t_min, t_max=self.t_max)

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
        _check_increasing(zero=0.0, t_min=self.t_min, t_max=self.t_max)

    def half_log_snr(self, t: Tensor) -> Tensor:
        return -torch.log(t.double())

    def time(self, lam: Tensor) -> Tensor:
        return torch.exp(-lam.double())


@final
@dataclass(frozen=True)
class RectifiedFlow(Schedule):
    """α = 1 - t, σ = t (Liu et al., arXiv 2209.03003; Lipman et al., arXiv 2210.02747).

    `t_max` stays below 1, where α vanishes and λ is -∞.
    """

    t_min: float = 1e-3
    t_max: float = 1.0 - 1e-3

    def __post_init__(self) -> None:
        _check_increasing(zero=0.0, t_min=self.t_min, t_max=self.t_max, one=1.0)

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t.double()

    def half_log_snr(self, t: Tensor) -> Tensor:
        return -torch.logit(t.double())

    def time(self, lam: Tensor) -> Tensor:
        return torch.sigmoid(-lam.double())


def _check_increasing(**values: float) -> None:
    if any(not low < high for low, high in pairwise(values.values())):
        raise ValueError(f"{' < '.join(values)} must hold, got {list(values.values())}")


def _interpolate(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Piecewise linear through the points (xs, ys), xs increasing; the outer pieces extend beyond the ends."""
    xs, ys = xs.to(x.device), ys.to(x.device)
    right = torch.searchsorted(xs, x.detach().contiguous()).clamp(1, len(xs) - 1)
    left = right - 1
    slope = (ys[right] - ys[left]) / (xs[right] - xs[left])
    return ys[left] + slope * (x - xs[left])
