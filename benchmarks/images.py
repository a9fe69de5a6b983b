"""Sample images with few network evaluations, at learned and at hand-made times.

``--reference-case DIR`` fits grids on the case that the published LD3 code was run on, and prints both side by side.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from benchmarks.images_reference import run_reference_case

CANNOT_RUN, INTERRUPTED = 2, 130


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    reference_case: Path
    """folder of the reference case: its denoiser, teacher pairs, test set, and what the published code reached there"""
    out: Path | None = None
    """folder for results.json; without it, results are only printed"""
    nfe: tuple[int, ...] = (4, 5, 6, 8, 10)
    """network evaluations a sample"""
    seeds: tuple[int, ...] = (0, 1, 2)
    """one fit each"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark with the command line's arguments; the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__, prog="python -m benchmarks.images")
    log = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        run_reference_case(options.reference_case, options.out, options.nfe, options.seeds, log)
    except ValueError as error:
        log.print(f"error: {error}", markup=False)
        return CANNOT_RUN
    except KeyboardInterrupt:
        log.print("stopped; with --out the same command goes on from here", markup=False)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
