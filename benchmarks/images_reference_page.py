"""The reference case as a page: ``python -m benchmarks.images_reference_page OUT`` after a run with ``--out OUT``.

Puts the tables of OUT/results.json between the markers of docs/reference_case.md, so that nobody types a figure.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Final

import tyro

from benchmarks.images_reference_rows import CaseRow, HandRow
from benchmarks.images_reference_table import CAPTION, HEADINGS, best_of_all, cells
from benchmarks.readme import with_block
from benchmarks.store import write_text

BLOCK: Final = "reference case"
_MSE_SHARE: Final = 0.8  # of the published code's mean that a fit to its own pairs should stay below
_COST_SHARE: Final = 0.2
_OWN_TARGETS: Final[Mapping[int, float]] = {4: 0.0045, 5: 0.0020, 6: 0.0010, 8: 0.00025, 10: 0.0001}


@dataclass(frozen=True)
class Options:
    """Where the figures come from and go to."""

    run: Annotated[Path, tyro.conf.Positional]
    """--out of benchmarks.images --reference-case"""
    page: Path = Path(__file__).parents[1] / "docs" / "reference_case.md"
    """Markdown file with the markers"""


def block(results: Mapping[str, Any]) -> str:
    """How the figures were made, the table, the targets, and the best of all grids, as Markdown.

    Raises:
        ValueError: if `results` is not what the run writes.
    """
    try:
        rows = [CaseRow(**row) for row in results["reference_case"]]
        hand = [HandRow(**row) for row in results["hand_made"]]
        published = _published(results["published_hand_made"])
        threads, complete = results["machine"]["threads"], results["complete"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"results must be those of the reference case; {type(error).__name__}: {error}") from error
    state = "" if complete else " **The run has not ended: some fits are missing.**"
    seeds = ", ".join(str(seed) for seed in sorted({row.seed for row in rows}))
    origin = (
        f"Made by `python -m benchmarks.images --reference-case DIR --out OUT` and "
        f"`python -m benchmarks.images_reference_page OUT`; seeds {seeds}; threads: {threads}.{state}"
    )
    table = [HEADINGS, ["---"] * len(HEADINGS), *cells(rows)]
    lines = "\n".join(f"| {' | '.join(line)} |" for line in table)
    best = "\n".join(f"- {sentence}" for sentence in best_of_all(rows, hand, published))
    return "\n\n".join([origin, lines, f"{CAPTION[0].upper()}{CAPTION[1:]}.", "\n".join(targets(rows)), best])


def targets(rows: Sequence[CaseRow]) -> Iterator[str]:
    """Per setting and NFE of UniPC: whether what was aimed at is reached, as list items."""
    aimed = [row for row in rows if row.solver == "unipc_bh1_3"]
    for (setting, nfe), same in groupby(aimed, lambda row: (row.setting, row.nfe)):
        seeds = list(same)
        mean, worst = sum(row.mse for row in seeds) / len(seeds), max(row.mse for row in seeds)
        checks = dict(_same(seeds, mean, worst) if setting == "same_pairs" else _own(seeds, nfe, mean, worst))
        missed = [name for name, reached in checks.items() if not reached]
        yield f"- {setting}, {nfe} NFE: " + (f"missed: {'; '.join(missed)}" if missed else "all targets reached")


def _same(seeds: Sequence[CaseRow], mean: float, worst: float) -> Iterator[tuple[str, bool]]:
    first = seeds[0]
    assert first.reference_mse is not None and first.reference_mse_best is not None
    assert first.reference_network_evaluations is not None and first.reference_cpu_seconds is not None
    evaluations = max(row.network_evaluations for row in seeds)
    seconds = max(row.cpu_seconds for row in seeds)
    yield f"mean mse at most {_MSE_SHARE} of the published", mean <= _MSE_SHARE * first.reference_mse
    yield "no seed above the published code's best", worst <= first.reference_mse_best
    yield "a fifth of the evaluations", evaluations <= _COST_SHARE * first.reference_network_evaluations
    yield "a fifth of the CPU seconds", seconds <= _COST_SHARE * first.reference_cpu_seconds


def _own(seeds: Sequence[CaseRow], nfe: int, mean: float, worst: float) -> Iterator[tuple[str, bool]]:
    first = seeds[0]
    assert first.reference_network_evaluations is not None
    evaluations = max(row.network_evaluations for row in seeds)
    if nfe in _OWN_TARGETS:
        yield f"mean mse at most {_OWN_TARGETS[nfe]}", mean <= _OWN_TARGETS[nfe]
        yield f"every seed at most {_OWN_TARGETS[nfe]}", worst <= _OWN_TARGETS[nfe]
    yield "no more evaluations than published", evaluations <= first.reference_network_evaluations


def _published(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], dict[str, float]]:
    found: dict[tuple[str, int], dict[str, float]] = {}
    for row in rows:
        found.setdefault((row["solver"], row["nfe"]), {})[row["grid"]] = row["mse"]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the page; the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__, prog="python -m benchmarks.images_reference_page")
    try:
        results = json.loads((options.run / "results.json").read_text())
        write_text(options.page, with_block(options.page.read_text(), block(results), BLOCK))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
