"""What a diffusers pipeline must be to be sampled as its config says; all else is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from domains.images.diffusers.decoding import check_latents
from domains.images.diffusers.networks import packed_pixels
from ld3_diffusers.config_options import OPTIONS, Component, check_options, own_options

PIPELINES: Final[Mapping[str, tuple[str, ...]]] = {
    "UNet2DModel": ("DDPMPipeline", "DDIMPipeline", "PNDMPipeline", "LDMPipeline"),
    "UNet2DConditionModel": ("StableDiffusionPipeline", "StableDiffusionXLPipeline"),
    "SD3Transformer2DModel": ("StableDiffusion3Pipeline",),
    "FluxTransformer2DModel": ("FluxPipeline",),
}
"""Networks that are supported -> the pipelines that tell them what is told them here."""

_VAES: Final = ("AutoencoderKL", "AutoencoderTiny", "VQModel")

_PARTS: Final = (
    *("unet", "transformer", "vae", "vqvae", "scheduler"),
    *(f"{part}{n}" for part in ("text_encoder", "tokenizer") for n in ("", "_2", "_3")),
    *("safety_checker", "feature_extractor", "image_encoder"),  # without an image none of these is called
)


def check_index(name: str, index: Mapping[str, Any]) -> None:
    """Do nothing if a pipeline of this index can be sampled, as far as the index tells.

    Args:
        name: of the pipeline, for messages.
        index: what model_index.json holds: parts as [library, class], and options.

    Raises:
        ValueError: naming the part, class or option that is not supported.
    """
    parts = {part: kind for part, kind in index.items() if isinstance(kind, list) and len(kind) == 2}
    for part, kind in parts.items():
        if part not in _PARTS and kind != [None, None]:
            raise ValueError(f"{name} has a part that is not supported, {part} ({kind[1]})")
    own = {key: value for key, value in index.items() if key not in parts and not key.startswith("_")}
    try:
        check_options("pipeline", {key: value for key, value in own.items() if key in OPTIONS["pipeline"]})
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    check_class(name, str(index.get("_class_name")))
    try:
        check_options("pipeline", own)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def check_class(name: str, kind: str) -> None:
    """ValueError unless pipelines of this class can be sampled."""
    known = [pipeline for pipelines in PIPELINES.values() for pipeline in pipelines]
    if kind not in known:
        raise ValueError(f"{name}: the pipeline must be one of {', '.join(known)}, got {kind}")


def check_parts(name: str, pipeline: Component, network: Component, vae: Component) -> None:
    """Do nothing if the network is told, and its answer decoded, as the configs of the parts say.

    Raises:
        ValueError: naming the part or option that is not supported.
    """
    kind, own = type(network).__name__, type(pipeline).__name__
    if kind not in PIPELINES:
        raise ValueError(f"{name}: the network must be one of {', '.join(PIPELINES)}, got {kind}")
    if own not in PIPELINES[kind]:
        raise ValueError(f"{name}: a {kind} must be that of a {' or '.join(PIPELINES[kind])}, got {own}")
    if (network.config.get("addition_embed_type") == "text_time") != (own == "StableDiffusionXLPipeline"):
        option = f"addition_embed_type = {network.config.get('addition_embed_type')!r}"
        if kind == "UNet2DConditionModel":
            raise ValueError(f"{name}: {kind} with {option} is not told what it takes by a {own}")
    if vae is not None and type(vae).__name__ not in _VAES:
        raise ValueError(f"{name}: the VAE must be one of {', '.join(_VAES)}, got {type(vae).__name__}")
    scheduler = pipeline.scheduler
    try:
        for part in (network, vae, scheduler if type(scheduler).__name__ in OPTIONS else None):
            if part is not None:
                check_options(type(part).__name__, own_options(part))
        if vae is not None:
            check_latents(own, vae)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    _check_channels(name, network, vae)


def _check_channels(name: str, network: Component, vae: Component) -> None:
    """ValueError if the channels of the network's input, of its answer and of the VAE's latents do not fit."""
    config, packed = network.config, packed_pixels(type(network).__name__)
    inputs, outputs = config.in_channels // packed, (config.out_channels or config.in_channels) // packed
    if outputs not in (inputs, 2 * inputs):
        raise ValueError(f"{name}: the network takes {inputs} channels and answers with {outputs}; it must be as many")
    if vae is not None and vae.config.latent_channels != inputs:
        raise ValueError(
            f"{name}: the network takes {inputs} channels, its VAE makes {vae.config.latent_channels}; "
            "models that are given an image as well (inpainting, editing) are not supported"
        )
