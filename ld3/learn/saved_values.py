"""Values of saved results, read back with their types checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

Value = TypeVar("Value")


def without_infinities(content: object) -> object:
    """Plain data as JSON can hold it: None for numbers that are not finite."""
    if isinstance(content, Mapping):
        return {key: without_infinities(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_infinities(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def cause_of(error: Exception) -> str:
    """What is wrong with a file, in one line."""
    reason = error.strerror if isinstance(error, OSError) else None
    return reason or str(error).partition("\n")[0]


def take(content: Mapping[str, object], name: str, read: Callable[[str, object], Value]) -> Value:
    """`read(name, content[name])`.

    Raises:
        ValueError: if there is no such value, or what `read` raises.
    """
    if name not in content:
        raise ValueError(f"{name} is missing")
    return read(name, content[name])


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
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    return value


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


def numbers(name: str, value: object) -> list[float]:
    """A list of finite numbers; ValueError for anything else."""
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a list, got {value!r}")
    return [number(f"{name}[{i}]", x) for i, x in enumerate(value)]


def table(name: str, value: object) -> Mapping[str, object]:
    """A dictionary with names as keys; ValueError for anything else."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{name} must be an object, got {value!r}")
    return value


def rows(name: str, value: object) -> list[Mapping[str, object]]:
    """A list of dictionaries; ValueError for anything else."""
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a list, got {value!r}")
    return [table(f"{name}[{i}]", row) for i, row in enumerate(value)]
