"""The reference case as a page: ``python -m benchmarks.experiments.reference_case.page OUT``.

Puts the tables of OUT/results.json between the markers of docs/reference_case.md, so that nobody types a figure.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import tyro

from benchmarks.common.tables import put_block
from benchmarks.experiments.reference_case.fits import WITH_COEFFICIENTS
from benchmarks.experiments.reference_case.rows import CaseRow, HandRow
from benchmarks.experiments.reference_case.table import CAPTION, HEADINGS, cells
from benchmarks.experiments.reference_case.targets import best_of_all, gains, targets

BLOCK: Final = "reference case"
_GAINS: Final = "Learned solver coefficients on top of times and levels, for the same evaluations:"
_BEST: Final = (
    "The best learned grid of all solvers, and the best with learned coefficients, against the best grid that nobody "
    "learned, of every solver in the registry:"
)


@dataclass(frozen=True)
class Options:
    """Where the figures come from and go to."""

    run: Annotated[Path, tyro.conf.Positional]
    """--out of benchmarks.images --reference-case"""
    page: Path = Path(__file__).parents[3] / "docs" / "reference_case.md"
    """Markdown file with the markers"""
    block: str = BLOCK
    """name of the markers"""


def block(results: Mapping[str, Any]) -> str:
    """How the figures were made, the table, the targets, and the best of all grids, as Markdown.

    Raises:
        ValueError: if `results` is not what the run writes.
    """
    try:
        rows = [CaseRow(**row) for row in (*results["reference_case"], *results[WITH_COEFFICIENTS])]
        hand = [HandRow(**row) for row in results["hand_made"]]
        threads, complete = results["machine"]["threads"], results["complete"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"results must be those of the reference case; {type(error).__name__}: {error}") from error
    state = "" if complete else " **The run has not ended: some fits are missing.**"
    seeds = " ".join(str(seed) for seed in sorted({row.seed for row in rows}))
    nfe = " ".join(str(n) for n in sorted({row.nfe for row in rows}))
    origin = (
        f"Made by `python -m benchmarks.images --reference-case DIR --nfe {nfe} --seeds {seeds} --out OUT` and "
        f"`python -m benchmarks.experiments.reference_case.page OUT`; threads: {threads}.{state}"
    )
    table = [HEADINGS, ["---"] * len(HEADINGS), *cells(rows)]
    lines = "\n".join(f"| {' | '.join(line)} |" for line in table)
    aimed = "\n".join(f"- {sentence}" for sentence in targets(rows))
    more = "\n".join(f"- {sentence}" for sentence in gains(rows))
    best = "\n".join(f"- {sentence}" for sentence in best_of_all(rows, hand))
    return "\n\n".join([origin, lines, f"{CAPTION[0].upper()}{CAPTION[1:]}.", aimed, _GAINS, more, _BEST, best])


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the page; the exit status."""
    options = tyro.cli(
        Options, args=arguments, description=__doc__, prog="python -m benchmarks.experiments.reference_case.page"
    )
    try:
        results = json.loads((options.run / "results.json").read_text())
        put_block(options.page, options.block, block(results))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
