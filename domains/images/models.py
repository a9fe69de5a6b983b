"""Image models by name or path, as flows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import torch

from domains.errors import InputError, InputProblem
from domains.images.conditioned import ConditionedFlow
from domains.images.distances import get_distance
from domains.images.flow import DigitsFlow
from domains.images.weights import DIGITS_WEIGHTS, load_weights

BUILT_IN: Final = "digits"


@final
@dataclass(frozen=True)
class Wanted:
    """What a model is to be asked for.

    Attributes:
        device: where to compute.
        labels: classes to show, in turn; None among them = any class; empty = all classes.
        prompts: texts to show, in turn, for models of that kind.
        guidance: scale of classifier-free guidance; 1 = the conditional model as it is, None = the model's usual one.
        distance: of images, a name of :data:`domains.images.distances.DISTANCES`.
        precision: type of the network's inner arithmetic (autocast); None = that of its weights.
        compile: run the network through torch.compile.
    """

    device: torch.device
    labels: tuple[int | None, ...] = ()
    prompts: tuple[str, ...] = ()
    guidance: float | None = None
    distance: str = "mse"
    precision: torch.dtype | None = None
    compile: bool = False


def load_image_flow(model: str, wanted: Wanted) -> ConditionedFlow:
    """The flow of "digits", or of a .safetensors file written by domains.images.train.

    Raises:
        InputError: if there is no such model, or it cannot give what is wanted.
    """
    path = DIGITS_WEIGHTS if model == BUILT_IN else Path(model)
    if path.suffix != ".safetensors":
        message = f"this is no model: neither '{BUILT_IN}' nor a .safetensors file"
        raise InputError(InputProblem(model, "", message, "check the path"))
    return _digits(path, wanted)


def _digits(path: Path, wanted: Wanted) -> DigitsFlow:
    denoiser = load_weights(path).to(wanted.device)
    classes = denoiser.network.config.classes
    if wanted.prompts:
        raise _cannot(path, "it takes class labels, not prompts", "leave --prompts out")
    if wanted.compile:
        denoiser.network.compile()
    labels = wanted.labels or tuple(range(classes)) or (None,)
    guidance = 1.0 if wanted.guidance is None else wanted.guidance
    distance = get_distance(wanted.distance, wanted.device)
    try:
        return DigitsFlow(denoiser, labels, guidance, distance, wanted.precision)
    except ValueError as error:
        raise _cannot(path, str(error), "see --label and --guidance") from error


def _cannot(path: Path, message: str, remedy: str) -> InputError:
    return InputError(InputProblem(str(path), "", message, remedy))
