"""How a network F becomes the denoiser D(x; σ) = c_skip x + c_out F(c_in x; c_noise), and how EDM trains one.

Karras et al., arXiv 2206.00364, table 1 and section 5. All functions are elementwise in σ and differentiable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor

_BETA_D, _BETA_MIN = 19.9, 0.1  # of VP in EDM's notation
_LAST_STEP = 999

Coefficients = tuple[Tensor, Tensor, Tensor, Tensor]
"""c_skip, c_out, c_in, c_noise."""


def c_skip(sigma: Tensor, sigma_data: float) -> Tensor:
    """σ_d² / (σ² + σ_d²): how much of the noisy image goes into the answer."""
    return sigma_data**2 / (sigma**2 + sigma_data**2)


def c_out(sigma: Tensor, sigma_data: float) -> Tensor:
    """σ σ_d / √(σ² + σ_d²): the scale of the network's answer."""
    return sigma * sigma_data * torch.rsqrt(sigma**2 + sigma_data**2)


def c_in(sigma: Tensor, sigma_data: float) -> Tensor:
    """1 / √(σ² + σ_d²): brings the noisy image to unit variance."""
    return torch.rsqrt(sigma**2 + sigma_data**2)


def c_noise(sigma: Tensor) -> Tensor:
    """ln(σ) / 4: the noise level as the network sees it."""
    return torch.log(sigma) / 4


def loss_weight(sigma: Tensor, sigma_data: float) -> Tensor:
    """(σ² + σ_d²) / (σ σ_d)² = 1 / c_out²: every level then starts with a loss of 1."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def edm_coefficients(sigma: Tensor, sigma_data: float) -> Coefficients:
    """EDM's own: inputs and targets of F have unit variance."""
    return c_skip(sigma, sigma_data), c_out(sigma, sigma_data), c_in(sigma, sigma_data), c_noise(sigma)


def vp_coefficients(sigma: Tensor, sigma_data: float) -> Coefficients:
    """For networks that predict noise on the path VP; c_noise is 999 t, where σ(t)² = exp(β_d t²/2 + β_min t) - 1."""
    t = ((_BETA_MIN**2 + 2 * _BETA_D * torch.log1p(sigma**2)).sqrt() - _BETA_MIN) / _BETA_D
    return torch.ones_like(sigma), -sigma, torch.rsqrt(1 + sigma**2), _LAST_STEP * t


def ve_coefficients(sigma: Tensor, sigma_data: float) -> Coefficients:
    """For networks that predict noise, with the sign changed, on the path VE."""
    return torch.ones_like(sigma), sigma, torch.ones_like(sigma), torch.log(sigma / 2)


PRECONDITIONING: Final[Mapping[str, Callable[[Tensor, float], Coefficients]]] = {
    "EDMPrecond": edm_coefficients,
    "VPPrecond": vp_coefficients,
    "VEPrecond": ve_coefficients,
}
"""By the class that EDM's published files name."""


@final
@dataclass(frozen=True)
class NoiseDistribution:
    """ln σ is normal in training, with this mean and standard deviation."""

    mean: float = -0.8
    std: float = 1.3

    def __post_init__(self) -> None:
        if not 0 < self.std < math.inf:
            raise ValueError(f"std must be positive and finite, got {self.std}")

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` noise levels, shape (n,)."""
        return torch.exp(self.mean + self.std * torch.randn(n, generator=generator, device=generator.device))
