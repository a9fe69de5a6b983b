"""Preconditioned networks: from a noisy image to the clean one that is expected behind it."""

from __future__ import annotations

from typing import Generic, TypeVar, final

from torch import Tensor, nn

from domains.images.models.preconditioning import PRECONDITIONING


class ImageNetwork(nn.Module):
    """(images (B, C, H, W), c_noise (B,), labels (B,) int64) -> (B, C, H, W).

    Attributes:
        shape: (C, H, W) of an image.
        classes: how many; labels are 0 .. classes - 1. 0 for a network that looks at no label.
        no_class: the label of an image of any class; None where the network must be given a class.
    """

    shape: tuple[int, int, int]
    classes: int
    no_class: int | None


N = TypeVar("N", bound=ImageNetwork)


@final
class Denoiser(nn.Module, Generic[N]):
    """D(x; σ, label) = c_skip x + c_out F(c_in x; c_noise, label) of x = x_0 + σ z.

    Args:
        network: F.
        sigma_data: standard deviation of the data's pixels.
        preconditioning: a key of `PRECONDITIONING`, whence the four factors.
    """

    network: N

    def __init__(self, network: N, sigma_data: float, preconditioning: str = "EDMPrecond") -> None:
        super().__init__()
        self.network, self.sigma_data, self.preconditioning = network, sigma_data, preconditioning

    def forward(self, x: Tensor, sigma: Tensor, label: Tensor | None) -> Tensor:
        """Clean images (B, C, H, W) from noisy ones, at noise levels of shape () or (B,); labels (B,) int64."""
        levels = sigma.double().expand(len(x))
        factors = PRECONDITIONING[self.preconditioning](levels, self.sigma_data)
        skip, out, scale, noise = (value.to(x)[:, None, None, None] for value in factors)
        return skip * x + out * self.network(scale * x, noise.flatten(), label)
