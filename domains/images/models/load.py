"""Loads an image model by name or path, as a flow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from domains.errors import InputError, InputProblem
from domains.images.conditioned import ConditionedFlow
from domains.images.diffusers.flow import DiffusersFlow
from domains.images.diffusers.load import pipeline_flow
from domains.images.diffusers.pipeline import Pipeline, load_checkpoint, load_pipeline
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
            pipeline, a folder, the id of one on the hub (OWNER/NAME), or a checkpoint in a single file, with
            `options.config`.
        options: what to ask it for.

    Raises:
        InputError: if there is no such model, or it does not take the options.
    """
    options = options or ModelOptions()
    if options.compile:
        check_compiler(options.device)
    path = DIGITS_WEIGHTS if model == BUILT_IN else Path(model)
    if path.suffix == ".safetensors":
        return _checkpoint(path, options) if _is_checkpoint(path) else _denoiser(path, options)
    if options.config is not None:
        raise _cannot("--config", f"{model} is no .safetensors file", "leave it out: a folder has configs of its own")
    if path.is_file():
        raise _cannot(
            str(path), "a file must be .safetensors", "convert EDM's pickles with python -m domains.images.convert"
        )
    dtype = options.precision or torch.float32
    return _diffusers(str(model), options, partial(load_pipeline, str(model), options.device, dtype, options.variant))


def _denoiser(path: Path, options: ModelOptions) -> DenoiserFlow:
    if options.config is not None:
        raise _cannot("--config", f"{path} is no checkpoint of a diffusion model in a single file", "leave it out")
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


def _checkpoint(path: Path, options: ModelOptions) -> DiffusersFlow:
    """A pipeline in one file, as the hub and ComfyUI have it."""
    if options.config is None:
        raise _cannot(
            str(path),
            "it is a checkpoint in a single file, which says neither prediction type nor schedule",
            "give --config FOLDER (or a hub id) of a diffusers pipeline of the same kind and size: its configs, "
            "scheduler and tokenizers are read, not its weights",
        )
    if options.variant is not None:
        raise _cannot("--variant", f"{path} is a single file", "leave it out")
    dtype = options.precision or torch.float32
    return _diffusers(str(path), options, partial(load_checkpoint, path, options.config, options.device, dtype))


def _is_checkpoint(path: Path) -> bool:
    return file_format(path) not in (EDM_FORMAT, DIGITS_FORMAT) and _single_file(path)


def _single_file(path: Path) -> bool:
    """Whether tensors have the names of such checkpoints."""
    return any(
        name.startswith(("model.diffusion_model.", "double_blocks.", "first_stage_model."))
        for name in tensor_names(path)
    )


def _diffusers(model: str, options: ModelOptions, read: Callable[[], Pipeline]) -> DiffusersFlow:
    try:
        distance = get_distance(options.distance, options.device)  # what may be missing, before what may be large
    except ValueError as error:
        raise _cannot(model, str(error), "see --distance") from error
    try:
        pipeline = read()
    except ValueError as error:
        remedy = "give a folder that save_pretrained wrote, the id of one on the hub, or a single file with --config"
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
