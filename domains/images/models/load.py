"""Image models by name or path, as flows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import torch

from domains.errors import InputError, InputProblem
from domains.images.compiling import check_compiler
from domains.images.conditioned import ConditionedFlow
from domains.images.diffusers.files import ModelOptions, pipeline_flow
from domains.images.diffusers.flow import DiffusersFlow
from domains.images.diffusers.pipeline import load_pipeline
from domains.images.edm.flow import EDMFlow
from domains.images.edm.weights import FORMAT as EDM_FORMAT
from domains.images.edm.weights import load_edm
from domains.images.flow import DigitsFlow
from domains.images.metrics.distances import check_images, get_distance
from domains.images.models.weights import DIGITS_WEIGHTS, load_weights
from domains.weight_files import file_format

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
        negative_prompt: what guidance leads away from; None = what the model's pipeline takes by default.
        resolution: height and width of the images in pixels, for models that leave it open; None = as in training.
        distance: of images, a name of :data:`domains.images.metrics.distances.DISTANCES`.
        precision: type of the network's inner arithmetic (autocast), None = that of its weights; of diffusers models,
            the type in which all of their weights are loaded, None = float32.
        compile: run the network through torch.compile.
    """

    device: torch.device
    labels: tuple[int | None, ...] = ()
    prompts: tuple[str, ...] = ()
    guidance: float | None = None
    negative_prompt: str | None = None
    resolution: int | None = None
    distance: str = "mse"
    precision: torch.dtype | None = None
    compile: bool = False


def load_image_flow(model: str, wanted: Wanted) -> ConditionedFlow:
    """The flow of a model: "digits"; a .safetensors file written by domains.images.train or domains.images.convert; or
    a diffusers pipeline, a folder or the id of one on the hub.

    Raises:
        InputError: if there is no such model, or it cannot give what is wanted.
    """
    if wanted.compile:
        check_compiler(wanted.device)
    path = DIGITS_WEIGHTS if model == BUILT_IN else Path(model)
    if path.suffix == ".safetensors":
        return _edm(path, wanted) if file_format(path) == EDM_FORMAT else _digits(path, wanted)
    if path.is_file():
        raise _cannot(
            path, "a file must be .safetensors", "convert EDM's pickles with python -m domains.images.convert"
        )
    return _diffusers(model, wanted)


def _digits(path: Path, wanted: Wanted) -> DigitsFlow:
    denoiser = load_weights(path).to(wanted.device)
    classes = denoiser.network.config.classes
    _without_prompts(path, wanted, "it takes class labels, not prompts")
    if wanted.compile:
        denoiser.network.compile()
    labels = wanted.labels or tuple(range(classes)) or (None,)
    guidance = 1.0 if wanted.guidance is None else wanted.guidance
    network = denoiser.network.config
    try:
        check_images(wanted.distance, network.image_channels, network.resolution)
        distance = get_distance(wanted.distance, wanted.device)
        return DigitsFlow(denoiser, labels, guidance, distance, wanted.precision)
    except ValueError as error:
        raise _cannot(path, str(error), "see --label, --guidance and --distance") from error


def _edm(path: Path, wanted: Wanted) -> EDMFlow:
    denoiser = load_edm(path).to(wanted.device)
    classes = denoiser.config.network.classes
    _without_prompts(path, wanted, "it takes no prompts")
    if wanted.guidance not in (None, 1.0):
        raise _cannot(path, "it takes no guidance", "leave --guidance out")
    if wanted.compile:
        denoiser.model.compile()
    labels = [label for label in wanted.labels or range(classes) if label is not None]
    network = denoiser.config.network
    try:
        check_images(wanted.distance, network.channels, network.resolution)
        return EDMFlow(denoiser, labels, get_distance(wanted.distance, wanted.device), wanted.precision)
    except ValueError as error:
        raise _cannot(path, str(error), "see --label and --distance") from error


def _diffusers(model: str, wanted: Wanted) -> DiffusersFlow:
    if wanted.labels:
        raise _cannot(Path(model), "it takes prompts, not class labels", "leave --label out")
    options = ModelOptions(
        prompts=wanted.prompts,
        negative_prompt=wanted.negative_prompt,
        guidance_scale=wanted.guidance,
        resolution=wanted.resolution,
        distance=wanted.distance,
        device=wanted.device,
        dtype=wanted.precision or torch.float32,
        compile=wanted.compile,
    )
    try:
        pipeline = load_pipeline(model, options.device, options.dtype)
    except ValueError as error:
        remedy = "give a supported model: a folder that save_pretrained wrote, or the id of one on the hub"
        raise InputError(InputProblem("--model", "", str(error), remedy)) from error
    try:
        return pipeline_flow(pipeline, options)
    except ValueError as error:
        remedy = "see --prompts, --negative-prompt, --guidance, --resolution and --distance"
        raise InputError(InputProblem("--model", "", str(error), remedy)) from error


def _without_prompts(path: Path, wanted: Wanted, why: str) -> None:
    if wanted.prompts or wanted.negative_prompt is not None:
        raise _cannot(path, why, "leave --prompts and --negative-prompt out")
    if wanted.resolution is not None:
        raise _cannot(path, "its images have one size", "leave --resolution out")


def _cannot(path: Path, message: str, remedy: str) -> InputError:
    return InputError(InputProblem(str(path), "", message, remedy))
