"""A diffusers pipeline as a flow: U-Nets without prompts, on pixels or latents; Stable Diffusion 1, 2, 3, XL; Flux."""

from __future__ import annotations

from dataclasses import replace

import torch

from domains.images.diffusers.decoding import decoder
from domains.images.diffusers.flow import DiffusersFlow
from domains.images.diffusers.networks import (
    SIZES,
    Network,
    Prompted,
    Prompts,
    flux_transformer,
    of_classes,
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
from ld3.fingerprint import fingerprint
from ld3.schedules import RectifiedFlow
from ld3_diffusers.config_options import Component
from ld3_diffusers.schedule import TrainedPath


def pipeline_flow(pipeline: Pipeline, options: ModelOptions, distance: Distance) -> DiffusersFlow:
    """The flow of a pipeline that was loaded with the options' device and type.

    Raises:
        ValueError: in one line: which option does not fit the model.
    """
    size, vae, path = _size(pipeline, options.resolution), pipeline.vae, _ended(pipeline.path, options.end)
    dtype = options.precision or torch.float32
    channels = pipeline.channels if vae is None else vae.config.out_channels
    check_images(distance.name, channels, size * pipeline.factor)
    call, conditions, content = _call(pipeline, options)
    if options.compile:
        pipeline.network.compile()
    return DiffusersFlow(
        path,
        call,
        decoder(vae),
        (pipeline.channels, size, size),
        conditions,
        distance,
        dtype,
        torch.float64 if isinstance(path.schedule, RectifiedFlow) else torch.promote_types(dtype, torch.float32),
        options.device,
        published_table(pipeline.kind, pipeline.network.config, path.schedule),
        _remarks(pipeline, path, options.end),
        _about(pipeline, options, size * pipeline.factor),
        pipeline.parts.scheduler,
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
    most = config.get("pos_embed_max_size")  # of SD3, in patches
    if most is not None and resolution > most * multiple:
        raise ValueError(f"{name}: resolution must be at most {most * multiple} (pos_embed_max_size), got {resolution}")
    return resolution // pipeline.factor


def _smallest_size(kind: str, config: Component) -> int:
    """What the network's input must be a multiple of."""
    if kind == "FluxTransformer2DModel":
        return 2
    return int(config.patch_size) if kind == "SD3Transformer2DModel" else 2 ** (len(config.block_out_channels) - 1)


def _ended(path: TrainedPath, end: str | None) -> TrainedPath:
    """The path with grids that end as asked for."""
    return path if end is None else replace(path, clean_end=end == "clean")


def _remarks(pipeline: Pipeline, path: TrainedPath, end: str | None) -> list[str]:
    """Where grids end, and what is left out."""
    level = path.schedule.sigma(torch.tensor(path.schedule.t_min, dtype=torch.float64))
    where = "no noise" if path.clean_end else f"the first level of the training, with noise of {level:.3g} left"
    as_what = f"as its {path.ends} does" if end is None else f"as asked for; its own is {path.ends}"
    lines = [f"grids of {pipeline.name} end at {where}, {as_what}"]
    return [*lines, *(f"{pipeline.name} is sampled without {option}" for option in pipeline.leaves_out)]


def _about(pipeline: Pipeline, options: ModelOptions, resolution: int) -> dict[str, object]:
    """What a fit of this flow is learned on."""
    about: dict[str, object] = {"model": pipeline.name, "pipeline": type(pipeline.parts).__name__}
    about |= {"resolution": resolution, "precision": str(options.precision or torch.float32).removeprefix("torch.")}
    if options.prompts:
        scale = pipeline.guidance if options.guidance is None else options.guidance
        about |= {"prompts": len(options.prompts), "prompts_hash": fingerprint(options.prompts)}
        about |= {"guidance": scale, "negative_prompt": options.negative_prompt}
    elif pipeline.network.config.get("num_class_embeds") is not None:
        about |= {"labels": list(options.labels) or "all"}
    return about


def _call(pipeline: Pipeline, options: ModelOptions) -> tuple[Network, int, list[object]]:
    """The network with its prompts or labels, how many there are, and what the fingerprint must know of these.

    Raises:
        ValueError: if prompts, labels, guidance or negative prompt are missing, or of no use to the model.
    """
    name, kind, network = pipeline.name, pipeline.kind, pipeline.network
    scale = pipeline.guidance if options.guidance is None else options.guidance
    negative = options.negative_prompt
    if negative is not None and (scale <= 1.0 or kind in ("UNet2DModel", "FluxTransformer2DModel")):
        raise ValueError(f"{name}: negative_prompt {negative!r} needs a model with guidance, and a scale above 1")
    if negative is not None and pipeline.takes_guidance:
        raise ValueError(f"{name}: negative_prompt {negative!r} is of no use to a network that is told its guidance")
    if kind == "UNet2DModel":
        return _unprompted(pipeline, options, scale)
    if options.labels:
        raise ValueError(f"{name} takes prompts, not class labels; got {list(options.labels)}")
    if not options.prompts:
        raise ValueError(f"prompts must hold at least one prompt for {name}, got none")
    prompts, conditions = pipeline.encode(list(options.prompts)), len(options.prompts)
    if kind == "FluxTransformer2DModel":
        if options.guidance is not None and not pipeline.takes_guidance:
            raise ValueError(f"{name}: guidance {scale:g} is of no use to a network without guidance_embeds")
        call = without_guidance(flux_transformer(network, scale), prompts)
        return call, conditions, [vars(prompts), scale]
    prompted: Prompted = sd3_transformer(network)
    if kind == "UNet2DConditionModel":
        if pipeline.is_sdxl:
            _check_sizes(pipeline, prompts)
        prompted = sdxl_unet(network, pipeline.factor, scale) if pipeline.is_sdxl else prompted_unet(network, scale)
    if pipeline.takes_guidance:
        return without_guidance(prompted, prompts), conditions, [vars(prompts), scale]
    if scale <= 1.0:
        return without_guidance(prompted, prompts), conditions, [vars(prompts)]
    away = pipeline.encode_negative(negative)
    return with_guidance(prompted, prompts, away, scale), conditions, [vars(prompts), vars(away), scale]


def _unprompted(pipeline: Pipeline, options: ModelOptions, scale: float) -> tuple[Network, int, list[object]]:
    """The same for a network without prompts."""
    name, network, classes = pipeline.name, pipeline.network, pipeline.network.config.num_class_embeds
    if options.prompts or scale != 1.0:
        asked = f"prompts {list(options.prompts)}" if options.prompts else f"guidance {scale}"
        raise ValueError(f"{name} is an unconditional model, it takes no prompts and no guidance; got {asked}")
    if classes is None:
        if options.labels:
            raise ValueError(f"{name} is an unconditional model, it takes no class labels; got {list(options.labels)}")
        return unconditional(network), 1, []
    labels = [label for label in options.labels or range(classes) if label is not None]
    if len(labels) < len(options.labels) or not all(0 <= label < classes for label in labels):
        raise ValueError(f"{name}: labels must be from 0 to {classes - 1}, got {list(options.labels)}")
    return of_classes(network, labels), len(labels), [labels]


def _check_sizes(pipeline: Pipeline, prompts: Prompts) -> None:
    """ValueError unless the network takes six numbers for the sizes, as SDXL's does; its refiner takes five."""
    config = pipeline.network.config
    assert prompts.pooled is not None
    taken = config.projection_class_embeddings_input_dim
    given = SIZES * config.addition_time_embed_dim + prompts.pooled.shape[1]
    if taken != given:
        raise ValueError(
            f"{pipeline.name}: projection_class_embeddings_input_dim is {taken}, where six sizes and the prompt make "
            f"{given}; SDXL's refiner, which is told five, is not supported"
        )
