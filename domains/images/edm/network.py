"""DDPM++ and NCSN++ (Song et al., arXiv 2011.13456, appendix H) as EDM trained them (arXiv 2206.00364, table 7)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from domains.images.edm.layers import SKIP_SCALE, Block, Conv, Dense, FourierEmbedding, PositionalEmbedding, norm
from domains.images.models.denoiser import ImageNetwork

_LEAST: Final = {
    "resolution": 1,
    "channels": 1,
    "classes": 0,
    "augmentations": 0,
    "width": 4,
    "blocks": 1,
    "embedding_width": 1,
}
_KINDS: Final = {"embedding": ("positional", "fourier"), "encoder": ("standard", "residual")}


@final
@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network; the defaults are those of DDPM++.

    Attributes:
        resolution: height and width of the images.
        channels: of the images.
        classes: 0 for a network without.
        augmentations: numbers that say how a training image was transformed; unused in sampling.
        width: channels at the full resolution.
        multipliers: channels at each resolution, relative to `width`; the resolution is halved between them.
        blocks: residual blocks at each resolution on the way down, one more on the way up.
        attention: resolutions with attention.
        dropout: in training.
        embedding: of the noise level: "positional", or NCSN++'s "fourier".
        embedding_width: of these, relative to `width`: 1, or NCSN++'s 2.
        encoder: "standard", or NCSN++'s "residual", which sees the image at every resolution.
        taps: of the filter that changes the resolution: (1, 1), or NCSN++'s (1, 3, 3, 1).

    Raises:
        ValueError: naming the attribute that is of another type or out of range; or if the resolution cannot be halved
            often enough.
    """

    resolution: int = 32
    channels: int = 3
    classes: int = 0
    augmentations: int = 9
    width: int = 128
    multipliers: tuple[int, ...] = (2, 2, 2)
    blocks: int = 4
    attention: tuple[int, ...] = (16,)
    dropout: float = 0.13
    embedding: Literal["positional", "fourier"] = "positional"
    embedding_width: int = 1
    encoder: Literal["standard", "residual"] = "standard"
    taps: tuple[int, ...] = (1, 1)

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if not _is_count(value, least):
                raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")
        for name in ("multipliers", "attention", "taps"):
            value = getattr(self, name)
            if not (isinstance(value, tuple) and all(_is_count(part, 1) for part in value)):
                raise ValueError(f"{name} must hold whole numbers >= 1, got {value!r}")
        if not self.multipliers:
            raise ValueError("multipliers must hold at least one number, got none")
        if not self.taps or len(self.taps) % 2:
            raise ValueError(f"taps must be of an even number, got {self.taps}")
        if not (isinstance(self.dropout, int | float) and 0 <= self.dropout < 1):
            raise ValueError(f"dropout must be a number in [0, 1), got {self.dropout!r}")
        for name, kinds in _KINDS.items():
            if getattr(self, name) not in kinds:
                raise ValueError(f"{name} must be one of {', '.join(kinds)}, got {getattr(self, name)!r}")
        if self.resolution % 2 ** (len(self.multipliers) - 1):
            raise ValueError(f"resolution {self.resolution} cannot be halved {len(self.multipliers) - 1} times")

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> NetworkConfig:
        """The configuration with these attributes, lists for tuples.

        Raises:
            TypeError, ValueError: if one is missing, unknown or impossible.
        """
        own: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
        return cls(**own)


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


DDPMPP: Final = NetworkConfig()
"""DDPM++ for CIFAR-10."""

NCSNPP: Final = NetworkConfig(embedding="fourier", embedding_width=2, encoder="residual", taps=(1, 3, 3, 1))
"""NCSN++ for CIFAR-10."""

_EMBEDDING: Final = 4  # width of what the blocks see of the noise level, relative to `width`


