"""The command line that a run was started with, from the options in its results."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any


def command_line(module: str, options: type, config: Mapping[str, Any], left_out: Collection[str]) -> str:
    """`python -m module`, --nfe, and every other option that was not left at its default, as a shell reads it.

    Args:
        module: to run.
        options: the dataclass of its options, from which tyro makes the flags.
        config: option -> value, as JSON has it.
        left_out: options that figures do not depend on.
    """
    words = ["python", "-m", module]
    for field in fields(options):
        given = config[field.name]
        if field.name == "nfe" or (field.name not in left_out and _plain(given) != _plain(field.default)):
            words += _flag(field.name.replace("_", "-"), given)
    return shlex.join(words)


def _flag(name: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", *map(str, value if isinstance(value, list | tuple) else [value])]


def _plain(value: object) -> str | list[str]:
    """The same for a tuple and a list, a path and its text."""
    return [str(part) for part in value] if isinstance(value, list | tuple) else str(value)
