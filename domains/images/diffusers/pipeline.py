"""A diffusers pipeline, from a folder or from the hub: its network, its VAE, its prompts, and its noise path."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final, final

import torch

from domains.images.diffusers.networks import Component, Prompts
from domains.images.diffusers.schedule import TrainedPath, read_path
from ld3.schedules import Schedule, VPSteps

_INDEX: Final = "model_index.json"

_GUIDANCE: Final[Mapping[str, float]] = {
    "UNet2DModel": 1.0,
    "UNet2DConditionModel": 7.5,
    "SD3Transformer2DModel": 7.0,
    "FluxTransformer2DModel": 3.5,
}
"""Networks that are supported -> the guidance that their pipelines take by default."""

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
        name: folder or id, for messages.
        parts: the pipeline, which encodes prompts.
        network: of a kind that is supported.
        vae: None where the network sees pixels.
        path: what the network was trained on.
    """

    name: str
    parts: Component
    network: Component
    vae: Component
    path: TrainedPath

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
    def channels(self) -> int:
        """Of what is noised."""
        return int(self.network.config.in_channels) // _packed(self.kind)

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


def load_pipeline(name: str, device: torch.device, dtype: torch.dtype) -> Pipeline:
    """Read a pipeline.

    Args:
        name: a folder as `save_pretrained` writes it, or the id of a model on the hub.
        device: where the model runs.
        dtype: floating type in which all of its weights are loaded.

    Raises:
        ValueError: in one line: what cannot be loaded, is not supported, or does not fit together.
    """
    parts = _load(name, device, dtype)
    network, vae = _component(parts, "unet", "transformer"), _component(parts, "vae", "vqvae")
    kind = type(network).__name__
    if kind not in _GUIDANCE:
        raise ValueError(f"{name}: the network must be one of {', '.join(_GUIDANCE)}, got {kind}")
    _check_network(name, network)
    _check_channels(name, network, vae)
    for module in (network, vae):
        if module is not None:
            module.eval().requires_grad_(False)
    try:
        path = read_path(type(parts.scheduler).__name__, parts.scheduler.config)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return Pipeline(name, parts, network, vae, path)


def _load(name: str, device: torch.device, dtype: torch.dtype) -> Component:
    try:
        from diffusers import DiffusionPipeline
    except ImportError as error:
        raise ValueError(
            f"{name}: diffusers models need the package diffusers: pip install 'ld3[diffusers]'"
        ) from error
    folder = Path(name)
    if folder.exists() and not (folder / _INDEX).is_file():
        raise ValueError(f"{name} is no folder of a diffusers pipeline: it has no {_INDEX}")
    if not folder.exists() and name.count("/") != 1:
        raise ValueError(f"{name} is neither a folder nor the id of a model on the hub (OWNER/NAME)")
    try:
        with _silent_libraries():
            return DiffusionPipeline.from_pretrained(name, **_left_out(folder), dtype=dtype).to(device)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever is wrong with a folder or a connection, in whichever library
        cause = str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(".")
        raise ValueError(f"{name} cannot be loaded by diffusers: {type(error).__name__}: {cause}") from error


@contextmanager
def _silent_libraries() -> Iterator[None]:
    """No messages and no progress bars of the libraries: what is wrong is to be one line."""
    libraries = []
    for name in ("diffusers", "transformers"):
        try:
            libraries.append(import_module(f"{name}.utils.logging"))
        except ImportError:
            continue  # transformers is needed for prompts alone
    before = [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    try:
        for library in libraries:
            library.set_verbosity(library.CRITICAL)
            library.disable_progress_bar()
        yield
    finally:
        for library, (verbosity, bars) in zip(libraries, before, strict=True):
            library.set_verbosity(verbosity)
            if bars:
                library.enable_progress_bar()


def _left_out(folder: Path) -> Mapping[str, None]:
    """Components that no sampler needs."""
    if not folder.exists():
        return {"safety_checker": None}
    index = json.loads((folder / _INDEX).read_text())
    return {"safety_checker": None} if "safety_checker" in index else {}


def _component(parts: Component, *names: str) -> Component:
    """The first of these components that the pipeline has, or None."""
    return next((part for name in names if (part := parts.components.get(name)) is not None), None)


def _packed(kind: str) -> int:
    """Pixels in a token, whose channels the network's input counts."""
    return 4 if kind == "FluxTransformer2DModel" else 1


def _check_network(name: str, network: Component) -> None:
    """ValueError for U-Nets that take more than x_t, the time and prompts."""
    config = network.config
    fourier = config.get("time_embedding_type") not in (None, "positional")
    if type(network).__name__ == "UNet2DModel" and (fourier or config.class_embed_type is not None):
        raise ValueError(f"{name}: U-Nets with learned or Fourier time embeddings or classes are not supported")
    if config.get("addition_embed_type") not in (None, "text_time"):
        raise ValueError(f"{name}: U-Nets with addition_embed_type {config.addition_embed_type} are not supported")


def _check_channels(name: str, network: Component, vae: Component) -> None:
    """ValueError if the channels of the network's input, of its answer and of the VAE's latents do not fit."""
    config, packed = network.config, _packed(type(network).__name__)
    inputs, outputs = config.in_channels // packed, (config.out_channels or config.in_channels) // packed
    if outputs not in (inputs, 2 * inputs):
        raise ValueError(f"{name}: the network takes {inputs} channels and answers with {outputs}; it must be as many")
    if vae is not None and vae.config.latent_channels != inputs:
        raise ValueError(
            f"{name}: the network takes {inputs} channels, its VAE makes {vae.config.latent_channels}; "
            "models that are given an image as well (inpainting, editing) are not supported"
        )
