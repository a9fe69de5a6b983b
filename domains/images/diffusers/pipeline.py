"""A diffusers pipeline that can be sampled: its network, its VAE, its prompts, and its noise path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import torch

from domains.images.diffusers.checks import check_class, check_parts
from domains.images.diffusers.decoding import prepared_vae
from domains.images.diffusers.networks import Prompts, packed_pixels
from domains.images.diffusers.parts import load_parts, load_single_file
from ld3.schedules import Schedule, VPSteps
from ld3_diffusers.config_options import Component
from ld3_diffusers.schedule import TrainedPath, own_scheduler, read_path

_GUIDANCE: Final[Mapping[str, float]] = {
    "UNet2DModel": 1.0,
    "UNet2DConditionModel": 7.5,
    "SD3Transformer2DModel": 7.0,
    "FluxTransformer2DModel": 3.5,
}
"""Network -> the guidance that its pipeline takes by default."""

_SDXL_GUIDANCE: Final = 5.0

_STABLE_DIFFUSION: Final = VPSteps("scaled_linear", 0.00085, 0.012, 1000, False)
"""Noise path of Stable Diffusion, in all versions before 3."""

_AYS_TABLES: Final[Mapping[tuple[bool, int], str]] = {(False, 768): "sd15", (True, 2048): "sdxl"}
"""Whether the network is SDXL's, and how wide its prompts are -> table of `ld3.grids.ays`.

Stable Diffusion 2 has prompts 1024 wide, SDXL's refiner 1280; for them nothing is published."""


@final
@dataclass(frozen=True, eq=False)
class Pipeline:
    """A pipeline that can be sampled from.

    Attributes:
        name: folder, id or class, for messages.
        parts: the pipeline, which encodes prompts.
        network: of a kind that is supported.
        vae: None where the network sees pixels.
        path: what the network was trained on, and where its own scheduler ends.
        leaves_out: options of its scheduler that no solver here has, in words.
    """

    name: str
    parts: Component
    network: Component
    vae: Component
    path: TrainedPath
    leaves_out: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Class name of the network."""
        return type(self.network).__name__

    @property
    def guidance(self) -> float:
        """What its authors' pipeline takes by default."""
        return _SDXL_GUIDANCE if self.is_sdxl else _GUIDANCE[self.kind]

    @property
    def is_sdxl(self) -> bool:
        """Whether the network takes the size of the image and a pooled prompt, as SDXL's does."""
        return is_sdxl(self.network.config)

    @property
    def takes_guidance(self) -> bool:
        """Whether the network was distilled with guidance and is told its strength, in one call instead of two."""
        config = self.network.config
        return config.get("time_cond_proj_dim") is not None or bool(config.get("guidance_embeds"))

    @property
    def channels(self) -> int:
        """Of what is noised."""
        return int(self.network.config.in_channels) // packed_pixels(self.kind)

    @property
    def factor(self) -> int:
        """How many times larger than what is noised the images are."""
        return 1 if self.vae is None else int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @torch.no_grad()
    def encode(self, texts: list[str]) -> Prompts:
        """Each text by all text encoders that the network was trained with."""
        encode = self.parts.encode_prompt
        if self.kind == "SD3Transformer2DModel":
            tokens, _, pooled, _ = encode(texts, None, None, do_classifier_free_guidance=False)
        elif self.kind == "FluxTransformer2DModel":
            tokens, pooled, _ = encode(texts, None)
        elif self.is_sdxl:
            tokens, _, pooled, _ = encode(texts, do_classifier_free_guidance=False)
        else:
            (tokens, _), pooled = encode(texts, self.parts.device, 1, False), None
        return Prompts(tokens, pooled)

    def encode_negative(self, text: str | None) -> Prompts:
        """What guidance leads away from; SDXL was mostly trained with zeros where nothing is said."""
        empty = self.encode([text or ""])
        if text is None and self.is_sdxl and self.parts.config.get("force_zeros_for_empty_prompt"):
            pooled = None if empty.pooled is None else torch.zeros_like(empty.pooled)
            return Prompts(torch.zeros_like(empty.tokens), pooled)
        return empty


def is_sdxl(config: Component) -> bool:
    """Whether a U-Net of this config takes the size of the image and a pooled prompt, as SDXL's does."""
    return bool(config.get("addition_embed_type") == "text_time")


def published_table(kind: str, config: Component, schedule: Schedule) -> str | None:
    """The table of Align Your Steps for a network; fine-tuned ones have that of the model that they came from.

    Args:
        kind: class name of the network.
        config: its config.
        schedule: that it was trained on.
    """
    if kind != "UNet2DConditionModel" or schedule != _STABLE_DIFFUSION:
        return None
    return _AYS_TABLES.get((is_sdxl(config), config.get("cross_attention_dim")))


def load_pipeline(name: str, device: torch.device, dtype: torch.dtype, variant: str | None = None) -> Pipeline:
    """Read a pipeline.

    Args:
        name: a folder as `save_pretrained` writes it, or the id of a model on the hub.
        device: where the model runs.
        dtype: floating type in which all of its weights are loaded.
        variant: of the files with its weights, such as "fp16".

    Raises:
        ValueError: in one line: what cannot be loaded, is not supported, or does not fit together.
    """
    return read_pipeline(load_parts(name, device, dtype, variant), name)


def load_checkpoint(path: Path, config: str, device: torch.device, dtype: torch.dtype) -> Pipeline:
    """Read a pipeline whose weights are in a single file.

    Args:
        path: of a .safetensors file, with the names of its authors' code.
        config: pipeline that has the configs and tokenizers, a folder or the id of one on the hub.
        device: where the model runs.
        dtype: floating type in which all of its weights are loaded.

    Raises:
        ValueError: as :func:`load_pipeline`.
    """
    return read_pipeline(load_single_file(path, config, device, dtype), str(path))


def read_pipeline(parts: Component, name: str) -> Pipeline:
    """A pipeline that is in memory. Its weights are set to be differentiated no more, nothing else in it changes.

    Args:
        parts: a pipeline of diffusers.
        name: for messages.

    Raises:
        ValueError: in one line: which part or option is not supported.
    """
    check_class(name, type(parts).__name__)
    network, vae = _component(parts, "unet", "transformer"), _component(parts, "vae", "vqvae")
    check_parts(name, parts, network, vae)
    vae = prepared_vae(vae)
    for module in (network, vae):
        if module is not None:
            module.eval().requires_grad_(False)
    scheduler, config = own_scheduler(parts.scheduler)
    try:
        path = read_path(scheduler, config)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    clips = config.get("clip_sample", False)
    leaves_out = (f"clip_sample of its {scheduler}, as diffusers' multistep schedulers do",) if clips else ()
    return Pipeline(name, parts, network, vae, path, leaves_out)


def _component(parts: Component, *names: str) -> Component:
    """The first of these components that the pipeline has, or None."""
    return next((part for name in names if (part := parts.components.get(name)) is not None), None)
