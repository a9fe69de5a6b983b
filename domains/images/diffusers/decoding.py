"""From latents to images, as the pipelines of diffusers do it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ld3_diffusers.config_options import Component

_SHIFTED = ("StableDiffusion3Pipeline", "FluxPipeline")
_NORMALISED = ("StableDiffusionXLPipeline",)
# Pipelines that look at `shift_factor`, and at `latents_mean` and `latents_std`; the others pass over them.


def prepared_vae(vae: Component) -> Component:
    """The VAE; a copy in float32 of one that overflows in half precision (`force_upcast`), as diffusers decodes it."""
    if vae is not None and vae.dtype == torch.float16 and vae.config.force_upcast:
        return nn.Module.to(
            copy.deepcopy(vae), torch.float32
        )  # diffusers' own `to` warns that it is not meant for this
    return vae


def check_latents(pipeline: str, vae: Component) -> None:
    """Do nothing if the pipeline of this class decodes as the config of its VAE says.

    Raises:
        ValueError: naming the option that it passes over.
    """
    config = vae.config
    mean, std = config.get("latents_mean"), config.get("latents_std")
    if (mean is None) != (std is None):
        given, missing = ("latents_mean", "latents_std") if std is None else ("latents_std", "latents_mean")
        raise ValueError(
            f"{type(vae).__name__} has {given} without {missing}; latents are normalised by both or neither"
        )
    for option, value, by in (
        ("latents_mean", mean, _NORMALISED),
        ("shift_factor", config.get("shift_factor"), _SHIFTED),
    ):
        if value is not None and value != 0.0 and pipeline not in by:
            raise ValueError(f"{type(vae).__name__} with {option} = {value!r}: {pipeline} decodes without it")
    if mean is not None and not len(mean) == len(std) == config.latent_channels:
        raise ValueError(
            f"latents_mean and latents_std must have one number for each of {config.latent_channels} channels, "
            f"got {len(mean)} and {len(std)}"
        )


def decoder(vae: Component) -> Callable[[Tensor], Tensor]:
    """Latents (B, C, h, w) -> images (B, C', H, W) in [-1, 1]; pixels stay as they are. Differentiable."""

    def decode(x_0: Tensor) -> Tensor:
        if vae is None:
            return x_0
        config, x_0 = vae.config, x_0.to(vae.dtype)
        mean, std = config.get("latents_mean"), config.get("latents_std")
        latents = x_0 / config.scaling_factor + (config.get("shift_factor") or 0.0)
        if mean is not None and std is not None:
            scale, shift = (x_0.new_tensor(values)[:, None, None] for values in (std, mean))
            latents = x_0 * scale / config.scaling_factor + shift
        return vae.decode(latents).sample

    return decode
