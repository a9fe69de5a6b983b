"""A diffusers pipeline, and what is wanted of it, as a flow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch

from domains.images.diffusers.flow import DiffusersFlow
from domains.images.diffusers.networks import (
    Component,
    Network,
    Prompted,
    flux_transformer,
    led_away,
    plain,
    prompted_unet,
    sd3_transformer,
    sdxl_unet,
    unconditional,
)
from domains.images.diffusers.pipeline import Pipeline, load_pipeline
from domains.images.diffusers.prompts import encode, encode_negative, is_sdxl
from domains.images.diffusers.published_tables import published_table
from domains.images.metrics.distances import check_images, get_distance
from ld3.schedules.schedule import RectifiedFlow


@final
@dataclass(frozen=True)
class ModelOptions:
    """How a model is to be used.

    Attributes:
        prompts: what the images are to show, taken in turn; none for a model without prompts.
        negative_prompt: what guidance leads away from, where there is guidance; None = what the model's pipeline takes
            by default.
        guidance_scale: of classifier-free guidance, none up to 1; for a Flux model distilled with guidance, the
            strength that it is told; None = what the model's pipeline takes by default.
        resolution: height and width of the images in pixels; None = what the model was trained on.
        distance: a name of `domains.images.metrics.distances`.
        device: where the model runs.
        dtype: floating type in which all of its weights are loaded.
        compile: run the network through torch.compile.
    """

    prompts: tuple[str, ...] = ()
    negative_prompt: str | None = None
    guidance_scale: float | None = None
    resolution: int | None = None
    distance: str = "mse"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    compile: bool = False


def load_diffusers(name: str, options: ModelOptions) -> DiffusersFlow:
    """The flow of a diffusers pipeline: U-Nets without prompts, on pixels or latents; Stable Diffusion 1, 2, 3,
    XL; Flux.

    Args:
        name: a folder as `save_pretrained` writes it, or the id of a model on the hub.

    Raises:
        ValueError: in one line: what cannot be loaded, is not supported, or does not fit.
    """
    return pipeline_flow(load_pipeline(name, options.device, options.dtype), options)


def pipeline_flow(pipeline: Pipeline, options: ModelOptions) -> DiffusersFlow:
    """The flow of a pipeline that was loaded with the options' device and type.

    Raises:
        ValueError: in one line: which option does not fit the model.
    """
    size, vae, schedule = _size(pipeline, options.resolution), pipeline.vae, pipeline.path.schedule
    check_images(
        options.distance, pipeline.channels if vae is None else vae.config.out_channels, size * pipeline.factor
    )
    call, content = _call(pipeline, options)
    if options.compile:
        pipeline.network.compile()
    return DiffusersFlow(
        pipeline.path,
        call,
        _Decoder(vae),
        (pipeline.channels, size, size),
        max(1, len(options.prompts)),
        get_distance(options.distance, options.device),
        options.dtype,
        torch.float64 if isinstance(schedule, RectifiedFlow) else torch.promote_types(options.dtype, torch.float32),
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
    scale = pipeline.guidance if options.guidance_scale is None else options.guidance_scale
    negative = options.negative_prompt
    if negative is not None and (scale <= 1.0 or kind in ("UNet2DModel", "FluxTransformer2DModel")):
        raise ValueError(f"{name}: negative_prompt {negative!r} needs a model with guidance, and a scale above 1")
    if kind == "UNet2DModel":
        if options.prompts or scale != 1.0:
            asked = f"prompts {list(options.prompts)}" if options.prompts else f"guidance_scale {scale}"
            raise ValueError(f"{name} is an unconditional model, it takes no prompts and no guidance; got {asked}")
        return unconditional(network), []
    if not options.prompts:
        raise ValueError(f"prompts must hold at least one prompt for {name}, got none")
    if not scale >= 0:
        raise ValueError(f"guidance_scale must be a number >= 0, got {scale}")
    prompts = encode(pipeline.parts, network, list(options.prompts))
    if kind == "FluxTransformer2DModel":
        return plain(flux_transformer(network, scale), prompts), [vars(prompts), scale]
    prompted: Prompted = sd3_transformer(network)
    if kind == "UNet2DConditionModel":
        prompted = sdxl_unet(network, pipeline.factor) if is_sdxl(network) else prompted_unet(network)
    if scale <= 1.0:
        return plain(prompted, prompts), [vars(prompts)]
    away = encode_negative(pipeline.parts, network, negative)
    return led_away(prompted, prompts, away, scale), [vars(prompts), vars(away), scale]


@final
class _Decoder:
    """Images from latents, or pixels as they are."""

    def __init__(self, vae: Component) -> None:
        self.vae = vae

    def __call__(self, x_0: torch.Tensor) -> torch.Tensor:
        if self.vae is None:
            return x_0
        config = self.vae.config
        latents = x_0 / config.scaling_factor + (config.get("shift_factor") or 0.0)
        return self.vae.decode(latents).sample
