"""Prompts as the text encoders of a diffusers pipeline see them."""

from __future__ import annotations

import torch

from domains.images.diffusers.networks import Component, Prompts


def is_sdxl(network: Component) -> bool:
    """Whether a U-Net wants the size of the image and a pooled prompt, as SDXL's does."""
    return network.config.get("addition_embed_type") == "text_time"


@torch.no_grad()
def encode(pipe: Component, network: Component, texts: list[str]) -> Prompts:
    """Each text by all text encoders that the network was trained with."""
    kind = type(network).__name__
    if kind == "SD3Transformer2DModel":
        tokens, _, pooled, _ = pipe.encode_prompt(texts, None, None, do_classifier_free_guidance=False)
    elif kind == "FluxTransformer2DModel":
        tokens, pooled, _ = pipe.encode_prompt(texts, None)
    elif is_sdxl(network):
        tokens, _, pooled, _ = pipe.encode_prompt(texts, do_classifier_free_guidance=False)
    else:
        (tokens, _), pooled = pipe.encode_prompt(texts, pipe.device, 1, False), None
    return Prompts(tokens, pooled)


def encode_negative(pipe: Component, network: Component, text: str | None) -> Prompts:
    """What guidance leads away from; SDXL was mostly trained with zeros where nothing is said."""
    empty = encode(pipe, network, [text or ""])
    if text is None and is_sdxl(network) and pipe.config.get("force_zeros_for_empty_prompt"):
        return Prompts(torch.zeros_like(empty.tokens), None if empty.pooled is None else torch.zeros_like(empty.pooled))
    return empty
