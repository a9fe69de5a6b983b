"""For which models grids of Align Your Steps are published, told by how their networks were made and trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from domains.images.diffusers.networks import Component
from ld3.schedules.schedule import Schedule
from ld3.schedules.vp_steps import VPSteps

_SCHEDULE: Final = VPSteps("scaled_linear", 0.00085, 0.012, 1000, False)
"""Of Stable Diffusion, in all versions before 3."""

_WIDTHS: Final[Mapping[tuple[bool, int], str]] = {(False, 768): "sd15", (True, 2048): "sdxl"}
"""Whether the network is told sizes and a pooled prompt, and how wide its prompts are -> table of `ld3.grids.ays`.

Stable Diffusion 2 has prompts 1024 wide, SDXL's refiner 1280; for them nothing is published."""


def published_table(kind: str, config: Component, schedule: Schedule) -> str | None:
    """Name of the table for a network; fine-tuned ones have that of the model that they came from.

    Args:
        kind: class name of the network.
        config: its config.
        schedule: that it was trained on.
    """
    if kind != "UNet2DConditionModel" or schedule != _SCHEDULE:
        return None
    return _WIDTHS.get((config.get("addition_embed_type") == "text_time", config.get("cross_attention_dim")))
