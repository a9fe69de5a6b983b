"""The networks of diffusers behind one call: (x_t, t, condition) -> answer.

    x_t: (B, C, H, W), of the network's floating type.
    t: the network's time, shape ().
    condition: number of each image's prompt, int64, (B,).

Nothing here knows what the answer means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from domains.images.conditioned import guided
from ld3_diffusers.config_options import Component

Network = Callable[[Tensor, Tensor, Tensor], Tensor]

SIZES = 6
"""Numbers for an image's size that SDXL's network is given."""


def packed_pixels(kind: str) -> int:
    """Pixels in a token of a network of this class, whose channels its input counts."""
    return 4 if kind == "FluxTransformer2DModel" else 1


@final
@dataclass(frozen=True)
class Prompts:
    """Encoded prompts.

    Attributes:
        tokens: (P, L, D).
        pooled: (P, D'), for networks that take it.
    """

    tokens: Tensor
    pooled: Tensor | None = None

    def of(self, condition: Tensor) -> Prompts:
        """The prompt of each image."""
        return Prompts(self.tokens[condition], None if self.pooled is None else self.pooled[condition])

    def followed_by(self, other: Prompts) -> Prompts:
        """Both, one after the other."""
        if self.pooled is None or other.pooled is None:
            return Prompts(torch.cat([self.tokens, other.tokens]))
        return Prompts(torch.cat([self.tokens, other.tokens]), torch.cat([self.pooled, other.pooled]))


Prompted = Callable[[Tensor, Tensor, Prompts], Tensor]
"""(x_t, t, one prompt an image) -> answer."""


def unconditional(unet: Component) -> Network:
    """A UNet2DModel."""

    def network(x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        return unet(x_t, t).sample

    return network


def of_classes(unet: Component, labels: Sequence[int]) -> Network:
    """A UNet2DModel of classes; `labels` are those of the conditions."""

    def network(x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        return unet(x_t, t, class_labels=torch.tensor(labels, device=x_t.device)[condition]).sample

    return network


def guidance_embedding(scale: float, width: int) -> Tensor:
    """Sines and cosines (1, width) of 1000 (w - 1), by which networks distilled with guidance w are told it (Meng et
    al., arXiv 2210.03142); frequencies fall geometrically from 1 to 1e-4. Float32."""
    half = width // 2
    angles = 1000 * (scale - 1) * torch.exp(-math.log(1e4) / (half - 1) * torch.arange(half, dtype=torch.float32))
    return torch.cat([angles.sin(), angles.cos(), torch.zeros(width % 2)])[None]


def told(unet: Component, distilled_guidance: float, x_t: Tensor) -> Tensor | None:
    """What a U-Net that was distilled with guidance is told beside the time, (B, width); None for all others."""
    width = unet.config.time_cond_proj_dim
    if width is None:
        return None
    return guidance_embedding(distilled_guidance, width).to(x_t).expand(len(x_t), -1)


def prompted_unet(unet: Component, distilled_guidance: float) -> Prompted:
    """A UNet2DConditionModel, as in Stable Diffusion 1 and 2."""

    def network(x_t: Tensor, t: Tensor, prompts: Prompts) -> Tensor:
        guidance = told(unet, distilled_guidance, x_t)
        return unet(x_t, t, encoder_hidden_states=prompts.tokens, timestep_cond=guidance).sample

    return network


def sdxl_unet(unet: Component, factor: int, distilled_guidance: float) -> Prompted:
    """A UNet2DConditionModel that also takes the size of the image, `factor` times that of the latents, for that of
    the original and of the result; the corner of the crop is 0, 0."""

    def network(x_t: Tensor, t: Tensor, prompts: Prompts) -> Tensor:
        height, width = factor * x_t.shape[2], factor * x_t.shape[3]
        size = t.new_tensor([height, width, 0, 0, height, width]).to(x_t.dtype).expand(len(x_t), -1)
        added = {"text_embeds": prompts.pooled, "time_ids": size}
        return unet(
            x_t,
            t,
            encoder_hidden_states=prompts.tokens,
            timestep_cond=told(unet, distilled_guidance, x_t),
            added_cond_kwargs=added,
        ).sample

    return network


def sd3_transformer(transformer: Component) -> Prompted:
    """An SD3Transformer2DModel."""

    def network(x_t: Tensor, t: Tensor, prompts: Prompts) -> Tensor:
        return transformer(
            hidden_states=x_t,
            timestep=t.expand(len(x_t)),
            encoder_hidden_states=prompts.tokens,
            pooled_projections=prompts.pooled,
        ).sample

    return network


def flux_transformer(transformer: Component, distilled_guidance: float) -> Prompted:
    """A FluxTransformer2DModel, which sees latents as a sequence of 2 x 2 patches; those of its kind that were
    distilled with guidance take its strength as an input."""

    def network(x_t: Tensor, t: Tensor, prompts: Prompts) -> Tensor:
        height, width = x_t.shape[2] // 2, x_t.shape[3] // 2
        guidance = t.new_full((len(x_t),), distilled_guidance) if transformer.config.guidance_embeds else None
        answer = transformer(
            hidden_states=to_patches(x_t),
            timestep=t.expand(len(x_t)) / 1000,  # it multiplies by 1000 itself
            guidance=guidance,
            encoder_hidden_states=prompts.tokens,
            pooled_projections=prompts.pooled,
            txt_ids=x_t.new_zeros(prompts.tokens.shape[1], 3),
            img_ids=patch_places(height, width).to(x_t),
        ).sample
        return from_patches(answer, height, width)

    return network


def with_guidance(network: Prompted, prompts: Prompts, negative: Prompts, scale: float) -> Network:
    """Guidance from a negative prompt to each image's own, both answers from one call (`guided`).

    Args:
        negative: a single prompt.
    """

    def call(x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        both = negative.of(torch.zeros_like(condition)).followed_by(prompts.of(condition))
        without, with_prompt = network(torch.cat([x_t, x_t]), t, both).chunk(2)
        return guided(with_prompt, without, scale)

    return call


def without_guidance(network: Prompted, prompts: Prompts) -> Network:
    """The prompts as they are."""

    def call(x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        return network(x_t, t, prompts.of(condition))

    return call


def to_patches(x: Tensor) -> Tensor:
    """(B, C, 2H, 2W) -> (B, H W, 4 C): each 2 x 2 patch a token, channels outermost."""
    batch, channels, height, width = x.shape
    cut = x.reshape(batch, channels, height // 2, 2, width // 2, 2)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, height * width // 4, 4 * channels)


def from_patches(x: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `to_patches` for `height` x `width` patches."""
    batch, _, channels = x.shape
    cut = x.reshape(batch, height, width, channels // 4, 2, 2)
    return cut.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels // 4, 2 * height, 2 * width)


def patch_places(height: int, width: int) -> Tensor:
    """(H W, 3): 0, row, column of every patch."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], -1).reshape(-1, 3)
