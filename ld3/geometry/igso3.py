"""The isotropic Gaussian on SO(3): density of the rotation angle and its logarithmic derivative.

f(ω; σ) = Σ_l (2l+1) exp(-l(l+1)σ²/2) sin((l+1/2)ω)/sin(ω/2) is the density with respect to the normalised Haar measure
of Brownian motion at time σ² (Nikolayev & Savyolova 1997). Poisson summation turns it, exactly, into the wrapped form

    f = exp(σ²/8) √(2π)/σ³ · Σ_m (-1)^m (ω + 2πm) exp(-(ω + 2πm)²/2σ²) / sin(ω/2).

The series cancels catastrophically where f(ω) ≪ f(0), that is in the tail at small σ, where the wrapped form is exact
with one pair of images; the wrapped form cancels where f is nearly flat at large σ, where the series needs a few terms.
For σ from 0.9 to 1.1 both agree to 1e-9, and at σ = 1 the formulas are switched. Shapes of ω and σ broadcast.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

# Below it the ratio score/ω is constant to 2e-11; above it the quotients by ω lose no more than that to cancellation.
ANGLE_MIN: Final = 1e-4

_SWITCH: Final = 1.0
# At σ = 1 the first image left out weighs exp(-12π²) against the kept ones, the first degree left out exp(-66).
_IMAGES: Final = 2
_DEGREE: Final = 10
_TAYLOR_BELOW: Final = 0.1


def _images(omega: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """T and ∂T/∂ω, where T = Σ_m (-1)^m (1 + 2πm/ω) exp((ω² - (ω + 2πm)²)/2σ²), images ±m taken together."""
    variance = sigma.square()
    total, slope = torch.ones_like(omega), torch.zeros_like(omega)
    for m in range(1, _IMAGES + 1):
        shift, sign = 2.0 * math.pi * m, (-1.0) ** m
        near = torch.exp(-shift * (shift / 2.0 - omega) / variance)
        far = torch.exp(-shift * (shift / 2.0 + omega) / variance)
        even, odd = near + far, near - far
        total = total + sign * (even - shift * odd / omega)
        slope = slope + sign * shift * (odd / variance - (shift * even / variance - odd / omega) / omega)
    return total, slope


def _half_angle_term(omega: Tensor) -> Tensor:
    """(1/ω - cot(ω/2)/2) / ω, the logarithmic derivative of ω/sin(ω/2) over ω."""
    square = omega.clamp(max=_TAYLOR_BELOW).square()
    taylor = 1.0 / 12.0 + square * (1.0 / 720.0 + square * (1.0 / 30240.0 + square / 1209600.0))
    large = omega.clamp(min=_TAYLOR_BELOW)
    closed = (1.0 / large - 0.5 / torch.tan(large / 2.0)) / large
    return torch.where(omega < _TAYLOR_BELOW, taylor, closed)


def log_density_wrapped(omega: Tensor, sigma: Tensor) -> Tensor:
    """log f from the wrapped form, for ω in [0, π] and σ up to about 1.2."""
    quotient = omega.clamp(min=ANGLE_MIN)
    total, _ = _images(quotient, sigma)
    gaussian = sigma.square() / 8.0 + 0.5 * math.log(2.0 * math.pi) - 3.0 * sigma.log() - (omega / sigma).square() / 2.0
    return gaussian + torch.log(quotient / torch.sin(quotient / 2.0)) + torch.log(total)


def score_ratio_wrapped(omega: Tensor, sigma: Tensor) -> Tensor:
    """(∂ω log f)/ω from the wrapped form, for ω in [ANGLE_MIN, π] and σ up to about 1.2."""
    total, slope = _images(omega, sigma)
    return -1.0 / sigma.square() + _half_angle_term(omega) + slope / (omega * total)


def _cosine_coefficients(sigma: Tensor) -> tuple[Tensor, ...]:
    """a_j of f = Σ_j a_j cos(jω), which follows from sin((l+1/2)ω)/sin(ω/2) = 1 + 2 Σ_{j≤l} cos(jω)."""
    degree = torch.arange(_DEGREE + 1, dtype=sigma.dtype, device=sigma.device)
    weight = (2.0 * degree + 1.0) * torch.exp(-degree * (degree + 1.0) * sigma.square()[..., None] / 2.0)
    tail = weight.flip(-1).cumsum(-1).flip(-1)
    return torch.cat([tail[..., :1], 2.0 * tail[..., 1:]], dim=-1).unbind(-1)


def log_density_series(omega: Tensor, sigma: Tensor) -> Tensor:
    """log f from the series, for σ from about 0.9."""
    f = torch.zeros_like(omega)
    for j, a in enumerate(_cosine_coefficients(sigma)):
        f = f + a * torch.cos(j * omega)
    return torch.log(f)


def score_ratio_series(omega: Tensor, sigma: Tensor) -> Tensor:
    """(∂ω log f)/ω from the series, for ω from ANGLE_MIN and σ from about 0.9."""
    f, slope = torch.zeros_like(omega), torch.zeros_like(omega)
    for j, a in enumerate(_cosine_coefficients(sigma)):
        f = f + a * torch.cos(j * omega)
        slope = slope - j * a * torch.sin(j * omega)
    return slope / (f * omega)


def log_density(omega: Tensor, sigma: Tensor) -> Tensor:
    """log f for angles in [0, π] and levels in float64."""
    wrapped = log_density_wrapped(omega, sigma.clamp(max=_SWITCH))
    series = log_density_series(omega, sigma.clamp(min=_SWITCH))
    return torch.where(sigma < _SWITCH, wrapped, series)


def score_ratio(omega: Tensor, sigma: Tensor) -> Tensor:
    """(∂ω log f)/ω for angles in [0, π] and levels in float64; even and finite in ω."""
    angle = omega.clamp(min=ANGLE_MIN)
    wrapped = score_ratio_wrapped(angle, sigma.clamp(max=_SWITCH))
    series = score_ratio_series(angle, sigma.clamp(min=_SWITCH))
    return torch.where(sigma < _SWITCH, wrapped, series)
