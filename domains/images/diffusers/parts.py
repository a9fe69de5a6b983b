"""Reads the parts of a diffusers pipeline, from a folder or from the hub, once its index has been looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import torch

from domains.images.diffusers.checks import check_index
from ld3_diffusers.config_options import Component

_INDEX: Final = "model_index.json"
_SCHEDULERS: Final = ("diffusers", "ld3_diffusers.learned_scheduler")  # where classes of schedulers are taken from


def load_parts(name: str, device: torch.device, dtype: torch.dtype, variant: str | None) -> Component:
    """The pipeline, in a floating type and on a device; without its safety checker.

    Raises:
        ValueError: in one line: what is missing, is not supported, or cannot be loaded.
    """
    pipelines = _library(name).DiffusionPipeline
    folder = Path(name)
    if folder.exists() and not (folder / _INDEX).is_file():
        raise ValueError(f"{name} is no folder of a diffusers pipeline: it has no {_INDEX}")
    if not folder.exists() and name.count("/") != 1:
        raise ValueError(f"{name} is neither a folder nor the id of a model on the hub (OWNER/NAME)")
    try:
        with _silent_libraries():
            index = _index(name, pipelines)
    except Exception as error:
        raise ValueError(f"{name} cannot be loaded by diffusers: {_cause(error)}") from error
    check_index(name, index)
    left_out = {part: None for part, kind in index.items() if kind == [None, None] or part == "safety_checker"}
    try:
        with _silent_libraries():
            return pipelines.from_pretrained(name, **left_out, dtype=dtype, variant=variant).to(device)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever is wrong with a folder or a connection, in whichever library
        raise ValueError(f"{name} cannot be loaded by diffusers: {_cause(error)}{_other(folder, variant)}") from error


def load_single_file(path: Path, config: str, device: torch.device, dtype: torch.dtype) -> Component:
    """The pipeline whose weights are in one file, under its authors' names; without its safety checker.

    Args:
        config: folder, or id on the hub, of a pipeline of the same sizes, whose configs, scheduler and tokenizers it
            gets.

    Raises:
        ValueError: in one line: what is missing, is not supported, or cannot be loaded.
    """
    library = _library(str(path))
    folder = Path(config)
    if folder.exists() and not (folder / _INDEX).is_file():
        raise ValueError(f"{config} is no folder of a diffusers pipeline: it has no {_INDEX}")
    try:
        with _silent_libraries():
            index = _index(config, library.DiffusionPipeline)
    except Exception as error:
        raise ValueError(f"{config} cannot be read by diffusers: {_cause(error)}") from error
    check_index(config, index)
    kind = getattr(library, str(index["_class_name"]))
    if not hasattr(kind, "from_single_file"):
        raise ValueError(f"diffusers reads no single file as a {index['_class_name']}, which {config} is")
    try:
        with _silent_libraries():
            pipeline = kind.from_single_file(
                str(path), config=config, dtype=dtype, local_files_only=folder.exists(), safety_checker=None
            )
            return pipeline.to(device)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise ValueError(
            f"{path} cannot be loaded by diffusers with the configs of {config}: {_cause(error)}"
        ) from error


def load_scheduler(name: str) -> Component:
    """The scheduler of a pipeline, and nothing else of it.

    Raises:
        ValueError: in one line: what is missing, or cannot be loaded.
    """
    library, folder = _library(name), Path(name)
    if not folder.exists() and name.count("/") != 1:
        raise ValueError(f"{name} is neither a folder nor the id of a model on the hub (OWNER/NAME)")
    try:
        with _silent_libraries():
            module, kind = _index(name, library.DiffusionPipeline)["scheduler"]
            if module not in _SCHEDULERS:
                raise ValueError(f"its scheduler is one of {module}, which is not imported for it")
            return getattr(import_module(module), kind).from_pretrained(name, subfolder="scheduler")
    except Exception as error:
        raise ValueError(f"the scheduler of {name} cannot be loaded by diffusers: {_cause(error)}") from error


def _library(name: str) -> Component:
    try:
        return import_module("diffusers")
    except ImportError as error:
        raise ValueError(
            f"{name}: diffusers models need the package diffusers: pip install '.[images]' in a copy of the repository"
        ) from error


def _index(name: str, library: Component) -> dict[str, Any]:
    """The parts of a pipeline, and its own options."""
    path = Path(name) / _INDEX
    index = json.loads(path.read_text()) if path.exists() else library.load_config(name)
    if not isinstance(index, dict):
        raise TypeError(f"{_INDEX} must hold an object, got {type(index).__name__}")
    return index


def _cause(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(".")
    return f"{type(error).__name__}: {first}"


def _other(folder: Path, variant: str | None) -> str:
    """A hint where the weights are there in files of another variant."""
    found = {path.name.split(".")[-2] for path in folder.glob("*/*.*.safetensors")}
    names = sorted(part for part in found if part.isalnum() and part != variant)
    return f"; its weights are those of another variant: give --variant {' or '.join(names)}" if names else ""


@contextmanager
def _silent_libraries() -> Iterator[None]:
    """No messages and no progress bars of the libraries: what is wrong is to be one line."""
    libraries = []
    for name in ("diffusers", "transformers"):
        try:
            libraries.append(import_module(f"{name}.utils.logging"))
        except ImportError:
            continue  # transformers is needed for prompts alone
    before = [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    try:
        for library in libraries:
            library.set_verbosity(library.CRITICAL)
            library.disable_progress_bar()
        yield
    finally:
        for library, (verbosity, bars) in zip(libraries, before, strict=True):
            library.set_verbosity(verbosity)
            if bars:
                library.enable_progress_bar()
