"""Loads an image model by name or path, as a flow."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from domains.errors import InputError, InputProblem
from domains.images.conditioned import ConditionedFlow
from domains.images.diffusers.flow import DiffusersFlow
from domains.images.diffusers.load import pipeline_flow
from domains.images.diffusers.pipeline import load_pipeline
from domains.images.edm.weights import FORMAT as EDM_FORMAT
from domains.images.edm.weights import load_edm
from domains.images.flow import DenoiserFlow
from domains.images.metrics.distances import check_images, get_distance
from domains.images.models.options import ModelOptions
from domains.images.models.weights import DIGITS_WEIGHTS, load_weights
from domains.images.models.weights import FORMAT as DIGITS_FORMAT
from domains.weight_files import file_format, tensor_names

BUILT_IN: Final = "digits"


def load(model: str | Path = BUILT_IN, options: ModelOptions | None = None) -> ConditionedFlow:
    """An image model as a flow.

    Args:
        model: "digits"; a .safetensors file written by domains.images.train or domains.images.convert; or a diffusers
            pipeline, a folder or the id of one on the hub (OWNER/NAME).
        options: what to ask it for.

    Raises:
        InputError: if there is no such model, or it does not take the options.
    """
    options = options or ModelOptions()
    if options.compile:
        check_compiler(options.device)
    path = DIGITS_WEIGHTS if model == BUILT_IN else Path(model)
    if path.suffix == ".safetensors":
        return _denoiser(path, options)
    if path.is_file():
        raise _cannot(
            str(path), "a file must be .safetensors", "convert EDM's pickles with python -m domains.images.convert"
        )
    return _diffusers(str(model), options)


def _denoiser(path: Path, options: ModelOptions) -> DenoiserFlow:
    _check_ours(path)
    if options.prompts or options.negative_prompt is not None:
        raise _cannot(str(path), "it takes class labels, not prompts", "leave --prompts and --negative-prompt out")
    if options.variant is not None or options.end is not None:
        raise _cannot(str(path), "variants and ends are those of diffusers models", "leave --variant and --end out")
    if options.resolution is not None:
        raise _cannot(str(path), "its images have one size", "leave --resolution out")
    denoiser = (load_edm(path) if file_format(path) == EDM_FORMAT else load_weights(path)).to(options.device)
    network = denoiser.network
    guidance = 1.0 if options.guidance is None else options.guidance
    try:
        check_images(options.distance, *network.shape[:2])
        distance = get_distance(options.distance, options.device)
        labels = options.labels or tuple(range(network.classes)) or (None,)
        flow = DenoiserFlow(denoiser, labels, guidance, distance, options.precision)
    except ValueError as error:
        raise _cannot(str(path), str(error), "see --label, --guidance and --distance") from error
    if options.compile:
        network.compile()
    return flow


def _check_ours(path: Path) -> None:
    """InputError for a checkpoint of a whole pipeline in one file, as the hub and ComfyUI have them."""
    if file_format(path) in (EDM_FORMAT, DIGITS_FORMAT) or not _single_file(path):
        return
    raise _cannot(
        str(path),
        "it is a checkpoint of a diffusion model in a single file, which says neither prediction type nor schedule",
        "make a folder of it with diffusers, and give that: "
        f"StableDiffusionPipeline.from_single_file({str(path)!r}).save_pretrained('folder')",
    )


def _single_file(path: Path) -> bool:
    """Whether tensors have the names of such checkpoints."""
    return any(
        name.startswith(("model.diffusion_model.", "double_blocks.", "first_stage_model."))
        for name in tensor_names(path)
    )


def _diffusers(model: str, options: ModelOptions) -> DiffusersFlow:
    try:
        distance = get_distance(options.distance, options.device)  # what may be missing, before what may be large
    except ValueError as error:
        raise _cannot(model, str(error), "see --distance") from error
    try:
        pipeline = load_pipeline(model, options.device, options.precision or torch.float32, options.variant)
    except ValueError as error:
        remedy = "give a supported model: a folder that save_pretrained wrote, or the id of one on the hub"
        raise _cannot("--model", str(error), remedy) from error
    try:
        return pipeline_flow(pipeline, options, distance)
    except ValueError as error:
        remedy = "see --prompts, --label, --negative-prompt, --guidance, --resolution, --end and --distance"
        raise _cannot("--model", str(error), remedy) from error


def check_compiler(device: torch.device) -> None:
    """Compile something small, since torch asks for its compiler only where a network is first called.

    Raises:
        InputError: if that fails.
    """

    def small(x: Tensor) -> Tensor:
        return 2 * x.sin() + 1

    try:
        torch.compile(small, options={"fx_graph_cache": False})(torch.ones(2, device=device))
    except Exception as error:  # torch's own, the compiler's, the system's
        cause = str(error).strip().partition("\n")[0]
        remedy = "leave it out, or install a C++ compiler, and Triton where there is a GPU"
        raise _cannot("--compile", f"torch.compile does not work here ({cause})", remedy) from error


def _cannot(what: str, message: str, remedy: str) -> InputError:
    return InputError(InputProblem(what, "", message, remedy))
