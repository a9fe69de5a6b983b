"""Options with which an image model is loaded: labels or prompts, guidance, distance, device."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, final

import torch

from domains.images.metrics.distances import DISTANCES


@final
@dataclass(frozen=True)
class ModelOptions:
    """What a model is asked for; what it does not know is refused when it is loaded.

    Attributes:
        labels: classes to show, in turn; None among them = any class; empty = all classes.
        prompts: texts to show, in turn, for models of that kind.
        negative_prompt: what guidance leads away from; None = what the model's pipeline takes by default.
        guidance: scale of classifier-free guidance, 1 = none; for a Flux model distilled with guidance, the strength
            that it is given; None = the model's usual one.
        config: folder, or id on the hub, of a diffusers pipeline that has the configs and tokenizers for a checkpoint
            in a single file; its weights are not read.
        variant: of the files with a diffusers model's weights, such as "fp16"; None = those without one.
        end: of the grids of diffusers models: "clean" = the last step goes on to no noise, "level" = it ends at the
            first level of the training; None = as the pipeline's own scheduler ends.
        resolution: height and width of the images in pixels, for models that leave it open; None = as in training.
        distance: of images, a name of :data:`domains.images.metrics.distances.DISTANCES`.
        device: where to compute.
        precision: type of the network's inner arithmetic (autocast), None = that of its weights; of diffusers models,
            the type in which all of their weights are loaded, None = float32.
        compile: run the network through torch.compile.

    Raises:
        ValueError: naming the option with a value that no model takes.
    """

    labels: tuple[int | None, ...] = ()
    prompts: tuple[str, ...] = ()
    negative_prompt: str | None = None
    guidance: float | None = None
    config: str | None = None
    variant: str | None = None
    end: Literal["clean", "level"] | None = None
    resolution: int | None = None
    distance: str = "mse"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: torch.dtype | None = None
    compile: bool = False

    def __post_init__(self) -> None:
        if any(not prompt.strip() for prompt in self.prompts):
            raise ValueError("prompts must be texts, got an empty one")
        if self.guidance is not None and not 0 <= self.guidance < math.inf:
            raise ValueError(f"guidance must be a number >= 0, got {self.guidance}")
        if self.resolution is not None and self.resolution < 1:
            raise ValueError(f"resolution must be at least 1, got {self.resolution}")
        if self.distance not in DISTANCES:
            raise ValueError(f"distance must be one of {', '.join(DISTANCES)}, got {self.distance!r}")
