"""The Fréchet distance of two sets of points, each taken as a Gaussian (Heusel et al., arXiv 1706.08500)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Gaussian(NamedTuple):
    """Mean (D,) and covariance (D, D), float64."""

    mean: Tensor
    covariance: Tensor


def gaussian(points: Tensor) -> Gaussian:
    """Moments of `points` (n, D).

    Raises:
        ValueError: if there are fewer than two points.
    """
    if len(points) < 2:
        raise ValueError(f"points must be at least two for a covariance, got {len(points)}")
    points = points.double()
    return Gaussian(points.mean(0), torch.atleast_2d(torch.cov(points.T)))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """|μ_a - μ_b|² + tr(Σ_a + Σ_b - 2 (Σ_a Σ_b)^½), in squared units of the points.

    The root's trace is that of (Σ_a^½ Σ_b Σ_a^½)^½, which is symmetric.
    """
    root = _root(a.covariance)
    cross = torch.linalg.eigvalsh(root @ b.covariance @ root).clamp(min=0).sqrt().sum()
    means = (a.mean - b.mean).square().sum()
    return float(means + a.covariance.trace() + b.covariance.trace() - 2 * cross)


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
