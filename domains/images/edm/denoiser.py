"""The published networks as denoisers: D(x; σ) = c_skip x + c_out F(c_in x; c_noise) (arXiv 2206.00364, table 1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor, nn

from domains.images.edm.network import Network, NetworkConfig
from domains.images.models.preconditioning import c_in, c_noise, c_out, c_skip

_BETA_D, _BETA_MIN = 19.9, 0.1  # of VP in EDM's notation
_LAST_STEP = 999

Coefficients = tuple[Tensor, Tensor, Tensor, Tensor]
"""c_skip, c_out, c_in, c_noise."""


def edm_coefficients(sigma: Tensor, sigma_data: float) -> Coefficients:
    """EDM's own."""
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
"""By the class that the published files name."""


@final
@dataclass(frozen=True)
class DenoiserConfig:
    """What a denoiser is made of.

    Attributes:
        network: sizes.
        preconditioning: a key of `PRECONDITIONING`.
        sigma_data: standard deviation of the data's pixels.

    Raises:
        ValueError: listing the preconditionings that are supported; or if the deviation is not positive.
    """

    network: NetworkConfig
    preconditioning: str = "EDMPrecond"
    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        if self.preconditioning not in PRECONDITIONING:
            raise ValueError(
                f"preconditioning must be one of {', '.join(PRECONDITIONING)}, got {self.preconditioning!r}"
            )
        if not (isinstance(self.sigma_data, int | float) and 0 < self.sigma_data < math.inf):
            raise ValueError(f"sigma_data must be a positive number, got {self.sigma_data!r}")


@final
class EDMDenoiser(nn.Module):
    """Clean images (B, C, H, W) expected behind noisy ones x = x_0 + σ z."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Network(config.network)

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
        """Noise level of shape (); one-hot labels (B, classes)."""
        coefficients = PRECONDITIONING[self.config.preconditioning](sigma.double(), self.config.sigma_data)
        skip, out, scale, noise = (value.to(x) for value in coefficients)
        return skip * x + out * self.model(scale * x, noise.expand(len(x)), labels)
