"""What was read with a remark: which complexes it is about, in lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console

from domains.docking.structures.complexes import Complex
from domains.errors import InputProblem

_NAMED = 3  # complexes that a line names; it counts the others


def remark_lines(complexes: Iterable[Complex]) -> list[str]:
    """Each remark once, in order, after the names of the complexes that it is about."""
    names: dict[str, list[str]] = {}
    for found in complexes:
        for remark in found.remarks:
            names.setdefault(remark, []).append(found.name)
    return [f"{_listed(own)}: {remark}" for remark, own in names.items()]


def print_reading(complexes: Sequence[Complex], problems: Iterable[InputProblem], console: Console) -> None:
    """On a command line: first what could not be used, then what was read with a remark."""
    for problem in problems:
        console.print(f"warning: {problem}", highlight=False, markup=False, soft_wrap=True)
    for line in remark_lines(complexes):
        console.print(f"note: {line}", highlight=False, markup=False, soft_wrap=True)


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
