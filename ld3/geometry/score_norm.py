"""Root-mean-square score of a one-parameter family of densities, as a smooth function of its noise level."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor

# Levels handed over in float32, or as exp(-λ), miss the ends of the range by rounding.
_RANGE_SLACK: Final = 1e-6


def gauss_legendre(order: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights (order,), float64, of the Gauss-Legendre rule on [0, 1] (Golub & Welsch 1969)."""
    k = torch.arange(1, order, dtype=torch.float64)
    off_diagonal = k / (4.0 * k.square() - 1.0).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(off_diagonal, 1) + torch.diag(off_diagonal, -1))
    return (nodes + 1.0) / 2.0, vectors[0].square()


def check_range(sigma: Tensor, minimum: float, maximum: float) -> None:
    """Raise ValueError where a noise level lies outside [minimum, maximum] or is NaN."""
    if sigma.numel() == 0:
        return
    low, high = (float(bound) for bound in sigma.detach().aminmax())
    if not (low >= minimum * (1.0 - _RANGE_SLACK) and high <= maximum * (1.0 + _RANGE_SLACK)):
        raise ValueError(
            f"sigma must lie in [{minimum:g}, {maximum:g}] rad, got values in [{low:g}, {high:g}]; rescale it"
        )


def _spline_coefficients(values: Tensor) -> Tensor:
    """Not-a-knot cubic spline through values (N,) at 0, 1, ..., N-1: coefficients (N-1, 4), constant term first."""
    n = len(values)
    system = torch.diag(values.new_full((n,), 4.0))
    system += torch.diag(values.new_ones(n - 1), 1) + torch.diag(values.new_ones(n - 1), -1)
    not_a_knot = values.new_tensor([1.0, -2.0, 1.0])
    system[0], system[-1] = 0.0, 0.0
    system[0, :3], system[-1, -3:] = not_a_knot, not_a_knot
    right = torch.zeros_like(values)
    right[1:-1] = 6.0 * values.diff(n=2)
    curvature = torch.linalg.solve(system, right)
    left, next_ = curvature[:-1], curvature[1:]
    slope = values.diff() - (2.0 * left + next_) / 6.0
    return torch.stack([values[:-1], slope, left / 2.0, (next_ - left) / 6.0], dim=-1)


@final
@dataclass(frozen=True)
class ScoreNorm:
    """sqrt(E|score|²) as a function of σ in [minimum, maximum], twice continuously differentiable.

    log(σ · norm) is a cubic spline in log σ: for small σ it is constant, so the 1/σ of a Gaussian is exact.
    `coefficients` has shape (intervals, 4), float64.
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
            return cls(minimum, maximum, _spline_coefficients(values))

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
        intervals = len(self.coefficients)
        step = math.log(self.maximum / self.minimum) / intervals
        position = (log_sigma - math.log(self.minimum)) / step
        interval = position.detach().floor().long().clamp(0, intervals - 1)
        offset = position - interval
        c0, c1, c2, c3 = self.coefficients[interval].unbind(-1)
        log_scaled = c0 + offset * (c1 + offset * (c2 + offset * c3))
        return (log_scaled - log_sigma).exp().to(sigma.dtype)
