"""A diffusers pipeline as a flow: U-Nets without prompts, on pixels or latents; Stable Diffusion 1, 2, 3, XL; Flux."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from domains.images.diffusers.flow import DiffusersFlow
from domains.images.diffusers.networks import (
    Component,
    Network,
    Prompted,
    flux_transformer,
    prompted_unet,
    sd3_transformer,
    sdxl_unet,
    unconditional,
    with_guidance,
    without_guidance,
)
from domains.images.diffusers.pipeline import Pipeline, published_table
from domains.images.metrics.distances import Distance, check_images
from domains.images.models.options import ModelOptions
from ld3.schedules import RectifiedFlow


def pipeline_flow(pipeline: Pipeline, options: ModelOptions, distance: Distance) -> DiffusersFlow:
    """The flow of a pipeline that was loaded with the options' device and type.

    Raises:
        ValueError: in one line: which option does not fit the model.
    """
    size, vae, schedule = _size(pipeline, options.resolution), pipeline.vae, pipeline.path.schedule
    dtype = options.precision or torch.float32
    channels = pipeline.channels if vae is None else vae.config.out_channels
    check_images(distance.name, channels, size * pipeline.factor)
    call, content = _call(pipeline, options)
    if options.compile:
        pipeline.network.compile()
    return DiffusersFlow(
        pipeline.path,
        call,
        _decoder(vae),
        (pipeline.channels, size, size),
        max(1, len(options.prompts)),
        distance,
        dtype,
        torch.float64 if isinstance(schedule, RectifiedFlow) else torch.promote_types(dtype, torch.float32),
        options.device,
        published_table(pipeline.kind, pipeline.network.config, schedule),
        [pipeline.network, vae, *content],
    )


def _size(pipeline: Pipeline, resolution: int | None) -> int:
    """Height and width of what is noised.

    Raises:
        ValueError: if images of this resolution cannot be made.
    """
    config, name = pipeline.network.config, pipeline.name
    multiple = pipeline.factor * _smallest_size(pipeline.kind, config)
    if resolution is None:
        size = config.get("sample_size") or 128  # Flux has none; its pipeline takes 128
        if not isinstance(size, int):
            raise ValueError(f"{name}: the network is made for images of {size}; give a resolution")
        resolution = size * pipeline.factor
    if resolution < multiple or resolution % multiple:
        raise ValueError(f"{name}: resolution must be a positive multiple of {multiple}, got {resolution}")
    return resolution // pipeline.factor


def _smallest_size(kind: str, config: Component) -> int:
    """What the network's input must be a multiple of."""
    if kind == "FluxTransformer2DModel":
        return 2
    return int(config.patch_size) if kind == "SD3Transformer2DModel" else 2 ** (len(config.block_out_channels) - 1)


def _call(pipeline: Pipeline, options: ModelOptions) -> tuple[Network, list[object]]:
    """The network with its prompts, and what the fingerprint must know of these.

    Raises:
        ValueError: if prompts, guidance or negative prompt are missing, or of no use to the model.
    """
    name, kind, network = pipeline.name, pipeline.kind, pipeline.network
    scale = pipeline.guidance if options.guidance is None else options.guidance
    negative = options.negative_prompt
    if negative is not None and (scale <= 1.0 or kind in ("UNet2DModel", "FluxTransformer2DModel")):
        raise ValueError(f"{name}: negative_prompt {negative!r} needs a model with guidance, and a scale above 1")
    if kind == "UNet2DModel":
        if options.prompts or scale != 1.0:
            asked = f"prompts {list(options.prompts)}" if options.prompts else f"guidance {scale}"
            raise ValueError(f"{name} is an unconditional model, it takes no prompts and no guidance; got {asked}")
        return unconditional(network), []
    if not options.prompts:
        raise ValueError(f"prompts must hold at least one prompt for {name}, got none")
    prompts = pipeline.encode(list(options.prompts))
    if kind == "FluxTransformer2DModel":
        return without_guidance(flux_transformer(network, scale), prompts), [vars(prompts), scale]
    prompted: Prompted = sd3_transformer(network)
    if kind == "UNet2DConditionModel":
        prompted = sdxl_unet(network, pipeline.factor) if pipeline.is_sdxl else prompted_unet(network)
    if scale <= 1.0:
        return without_guidance(prompted, prompts), [vars(prompts)]
    away = pipeline.encode_negative(negative)
    return with_guidance(prompted, prompts, away, scale), [vars(prompts), vars(away), scale]


def _decoder(vae: Component) -> Callable[[Tensor], Tensor]:
    """Images from latents, or pixels as they are."""

    def decode(x_0: Tensor) -> Tensor:
        if vae is None:
            return x_0
        latents = x_0 / vae.config.scaling_factor + (vae.config.get("shift_factor") or 0.0)
        return vae.decode(latents).sample

    return decode
