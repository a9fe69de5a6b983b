"""Layers of DDPM++ and NCSN++, with the names and shapes of the published tensors."""

from __future__ import annotations

import math
from typing import Final, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON: Final = 1e-6  # of group norms
SKIP_SCALE: Final = math.sqrt(0.5)


@final
class Dense(nn.Module):
    """Affine map of vectors (B, inputs) -> (B, outputs)."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / math.sqrt(inputs))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


@final
class Conv(nn.Module):
    """Convolution of images, perhaps after (or, `filter_last`, before) a change of resolution by a fixed filter.

    Args:
        kernel: its width; 0 = no convolution, only the change of resolution.
        taps: of the filter, separable; normalised here.
        up, down: double or halve the resolution.
        filter_last: convolve at the full resolution, then filter and halve.
    """

    resample_filter: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        taps: tuple[int, ...] = (1, 1),
        up: bool = False,
        down: bool = False,
        filter_last: bool = False,
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.up, self.down, self.filter_last = inputs, outputs, up, down, filter_last
        shape = (outputs, inputs, kernel, kernel)
        self.weight = nn.Parameter(torch.randn(shape) / math.sqrt(inputs * kernel**2)) if kernel else None
        self.bias = nn.Parameter(torch.zeros(outputs)) if kernel else None
        if up or down:
            line = torch.tensor(taps, dtype=torch.float32)
            self.register_buffer("resample_filter", torch.outer(line, line)[None, None] / line.sum() ** 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.filter_last and self.weight is not None and self.bias is not None:
            # One margin for both, so that the filter sees what the convolution makes of the border.
            x = F.conv2d(x, self.weight, padding=self.weight.shape[-1] // 2 + self._margin)
            x = F.conv2d(x, self._per_channel(x), stride=2, groups=x.shape[1])
            return x + self.bias[:, None, None]
        if self.up:
            x = self._doubled(x)
        if self.down:
            x = self._halved(x)
        return self._convolved(x)

    def _convolved(self, x: Tensor) -> Tensor:
        return x if self.weight is None else F.conv2d(x, self.weight, self.bias, padding=self.weight.shape[-1] // 2)

    def _halved(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self._per_channel(x), stride=2, padding=self._margin, groups=x.shape[1])

    def _doubled(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, 4 * self._per_channel(x), stride=2, padding=self._margin, groups=x.shape[1])

    def _per_channel(self, x: Tensor) -> Tensor:
        return self.resample_filter.to(x.dtype).expand(x.shape[1], -1, -1, -1)

    @property
    def _margin(self) -> int:
        return (self.resample_filter.shape[-1] - 1) // 2


def norm(channels: int) -> nn.GroupNorm:
    """Group norm with groups of at least four channels, at most 32 groups.

    Raises:
        ValueError: if the channels cannot be shared out to these.
    """
    groups = min(32, channels // 4)
    if groups < 1 or channels % groups:
        raise ValueError(f"channels must be 4 or more and a multiple of their {groups} groups, got {channels}")
    return nn.GroupNorm(groups, channels, eps=EPSILON)


@final
class PositionalEmbedding(nn.Module):
    """c_noise (B,) -> (B, width): sines, then cosines, of frequencies from 1 to 1/10000, both included."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, noise: Tensor) -> Tensor:
        exponents = torch.linspace(0, 1, self.width // 2, device=noise.device, dtype=noise.dtype)
        angles = noise[:, None] * 1e-4**exponents
        return torch.cat([angles.sin(), angles.cos()], 1)


@final
class FourierEmbedding(nn.Module):
    """c_noise (B,) -> (B, width): sines, then cosines, of fixed random frequencies."""

    freqs: Tensor

    def __init__(self, width: int, scale: float = 16.0) -> None:
        super().__init__()
        self.register_buffer("freqs", torch.randn(width // 2) * scale)

    def forward(self, noise: Tensor) -> Tensor:
        angles = 2 * math.pi * noise[:, None] * self.freqs
        return torch.cat([angles.sin(), angles.cos()], 1)


@final
class Block(nn.Module):
    """Residual block of a U-Net: two convolutions, the noise level added in between, perhaps attention at the end.

    Args:
        embedding: width of the noise embedding.
        attention: attend over the pixels with one head.
        up, down, taps: the first convolution changes the resolution; as for `Conv`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        embedding: int,
        dropout: float,
        taps: tuple[int, ...],
        attention: bool = False,
        up: bool = False,
        down: bool = False,
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.dropout, self.attention = inputs, outputs, dropout, attention
        self.norm0 = norm(inputs)
        self.conv0 = Conv(inputs, outputs, 3, taps, up, down)
        self.affine = Dense(embedding, outputs)
        self.norm1 = norm(outputs)
        self.conv1 = Conv(outputs, outputs, 3)
        self.skip = Conv(inputs, outputs, 1, taps, up, down) if inputs != outputs or up or down else None
        if attention:
            self.norm2 = norm(outputs)
            self.qkv = Conv(outputs, 3 * outputs, 1)
            self.proj = Conv(outputs, outputs, 1)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        inner = self.conv0(F.silu(self.norm0(x))) + self.affine(embedded)[:, :, None, None]
        inner = F.dropout(F.silu(self.norm1(inner)), self.dropout, self.training)
        kept = x if self.skip is None else self.skip(x)
        x = SKIP_SCALE * (self.conv1(inner) + kept)
        return SKIP_SCALE * (x + self.proj(self._attended(x))) if self.attention else x

    def _attended(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        # The channels of q, k and v are interleaved.
        q, k, v = self.qkv(self.norm2(x)).reshape(batch, channels, 3, height * width).unbind(2)
        weights = torch.softmax(torch.einsum("bcq,bck->bqk", q, k) / math.sqrt(channels), dim=2)
        return torch.einsum("bqk,bck->bcq", weights, v).reshape(x.shape)
