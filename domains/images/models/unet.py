"""A small class-conditional U-Net for images of a few pixels: residual blocks, attention at the lowest resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from domains.images.models.denoiser import ImageNetwork

_LOWEST, _HIGHEST = 0.25, 16.0  # angular frequencies of the embedding of c_noise, which spans a few units


@final
@dataclass(frozen=True)
class UNetConfig:
    """Sizes of the network.

    Raises:
        ValueError: if a size is not positive, or sizes do not fit each other.
    """

    resolution: int = 8
    image_channels: int = 1
    classes: int = 10
    """0 for a model without classes"""
    channels: int = 32
    """at the full resolution"""
    multipliers: tuple[int, ...] = (1, 2)
    """channels at each resolution, relative to `channels`; the resolution is halved between them"""
    blocks: int = 2
    """residual blocks at each resolution on the way down; one more on the way up"""
    heads: int = 2
    embedding: int = 128
    dropout: float = 0.15

    def __post_init__(self) -> None:
        for name in ("resolution", "image_channels", "channels", "blocks", "heads", "embedding"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.classes < 0 or not self.multipliers or min(self.multipliers) < 1:
            raise ValueError(f"classes must be >= 0, multipliers >= 1, got {self.classes} and {self.multipliers}")
        if self.resolution % 2 ** (len(self.multipliers) - 1):
            raise ValueError(f"resolution {self.resolution} cannot be halved {len(self.multipliers) - 1} times")
        if self.channels * self.multipliers[-1] % self.heads:
            raise ValueError(f"heads must divide {self.channels * self.multipliers[-1]} channels, got {self.heads}")


@final
class UNet(ImageNetwork):
    """A U-Net whose label `config.classes` stands for "no class". The last convolution starts at zero."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.shape = (config.image_channels, config.resolution, config.resolution)
        self.classes = self.no_class = config.classes
        widths = [config.channels * m for m in config.multipliers]
        self.noise = NoiseEmbedding(config.embedding)
        self.label = nn.Embedding(config.classes + 1, config.embedding) if config.classes else None
        self.first = nn.Conv2d(config.image_channels, widths[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, width = [widths[0]], widths[0]
        for level, wide in enumerate(widths):
            if level:
                self.down.append(Resample(width, 0.5))
                skips.append(width)
            for _ in range(config.blocks):
                self.down.append(ResidualBlock(width, wide, config.embedding, config.dropout))
                width = wide
                skips.append(width)
        self.middle = nn.ModuleList(
            [
                ResidualBlock(width, width, config.embedding, config.dropout),
                Attention(width, config.heads),
                ResidualBlock(width, width, config.embedding, config.dropout),
            ]
        )
        for level, wide in reversed(list(enumerate(widths))):
            for _ in range(config.blocks + 1):
                self.up.append(ResidualBlock(width + skips.pop(), wide, config.embedding, config.dropout))
                width = wide
            if level:
                self.up.append(Resample(width, 2.0))
        self.norm = group_norm(width)
        self.last = _zero(nn.Conv2d(width, config.image_channels, 3, padding=1))

    def forward(self, x: Tensor, noise: Tensor, label: Tensor | None) -> Tensor:
        embedded = self.noise(noise)
        if self.label is not None and label is not None:
            embedded = embedded + self.label(label)
        embedded = F.silu(embedded)
        x = self.first(x)
        kept = [x]
        for layer in self.down:
            x = layer(x, embedded)
            kept.append(x)
        for layer in self.middle:
            x = layer(x, embedded)
        for layer in self.up:
            x = layer(torch.cat([x, kept.pop()], 1) if isinstance(layer, ResidualBlock) else x, embedded)
        return self.last(F.silu(self.norm(x)))


@final
class NoiseEmbedding(nn.Module):
    """c_noise (B,) -> (B, width): sines and cosines of a few frequencies, then an MLP."""

    frequencies: Tensor

    def __init__(self, width: int, count: int = 16) -> None:
        super().__init__()
        frequencies = torch.exp(torch.linspace(math.log(_LOWEST), math.log(_HIGHEST), count))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * count, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, noise: Tensor) -> Tensor:
        angles = noise[:, None] * self.frequencies
        return self.layers(torch.cat([angles.sin(), angles.cos()], 1))


@final
class ResidualBlock(nn.Module):
    """(B, inputs, H, W), (B, embedding) -> (B, outputs, H, W); the embedding scales and shifts each channel."""

    def __init__(self, inputs: int, outputs: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.norm_in, self.norm_out = group_norm(inputs), group_norm(outputs)
        self.conv_in = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.affine = nn.Linear(embedding, 2 * outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = _zero(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        scale, shift = self.affine(embedded)[:, :, None, None].chunk(2, 1)
        h = self.conv_in(F.silu(self.norm_in(x)))
        h = self.norm_out(h) * (1 + scale) + shift
        return self.skip(x) + self.conv_out(self.dropout(F.silu(h)))


@final
class Attention(nn.Module):
    """Self-attention over the pixels, (B, channels, H, W) -> the same; the second argument is not used."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = _zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        batch, channels, *size = x.shape
        qkv = self.qkv(self.norm(x)).reshape(batch, 3, self.heads, channels // self.heads, -1).transpose(-1, -2)
        mixed = F.scaled_dot_product_attention(qkv[:, 0], qkv[:, 1], qkv[:, 2])
        return x + self.out(mixed.transpose(-1, -2).reshape(batch, channels, *size))


@final
class Resample(nn.Module):
    """Half the resolution by averaging, or twice by repeating, then a convolution; the second argument is not used."""

    def __init__(self, channels: int, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        resized = F.avg_pool2d(x, 2) if self.factor < 1 else F.interpolate(x, scale_factor=self.factor, mode="nearest")
        return self.conv(resized)


def group_norm(channels: int) -> nn.GroupNorm:
    """Groups of at least four channels."""
    return nn.GroupNorm(math.gcd(8, max(1, channels // 4)), channels)


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
