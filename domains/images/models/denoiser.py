"""A preconditioned U-Net: from a noisy image to the clean one that it expects behind it."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from domains.images.models.preconditioning import c_in, c_noise, c_out, c_skip
from domains.images.models.unet import UNet, UNetConfig


@final
class Denoiser(nn.Module):
    """D(x; σ, label) of x = x_0 + σ z.

    Args:
        config: sizes of the U-Net.
        sigma_data: standard deviation of the data's pixels.
    """

    def __init__(self, config: UNetConfig, sigma_data: float) -> None:
        super().__init__()
        self.sigma_data = sigma_data
        self.network = UNet(config)

    @property
    def no_class(self) -> int:
        """The label of an image of any class."""
        return self.network.config.classes

    def forward(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        """Clean images (B, C, H, W) from noisy ones, at noise levels of shape () or (B,); labels (B,) int64."""
        per_image = sigma.to(x).expand(len(x))
        wide = per_image[:, None, None, None]
        answer = self.network(c_in(wide, self.sigma_data) * x, c_noise(per_image), label)
        return c_skip(wide, self.sigma_data) * x + c_out(wide, self.sigma_data) * answer
