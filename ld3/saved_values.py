"""Results in JSON files: written whole or not at all, read back with the types of their values checked."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value")


def write_saved(path: Path | str, schema: str, version: int, values: Mapping[str, object]) -> None:
    """Write values as JSON, null for numbers that are not finite; replaces `path` atomically."""
    content = without_infinities({"schema": schema, "version": version, **values})
    part = Path(f"{path}.part")
    part.write_text(json.dumps(content, indent=2, allow_nan=False))
    os.replace(part, path)


def _read_saved(path: Path | str, schema: str, version: int, names: Collection[str], what: str) -> Mapping[str, object]:
    content = table("the file", json.loads(Path(path).read_text()))
    if (found := (content.get("schema"), content.get("version"))) != (schema, version):
        raise ValueError(f"it is of schema {found[0]!r}, version {found[1]!r}, not {schema!r}, version {version}")
    if unknown := sorted(content.keys() - {"schema", "version", *names}):
        raise ValueError(f"{unknown[0]} is no part of {what}")
    return content


def load_saved(
    path: Path | str,
    schema: str,
    version: int,
    names: Collection[str],
    what: str,
    read: Callable[[Mapping[str, object]], Value],
) -> Value:
    """What `read` makes of the values that `write_saved` wrote.

    Args:
        names: of the values that there may be.
        what: they are, for the message: a fit, a warp.
        read: raises one of the usual errors for values that it cannot take.

    Raises:
        ValueError: in one line, naming the file, if it holds anything else: the first value that is missing, of another
            type, or does not go with the others.
    """
    try:
        return read(_read_saved(path, schema, version, names, what))
    except (OSError, KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise ValueError(f"{path} is no {what.partition(' ')[2]} saved by ld3: {_cause_of(error)}") from error


def mean_lists(mean: Mapping[str, Tensor] | None) -> dict[str, list[Any]] | None:
    """A solver's `data_mean` as JSON has it; :func:`tensors_of` reads it back."""
    return None if mean is None else {factor: value.tolist() for factor, value in mean.items()}


def without_infinities(content: object) -> object:
    """Plain data as JSON can hold it: None for numbers that are not finite."""
    if isinstance(content, Mapping):
        return {key: without_infinities(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_infinities(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _cause_of(error: Exception) -> str:
    """What is wrong with a file, in one line."""
    reason = error.strerror if isinstance(error, OSError) else None
    return reason or str(error).partition("\n")[0]


def value_of(content: Mapping[str, object], name: str, read: Callable[[str, object], Value]) -> Value:
    """`read(name, content[name])`.

    Raises:
        ValueError: if there is no such value, or what `read` raises.
    """
    if name not in content:
        raise ValueError(f"{name} is missing")
    return read(name, content[name])


def values_of(content: Mapping[str, object], readers: Mapping[str, Callable[[str, object], Any]]) -> dict[str, Any]:
    """Name -> `value_of` with its reader."""
    return {name: value_of(content, name, read) for name, read in readers.items()}


def text(name: str, value: object) -> str:
    """Text as it is; ValueError for anything else."""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text, got {value!r}")
    return value


def count(name: str, value: object) -> int:
    """A whole number from 0 on; ValueError for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} must be a whole number >= 0, got {value!r}")
    return value


def number(name: str, value: object) -> float:
    """A finite number; ValueError for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < math.inf:
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must be a finite number, got one too large for float64") from None


def positive(name: str, value: object) -> float:
    """A finite number above 0; ValueError for anything else."""
    if not number(name, value) > 0:
        raise ValueError(f"{name} must be > 0, got {value!r}")
    return number(name, value)


def loss(name: str, value: object) -> float:
    """A number, which is infinite where None or infinity is written; ValueError for anything else."""
    return math.inf if value is None or value == math.inf else number(name, value)


def flag(name: str, value: object) -> bool:
    """True or False; ValueError for anything else."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")
    return value


def sequence(name: str, value: object) -> list[object]:
    """A list; ValueError for anything else."""
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a list, got {value!r}")
    return value


def numbers(name: str, value: object) -> list[float]:
    """A list of finite numbers; ValueError for anything else."""
    return [number(f"{name}[{i}]", x) for i, x in enumerate(sequence(name, value))]


def table(name: str, value: object) -> Mapping[str, object]:
    """A dictionary with names as keys; ValueError for anything else."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{name} must be an object, got {value!r}")
    return value


def tensors_of(name: str, value: object) -> dict[str, Tensor] | None:
    """An object of tables of finite numbers, as float64, or None; ValueError for anything else."""
    if value is None:
        return None
    try:
        found = {key: torch.tensor(entry, dtype=torch.float64) for key, entry in table(name, value).items()}
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{name} must hold tables of numbers; {_cause_of(error)}") from error
    if not all(entry.isfinite().all() for entry in found.values()):
        raise ValueError(f"{name} must hold finite numbers")
    return found


def losses(name: str, value: object) -> dict[str, float]:
    """An object of losses; ValueError for anything else."""
    return {key: loss(f"{name}[{key!r}]", entry) for key, entry in table(name, value).items()}


def rows(name: str, value: object) -> list[Mapping[str, object]]:
    """A list of dictionaries; ValueError for anything else."""
    return [table(f"{name}[{i}]", row) for i, row in enumerate(sequence(name, value))]
