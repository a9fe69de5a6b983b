"""What was read with a remark: which complexes it is about, in lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console

from domains.docking.structures.complexes import Complex
from domains.errors import InputProblem

_NAMED = 3  # complexes that a line names; it counts the others
_SHOWN = 10  # remarks on the screen where a file has them all


def remark_lines(complexes: Iterable[Complex]) -> list[str]:
    """Each remark once, in order, after the names of the complexes that it is about."""
    names: dict[str, list[str]] = {}
    for found in complexes:
        for remark in found.remarks:
            names.setdefault(remark, []).append(found.name)
    return [f"{_listed(own)}: {remark}" for remark, own in names.items()]


def print_reading(
    complexes: Sequence[Complex], problems: Iterable[InputProblem], console: Console, keep: Path | None = None
) -> None:
    """On a command line: first what could not be used, then what was read with a remark.

    Args:
        complexes: what was read.
        problems: what was not.
        console: where to print.
        keep: a text file for all of these lines, then only the first remarks are printed. For commands that read
            hundreds of proteins.
    """
    refused = [f"warning: {problem}" for problem in problems]
    remarks = [f"note: {line}" for line in remark_lines(complexes)]
    shown = remarks
    if keep is not None:
        keep.write_text("".join(f"{line}\n" for line in refused + remarks), encoding="utf-8")
        if len(remarks) > _SHOWN:
            shown = [*remarks[:_SHOWN], f"note: {len(remarks) - _SHOWN} more remarks on what was read are in {keep}"]
    for line in refused + shown:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
