"""The circle R/2πZ and the wrapped normal distribution on it.

p(x; σ) = Σ_k exp(-(x + 2πk)²/2σ²) / (σ √2π) = (1 + 2 Σ_j exp(-j²σ²/2) cos(jx)) / 2π, the same function by Poisson
summation. The sum over images is exact in the far tail at small σ, the Fourier series keeps its relative accuracy
where p is nearly flat at large σ; for σ from 0.9 to 1.1 both hold to rounding, and at σ = 1
the formulas are switched.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final

import torch
from torch import Tensor

from ld3.geometry.score_norm import ScoreNorm, check_range, gauss_legendre

SIGMA_MIN: Final = 0.005
SIGMA_MAX: Final = 2.0 * math.pi

_SWITCH: Final = 1.0
# At σ = 1 the first image left out weighs exp(-12π²) against the kept ones, the first frequency left out exp(-60).
_IMAGES: Final = 2
_FREQUENCIES: Final = 10

_TABLE_NODES: Final = 1024
_QUADRATURE_ORDER: Final = 128
_TAIL: Final = 12.0  # standard deviations: the mass beyond is below 1e-31


def wrap(x: Tensor) -> Tensor:
    """Representative of angles x (rad, any shape) in [-π, π], with derivative 1; exact for |x| < π."""
    turns = torch.round(x.detach().double() / (2.0 * math.pi))
    return (x.double() - 2.0 * math.pi * turns).to(x.dtype)


def _score_images(x: Tensor, sigma: Tensor) -> Tensor:
    """∂ₓ log p = -Σ_k w_k (x + 2πk)/σ², w = softmax over images of -(x + 2πk)²/2σ²."""
    k = torch.arange(-_IMAGES, _IMAGES + 1, dtype=x.dtype, device=x.device)
    z = x[..., None] + 2.0 * math.pi * k
    variance = sigma.square()
    weights = torch.softmax(-z.square() / (2.0 * variance[..., None]), dim=-1)
    return -(weights * z).sum(-1) / variance


def _score_fourier(x: Tensor, sigma: Tensor) -> Tensor:
    """∂ₓ log p = -2 Σ_j j a_j sin(jx) / (1 + 2 Σ_j a_j cos(jx)), a_j = exp(-j²σ²/2)."""
    j = torch.arange(1, _FREQUENCIES + 1, dtype=x.dtype, device=x.device)
    amplitude = torch.exp(-j.square() * sigma.square()[..., None] / 2.0)
    phase = j * x[..., None]
    density = 1.0 + 2.0 * (amplitude * phase.cos()).sum(-1)
    return -2.0 * (j * amplitude * phase.sin()).sum(-1) / density


def score(x: Tensor, sigma: Tensor) -> Tensor:
    """Score ∂ₓ log p(x; σ) (1/rad) of the wrapped normal.

    `x` and `sigma` (rad) broadcast; float64 inside, dtype of `x` outside. Raises ValueError unless σ > 0.
    """
    check_range(sigma, torch.finfo(torch.float32).tiny, math.inf)
    angle, level = wrap(x.double()), sigma.double()
    images = _score_images(angle, level.clamp(max=_SWITCH))
    fourier = _score_fourier(angle, level.clamp(min=_SWITCH))
    return torch.where(level < _SWITCH, images, fourier).to(x.dtype)


def sample(sigma: Tensor, generator: torch.Generator) -> Tensor:
    """Draws (rad, in [-π, π]) from the wrapped normal, one for each entry of `sigma` (rad, any shape)."""
    noise = torch.randn(sigma.shape, generator=generator, dtype=torch.float64, device=sigma.device)
    return wrap(sigma.double() * noise).to(sigma.dtype)


def _density(x: Tensor, sigma: Tensor) -> Tensor:
    """p(x; σ) by the sum over images, enough of them for every tabulated σ."""
    reach = math.ceil(_TAIL * SIGMA_MAX / (2.0 * math.pi))
    k = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    z = (x[..., None] + 2.0 * math.pi * k) / sigma[..., None]
    return torch.exp(-z.square() / 2.0).sum(-1) / (sigma * math.sqrt(2.0 * math.pi))


def _quadrature_norm(sigma: Tensor) -> Tensor:
    """sqrt(∫ score² p dx) for levels (N,), by Gauss-Legendre over the half circle or the part that carries mass."""
    nodes, weights = gauss_legendre(_QUADRATURE_ORDER)
    width = (_TAIL * sigma).clamp(max=math.pi)[:, None]
    x, level = width * nodes, sigma[:, None]
    return (2.0 * width * weights * score(x, level).square() * _density(x, level)).sum(-1).sqrt()


@cache
def _score_norm(device: torch.device) -> ScoreNorm:
    return ScoreNorm.tabulate(_quadrature_norm, SIGMA_MIN, SIGMA_MAX, _TABLE_NODES).to(device)


def score_norm(sigma: Tensor) -> Tensor:
    """sqrt(E[score²]) (1/rad) of the wrapped normal at levels `sigma` (rad, any shape), differentiable in σ.

    Spline over a quadrature table that is built at the first call. Raises ValueError for σ outside [0.005, 2π].
    """
    return _score_norm(sigma.device)(sigma)
