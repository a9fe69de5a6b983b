"""The reference case: our fits and those of the published LD3 code on the same denoiser, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.images_reference_model import load_flow


def run_reference_case(
    folder: Path, out: Path | None, nfe: Sequence[int], seeds: Sequence[int], console: Console
) -> None:
    """Fit on the case in `folder`, print the table, and write `out`/results.json.

    Raises:
        ValueError: naming what is wrong with the folder or the numbers, in one line.
    """
    load_flow(folder / "denoiser" / "digits_denoiser.pt")
    console.print(f"{len(nfe)} budgets, {len(seeds)} seeds{f', results in {out}' if out else ''}")
