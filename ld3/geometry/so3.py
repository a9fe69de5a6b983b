"""Rotations as rotation vectors (axis times angle, rad), and the isotropic Gaussian IGSO(3) on them.

σ follows f(ω; σ) = Σ_l (2l+1) exp(-l(l+1)σ²/2) sin((l+1/2)ω)/sin(ω/2): for small σ it is the standard deviation of each
component of the rotation vector.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final

import roma
import torch
from torch import Tensor

from ld3.geometry import igso3
from ld3.geometry.score_norm import ScoreNorm, check_range, gauss_legendre
from ld3.geometry.torus import wrap

SIGMA_MIN: Final = 0.005
SIGMA_MAX: Final = 4.0

_TABLE_NODES: Final = 1024
_QUADRATURE_ORDER: Final = 128
_TAIL: Final = 12.0  # standard deviations: the mass beyond is below 1e-29
_CDF_INTERVALS: Final = 512


def exp(v: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of rotation vectors v (..., 3), in rad; first derivatives are right at v = 0."""
    matrix: Tensor = roma.unitquat_to_rotmat(roma.rotvec_to_unitquat(v))
    return matrix


def log(rotation: Tensor) -> Tensor:
    """Rotation vectors (..., 3) (length ≤ π, rad) of matrices (..., 3, 3); first derivatives are right at identity."""
    vector: Tensor = roma.rotmat_to_rotvec(rotation)
    return vector


def uniform(n: int, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """Rotation vectors (n, 3), in rad, of Haar-distributed rotations (normalised Gaussian quaternions)."""
    quaternion = torch.randn(n, 4, generator=generator, dtype=torch.float64, device=generator.device)
    vector: Tensor = roma.unitquat_to_rotvec(quaternion / quaternion.norm(dim=-1, keepdim=True))
    return vector.to(dtype)


def log_density(omega: Tensor, sigma: Tensor) -> Tensor:
    """log f(ω; σ), the log-density with respect to the normalised Haar measure, at angles `omega` in [0, π] rad.

    `omega` and `sigma` (rad) broadcast; float64 inside, dtype of `omega` outside. Raises ValueError unless σ > 0.
    """
    check_range(sigma, torch.finfo(torch.float32).tiny, math.inf)
    return igso3.log_density(wrap(omega.double()).abs(), sigma.double()).to(omega.dtype)


def score(v: Tensor, sigma: Tensor) -> Tensor:
    """Score (..., 3) in 1/rad of IGSO(3) at rotation vectors v (..., 3): ∂ω log f(|v|; σ) · v/|v|, zero at v = 0.

    The gradient of the Haar density in the frame of v. `sigma` (rad) has the shape of v without its last dimension, or
    broadcasts to it; float64 inside, dtype of `v` outside. Raises ValueError unless σ > 0.
    """
    check_range(sigma, torch.finfo(torch.float32).tiny, math.inf)
    vector = v.double()
    length = vector.square().sum(-1).clamp(min=igso3.ANGLE_MIN**2).sqrt()
    # Beyond half a turn the same rotation has angle 2π - |v| about the opposite axis.
    signed_angle = wrap(length)
    radial = signed_angle * igso3.score_ratio(signed_angle.abs(), sigma.double())
    return (vector * (radial / length)[..., None]).to(v.dtype)


def _angle_density(omega: Tensor, sigma: Tensor) -> Tensor:
    """f(ω; σ) (1 - cos ω)/π, the density of the rotation angle on [0, π]."""
    return igso3.log_density(omega, sigma).exp() * 2.0 * torch.sin(omega / 2.0).square() / math.pi


def _quantile(probability: Tensor, sigma: Tensor) -> Tensor:
    """Angles (B,) below which IGSO(3) at `sigma` (B,) has mass `probability` (B,), float64.

    Inverts the piecewise quadratic CDF (linear density) on a grid of its own for every level.
    """
    step = (_TAIL * sigma).clamp(max=math.pi)[:, None] / _CDF_INTERVALS
    grid = step * torch.arange(_CDF_INTERVALS + 1, dtype=sigma.dtype, device=sigma.device)
    density = _angle_density(grid, sigma[:, None])
    area = (density[:, 1:] + density[:, :-1]) * step / 2.0
    cdf = torch.cat([torch.zeros_like(step), area.cumsum(-1)], dim=-1)
    target = probability[:, None] * cdf[:, -1:]
    interval = (torch.searchsorted(cdf, target, right=True) - 1).clamp(0, _CDF_INTERVALS - 1)
    left, right = density.gather(1, interval), density.gather(1, interval + 1)
    rest = target - cdf.gather(1, interval)
    root = (left.square() + 2.0 * rest * (right - left) / step).clamp(min=0.0).sqrt()
    offset = 2.0 * rest / (left + root).clamp(min=torch.finfo(sigma.dtype).tiny)
    return (grid.gather(1, interval) + torch.minimum(offset, step))[:, 0]


@torch.no_grad()
def sample(sigma: Tensor, generator: torch.Generator) -> Tensor:
    """Rotation vectors (B, 3), in rad, drawn from IGSO(3) at levels `sigma` (B,), in rad; their CDF holds to 4e-5.

    float64 inside, dtype of `sigma` outside. Raises ValueError unless σ > 0 and σ is a vector.
    """
    check_range(sigma, torch.finfo(torch.float32).tiny, math.inf)
    if sigma.ndim != 1:
        raise ValueError(f"sigma must have shape (B,), got {tuple(sigma.shape)}; expand or flatten it")
    probability = torch.rand(len(sigma), generator=generator, dtype=torch.float64, device=sigma.device)
    angle = _quantile(probability, sigma.double())
    axis = torch.randn(len(sigma), 3, generator=generator, dtype=torch.float64, device=sigma.device)
    vector: Tensor = angle[:, None] * axis / axis.norm(dim=-1, keepdim=True)
    return vector.to(sigma.dtype)


def _quadrature_norm(sigma: Tensor) -> Tensor:
    """sqrt(∫ (∂ω log f)² f (1 - cos ω)/π dω) for levels (N,), by Gauss-Legendre over the angles that carry mass."""
    nodes, weights = gauss_legendre(_QUADRATURE_ORDER)
    width = (_TAIL * sigma).clamp(max=math.pi)[:, None]
    omega, level = width * nodes, sigma[:, None]
    squared_score = (omega * igso3.score_ratio(omega, level)).square()
    squared_norm: Tensor = (width * weights * squared_score * _angle_density(omega, level)).sum(-1)
    return squared_norm.sqrt()


@cache
def _score_norm(device: torch.device) -> ScoreNorm:
    return ScoreNorm.tabulate(_quadrature_norm, SIGMA_MIN, SIGMA_MAX, _TABLE_NODES).to(device)


def score_norm(sigma: Tensor) -> Tensor:
    """sqrt(E|score|²) (1/rad) of IGSO(3) at levels `sigma` (rad, any shape), differentiable in σ; √3/σ for small σ.

    Spline over a quadrature table that is built at the first call. Raises ValueError for σ outside [0.005, 4].
    """
    return _score_norm(sigma.device)(sigma)