@final
class Network(ImageNetwork):
    """The network of these sizes; with classes, it must be given one."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.shape, self.classes = (config.channels, config.resolution, config.resolution), config.classes
        self.no_class = None if config.classes else 0
        noise, wide = config.width * config.embedding_width, config.width * _EMBEDDING
        self.map_noise = PositionalEmbedding(noise) if config.embedding == "positional" else FourierEmbedding(noise)
        self.map_label = Dense(config.classes, noise) if config.classes else None
        self.map_augment = Dense(config.augmentations, noise, bias=False) if config.augmentations else None
        self.map_layer0, self.map_layer1 = Dense(noise, wide), Dense(wide, wide)
        self.enc, width, kept = self._encoder()
        self.dec = self._decoder(width, kept)

    def forward(self, x: Tensor, noise: Tensor, label: Tensor | None) -> Tensor:
        embedded = self.map_noise(noise)
        if self.map_label is not None and label is not None:
            one_hot = F.one_hot(label, self.classes).to(x)
            embedded = embedded + self.map_label(one_hot * math.sqrt(self.classes))
        embedded = F.silu(self.map_layer1(F.silu(self.map_layer0(embedded))))

        kept: list[Tensor] = []
        image = x
        for name, layer in self.enc.items():
            if name.endswith("aux_residual"):
                x = image = SKIP_SCALE * (x + layer(image))
                kept[-1] = x
            else:
                x = layer(x, embedded) if isinstance(layer, Block) else layer(x)
                kept.append(x)
        for layer in self.dec.values():
            if isinstance(layer, Block):
                x = layer(x if x.shape[1] == layer.inputs else torch.cat([x, kept.pop()], 1), embedded)
            else:
                x = F.silu(layer(x)) if isinstance(layer, nn.GroupNorm) else layer(x)
        return x

    def _encoder(self) -> tuple[nn.ModuleDict, int, list[int]]:
        """The layers by name, the channels at their end, and those of every result that the decoder sees again."""
        config = self.config
        layers = nn.ModuleDict()
        width = image = config.channels
        kept: list[int] = []
        for level, multiplier in enumerate(config.multipliers):
            size = self._size(level)
            if level == 0:
                layers[f"{size}_conv"] = Conv(width, config.width, 3)
                width = config.width
            else:
                layers[f"{size}_down"] = self._block(width, width, down=True)
            kept.append(width)
            if level and config.encoder == "residual":
                layers[f"{size}_aux_residual"] = Conv(image, width, 3, config.taps, down=True, filter_last=True)
                image = width
            for k in range(config.blocks):
                layers[f"{size}_block{k}"] = self._block(width, multiplier * config.width, self._attends(level))
                width = multiplier * config.width
                kept.append(width)
        return layers, width, kept

    def _decoder(self, width: int, kept: list[int]) -> nn.ModuleDict:
        config = self.config
        layers = nn.ModuleDict()
        for level, multiplier in reversed(list(enumerate(config.multipliers))):
            size = self._size(level)
            if level == len(config.multipliers) - 1:
                layers[f"{size}_in0"] = self._block(width, width, attention=True)
                layers[f"{size}_in1"] = self._block(width, width)
            else:
                layers[f"{size}_up"] = self._block(width, width, up=True)
            for k in range(config.blocks + 1):
                last = k == config.blocks
                inputs, width = width + kept.pop(), multiplier * config.width
                layers[f"{size}_block{k}"] = self._block(inputs, width, last and self._attends(level))
        layers[f"{size}_aux_norm"] = norm(width)
        layers[f"{size}_aux_conv"] = Conv(width, config.channels, 3)
        return layers

    def _block(
        self, inputs: int, outputs: int, attention: bool = False, *, up: bool = False, down: bool = False
    ) -> Block:
        config = self.config
        return Block(inputs, outputs, _EMBEDDING * config.width, config.dropout, config.taps, attention, up, down)

    def _attends(self, level: int) -> bool:
        return self.config.resolution >> level in self.config.attention

    def _size(self, level: int) -> str:
        size = self.config.resolution >> level
        return f"{size}x{size}"
