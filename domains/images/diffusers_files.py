"""Reading a diffusers pipeline from a folder or from the hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

import torch

from domains.images.diffusers_flow import DiffusersFlow
from domains.images.diffusers_networks import (
    Component,
    Network,
    Prompted,
    flux_transformer,
    guided,
    plain,
    prompted_unet,
    sd3_transformer,
    sdxl_unet,
    unconditional,
)
from domains.images.diffusers_prompts import encode, encode_negative, is_sdxl
from domains.images.diffusers_schedule import read_path
from domains.images.distances import check_images, get_distance
from domains.images.published_tables import published_table
from ld3.schedule import RectifiedFlow

_INDEX: Final = "model_index.json"
NETWORKS: Final[Mapping[str, float]] = {
    "UNet2DModel": 1.0,
    "UNet2DConditionModel": 7.5,
    "SD3Transformer2DModel": 7.0,
    "FluxTransformer2DModel": 3.5,
}
"""Networks that are supported -> the guidance that their pipelines take by default."""

_SDXL_GUIDANCE: Final = 5.0


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
        distance: a name of `domains.images.distances`.
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
    pipe = _load(name, options)
    network = _component(pipe, "unet", "transformer")
    kind = type(network).__name__
    if kind not in NETWORKS:
        raise ValueError(f"{name}: the network must be one of {', '.join(NETWORKS)}, got {kind}")
    vae = _component(pipe, "vae", "vqvae")
    for module in (network, vae):
        if module is not None:
            module.eval().requires_grad_(False)
    if options.compile:
        network.compile()
    path = read_path(type(pipe.scheduler).__name__, pipe.scheduler.config)
    shape = _shape(name, kind, network.config, vae, options.resolution)
    channels, size = (shape[0], shape[1]) if vae is None else (vae.config.out_channels, shape[1] * _halvings(vae))
    check_images(options.distance, channels, size)
    call, content = _call(name, kind, pipe, network, options)
    return DiffusersFlow(
        path,
        call,
        _Decoder(vae),
        shape,
        max(1, len(options.prompts)),
        get_distance(options.distance, options.device),
        options.dtype,
        torch.float64
        if isinstance(path.schedule, RectifiedFlow)
        else torch.promote_types(options.dtype, torch.float32),
        published_table(kind, network.config, path.schedule),
        [network, vae, *content],
    )


def _load(name: str, options: ModelOptions) -> Component:
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
        pipe = DiffusionPipeline.from_pretrained(name, **_left_out(folder), dtype=options.dtype)
    except Exception as error:  # whatever is wrong with a folder or a connection, in whichever library
        cause = str(error).strip().partition("\n")[0].rstrip(".")
        raise ValueError(f"{name} cannot be loaded by diffusers: {type(error).__name__}: {cause}") from error
    return pipe.to(options.device)


def _left_out(folder: Path) -> Mapping[str, None]:
    """Components that no sampler needs."""
    if not folder.exists():
        return {"safety_checker": None}
    index = json.loads((folder / _INDEX).read_text())
    return {"safety_checker": None} if "safety_checker" in index else {}


def _component(pipe: Component, *names: str) -> Component:
    """The first of these components that the pipeline has, or None."""
    return next((part for name in names if (part := pipe.components.get(name)) is not None), None)


def _shape(name: str, kind: str, config: Component, vae: Component, resolution: int | None) -> tuple[int, int, int]:
    """(C, H, W) of what is noised.

    Raises:
        ValueError: if the channels of network and VAE do not fit, or the resolution does not.
    """
    packed = 4 if kind == "FluxTransformer2DModel" else 1
    inputs, outputs = config.in_channels // packed, (config.out_channels or config.in_channels) // packed
    if outputs not in (inputs, 2 * inputs):
        raise ValueError(f"{name}: the network takes {inputs} channels and answers with {outputs}; it must be as many")
    if vae is not None and vae.config.latent_channels != inputs:
        raise ValueError(
            f"{name}: the network takes {inputs} channels, its VAE makes {vae.config.latent_channels}; "
            "models that are given an image as well (inpainting, editing) are not supported"
        )
    factor = 1 if vae is None else _halvings(vae)
    multiple = factor * _smallest_size(kind, config)
    if resolution is None:
        size = config.get("sample_size") or 128  # Flux has none; its pipeline takes 128
        if not isinstance(size, int):
            raise ValueError(f"{name}: the network is made for images of {size}; give a resolution")
        resolution = size * factor
    if resolution < multiple or resolution % multiple:
        raise ValueError(f"{name}: resolution must be a positive multiple of {multiple}, got {resolution}")
    return inputs, resolution // factor, resolution // factor


def _halvings(vae: Component) -> int:
    """How many times smaller than the images the latents are."""
    return int(2 ** (len(vae.config.block_out_channels) - 1))


def _smallest_size(kind: str, config: Component) -> int:
    """What the network's input must be a multiple of."""
    if kind == "FluxTransformer2DModel":
        return 2
    return int(config.patch_size) if kind == "SD3Transformer2DModel" else 2 ** (len(config.block_out_channels) - 1)


def _call(
    name: str, kind: str, pipe: Component, network: Component, options: ModelOptions
) -> tuple[Network, list[object]]:
    """The network with its prompts, and what the fingerprint must know of these."""
    usual = _SDXL_GUIDANCE if is_sdxl(network) else NETWORKS[kind]
    scale = usual if options.guidance_scale is None else options.guidance_scale
    negative = options.negative_prompt
    if negative is not None and (scale <= 1.0 or kind in ("UNet2DModel", "FluxTransformer2DModel")):
        raise ValueError(f"{name}: negative_prompt {negative!r} needs a model with guidance, and a scale above 1")
    if kind == "UNet2DModel":
        if options.prompts or scale != 1.0:
            asked = f"prompts {list(options.prompts)}" if options.prompts else f"guidance_scale {scale}"
            raise ValueError(f"{name} is an unconditional model, it takes no prompts and no guidance; got {asked}")
        if network.config.time_embedding_type != "positional" or network.config.class_embed_type is not None:
            raise ValueError(f"{name}: U-Nets with learned or Fourier time embeddings or classes are not supported")
        return unconditional(network), []
    if network.config.get("addition_embed_type") not in (None, "text_time"):
        raise ValueError(
            f"{name}: U-Nets with addition_embed_type {network.config.addition_embed_type} are not supported"
        )
    if not options.prompts:
        raise ValueError(f"prompts must hold at least one prompt for {name}, got none")
    if not scale >= 0:
        raise ValueError(f"guidance_scale must be a number >= 0, got {scale}")
    prompts = encode(pipe, network, list(options.prompts))
    if kind == "FluxTransformer2DModel":
        return plain(flux_transformer(network, scale), prompts), [vars(prompts), scale]
    prompted: Prompted = sd3_transformer(network)
    if kind == "UNet2DConditionModel":
        prompted = sdxl_unet(network, _halvings(pipe.vae)) if is_sdxl(network) else prompted_unet(network)
    if scale <= 1.0:
        return plain(prompted, prompts), [vars(prompts)]
    away = encode_negative(pipe, network, negative)
    return guided(prompted, prompts, away, scale), [vars(prompts), vars(away), scale]


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
