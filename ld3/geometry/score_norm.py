"""Root-mean-square score of a one-parameter family of densities, as a smooth function of its noise level."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

# Levels handed over in float32, or as exp(-λ), miss the ends of the range by rounding.
_RANGE_SLACK: Final = 1e-6


def gauss_legendre(order: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights (order,), float64, of the Gauss-Legendre rule on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    return torch.from_numpy((nodes + 1.0) / 2.0), torch.from_numpy(weights / 2.0)


def check_range(sigma: Tensor, minimum: float, maximum: float) -> None:
    """Raise ValueError where a noise level lies outside [minimum, maximum] or is NaN."""
    if sigma.numel() == 0:
        return
    low, high = (float(bound) for bound in sigma.detach().aminmax())
    if not (low >= minimum * (1.0 - _RANGE_SLACK) and high <= maximum * (1.0 + _RANGE_SLACK)):
        raise ValueError(
            f"sigma must lie in [{minimum:g}, {maximum:g}] rad, got values in [{low:g}, {high:g}]; rescale it"
        )


@final
@dataclass(frozen=True)
class ScoreNorm:
    """sqrt(E|score|²) as a function of σ in [minimum, maximum], twice continuously differentiable.

    log(σ · norm) is a cubic spline in log σ: for small σ it is constant, so the 1/σ of a Gaussian is exact.
    `coefficients` has shape (4, intervals), float64, the highest power first.
    """

    minimum: float
    maximum: float
    coefficients: Tensor

    @classmethod
    def tabulate(cls, norm: Callable[[Tensor], Tensor], minimum: float, maximum: float, nodes: int) -> ScoreNorm:
        """Spline through `norm`, a map from levels (nodes,), float64, to root-mean-square scores (nodes,)."""
        # A table born under inference mode could not take part in a later backward pass.
        with torch.inference_mode(False), torch.no_grad():
            log_sigma = torch.linspace(math.log(minimum), math.log(maximum), nodes, dtype=torch.float64)
            values = log_sigma + norm(log_sigma.exp()).log()
            coefficients = CubicSpline(np.arange(nodes), values.numpy()).c
            return cls(minimum, maximum, torch.from_numpy(coefficients))

    def to(self, device: torch.device) -> ScoreNorm:
        """The same table on another device."""
        with torch.inference_mode(False):
            return ScoreNorm(self.minimum, self.maximum, self.coefficients.to(device))

    def __call__(self, sigma: Tensor) -> Tensor:
        """Root-mean-square score (1/rad) at levels `sigma` (rad) of any shape.

        Computed in float64 and returned in the dtype of `sigma`. Raises ValueError outside the tabulated range.
        """
        check_range(sigma, self.minimum, self.maximum)
        log_sigma = sigma.double().log()
        intervals = self.coefficients.shape[1]
        step = math.log(self.maximum / self.minimum) / intervals
        position = (log_sigma - math.log(self.minimum)) / step
        interval = position.detach().floor().long().clamp(0, intervals - 1)
        offset = position - interval
        c3, c2, c1, c0 = self.coefficients[:, interval]
        log_scaled = c0 + offset * (c1 + offset * (c2 + offset * c3))
        return (log_scaled - log_sigma).exp().to(sigma.dtype)
