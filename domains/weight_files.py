"""Safetensors files of weights, and what can be wrong with one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from domains.errors import InputError, InputProblem

_LARGE: Final = 1024  # numbers; below are biases and the constants of bases and couplings


def write_weights(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata; replaces `path` atomically.

    Large tensors are stored in half precision, which halves the file; a weight is rounded by one part in 2000.
    """
    write_tensors(path, {name: _stored(value) for name, value in state.items() if value.numel()}, metadata)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors as they are; replaces `path` atomically."""
    part = path.with_suffix(".part")
    part.write_bytes(save(dict(tensors), dict(metadata)))
    os.replace(part, path)


def file_format(path: Path) -> str | None:
    """What the metadata of a safetensors file call its format; None where there is no such file or it says nothing."""
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format")
    except (SafetensorError, OSError):
        return None


def tensor_names(path: Path) -> list[str]:
    """Names of the tensors of a safetensors file; none where there is no such file."""
    try:
        with safe_open(path, framework="pt") as file:
            return list(file.keys())
    except (SafetensorError, OSError):
        return []


def read_weights(path: Path, format_: str, remedy: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a file whose metadata name `format_`.

    Raises:
        InputError: with `remedy`, if the file is missing, is no safetensors file (a pickle is never opened), or belongs
            to another model.
    """
    if not path.is_file():
        raise problem(path, "there is no such weights file", "check the path")
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        kind = (
            "a pickle (it could run code, so it is not opened)"
            if _is_pickle(path)
            else f"no safetensors file ({error})"
        )
        raise problem(path, f"this is {kind}", remedy) from error
    if metadata.get("format") != format_:
        raise problem(path, "these are weights of another model", remedy)
    return tensors, metadata


def check_tensors(path: Path, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], remedy: str) -> None:
    """Compare with a network's own tensors.

    Raises:
        InputError: with `remedy`, if tensors are missing, are too many, have other shapes or hold NaN or infinity.
    """
    missing, foreign = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    for what, names in (("lacks", missing), ("has but the network has not", foreign)):
        if names:
            raise problem(path, f"it {what} {len(names)} tensors, first of all {names[0]}", remedy)
    for name, value in wanted.items():
        if tensors[name].shape != value.shape:
            shapes = f"{tuple(tensors[name].shape)}, the network needs {tuple(value.shape)}"
            raise problem(path, f"tensor {name} has shape {shapes}", remedy)
        if not torch.isfinite(tensors[name]).all():
            raise problem(path, f"tensor {name} holds NaN or infinite values", "use an earlier checkpoint")


def problem(path: Path, message: str, remedy: str) -> InputError:
    """What is wrong with the file at `path`, to be raised."""
    return InputError(InputProblem(str(path), "", message, remedy))


def _stored(value: Tensor) -> Tensor:
    value = value.detach().cpu().contiguous()
    return value.half() if value.is_floating_point() and value.numel() >= _LARGE else value


def _is_pickle(path: Path) -> bool:
    """A bare pickle of protocol 2 or later, or a zip as torch.save makes them; False for a file that cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(2)
    except OSError:
        return False
    return head == b"PK" or head[:1] == b"\x80"
