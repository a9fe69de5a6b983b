"""The networks of the EDM paper as denoisers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from domains.images.edm.network import Network, NetworkConfig
from domains.images.models.denoiser import Denoiser
from domains.images.models.preconditioning import PRECONDITIONING


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


def edm_denoiser(config: DenoiserConfig) -> Denoiser[Network]:
    """The denoiser of this configuration, with new weights."""
    return Denoiser(Network(config.network), config.sigma_data, config.preconditioning)
