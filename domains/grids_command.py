"""`ld3 grids list` and `ld3 grids check`: a folder of fits that people send each other."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import tyro

from domains.errors import InputError
from domains.grid_folder import HEADINGS, Entry, read_folder
from domains.images.models.clock import schedule_of

_CANNOT: Final = 2


@dataclass(frozen=True)
class List:
    """Print a table of the grids in a folder: what each was learned on, and what it reaches."""

    folder: Annotated[Path, tyro.conf.Positional] = Path(".")
    """with files that ld3 fit has written"""

    def run(self) -> int:
        """Print it; the exit status."""
        try:
            entries = list(read_folder(self.folder))
        except ValueError as error:
            return _refuse(error)
        print(_table([HEADINGS, *(entry.cells() for entry in entries)]))
        return _say(entries)


@dataclass(frozen=True)
class Check:
    """Say of every grid in a folder whether it can be used, and refuse by name those that cannot."""

    folder: Annotated[Path, tyro.conf.Positional] = Path(".")
    """with files that ld3 fit has written"""
    model: str | None = None
    """that they are wanted for: digits, a .safetensors file of ours, or a diffusers folder or hub id, of which only the
    scheduler's config is read"""

    def run(self) -> int:
        """Check them; the exit status, 2 if any is refused."""
        try:
            entries = list(read_folder(self.folder, None if self.model is None else schedule_of(self.model)))
        except (ValueError, InputError) as error:
            return _refuse(error)
        for entry in entries:
            if entry.problem is None:
                print(f"{entry.path}: ok")
        return _say(entries)


@dataclass(frozen=True)
class Grids:
    """Ready-made grids: list a folder of them, or check it."""

    what: tyro.conf.OmitArgPrefixes[
        Annotated[List, tyro.conf.subcommand("list", prefix_name=False)]
        | Annotated[Check, tyro.conf.subcommand("check", prefix_name=False)]
    ]

    def run(self) -> int:
        """The exit status."""
        return self.what.run()


def _say(entries: Sequence[Entry]) -> int:
    problems = [entry.problem for entry in entries if entry.problem is not None]
    for problem in problems:
        sys.stderr.write(f"refused: {problem}\n")
    return _CANNOT if problems else 0


def _refuse(error: Exception) -> int:
    sys.stderr.write(f"error: {error}\n")
    return _CANNOT


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
