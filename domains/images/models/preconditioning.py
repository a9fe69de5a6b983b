"""EDM's preconditioning, loss weight and noise distribution (Karras et al., arXiv 2206.00364, table 1 and section 5).

A network F of unit-variance inputs and outputs becomes the denoiser D(x; σ) = c_skip x + c_out F(c_in x; c_noise).
All functions are elementwise in σ and differentiable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


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


@final
@dataclass(frozen=True)
class NoiseDistribution:
    """ln σ is normal in training, with this mean and standard deviation."""

    mean: float = -0.8
    std: float = 1.3

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` noise levels, shape (n,)."""
        return torch.exp(self.mean + self.std * torch.randn(n, generator=generator, device=generator.device))
