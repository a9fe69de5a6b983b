"""The digits as a page: ``python -m benchmarks.images.page OUT`` after ``python -m benchmarks.images --out OUT``.

Puts the table of OUT/results.json between the markers of docs/digits.md, and copies the pictures beside it, so that
nobody types a figure.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import tyro

from benchmarks.common.tables import command_line, put_block
from benchmarks.images.options import Options as RunOptions
from benchmarks.images.rows import ImageRow, Paired
from benchmarks.images.table import HEADINGS, cells, search, sentence

BLOCK: Final = "digits"
PICTURES: Final = ("samples.png", "distance_vs_nfe.png", "grids.png")


@dataclass(frozen=True)
class Options:
    """Where the figures come from and go to."""

    run: Annotated[Path, tyro.conf.Positional]
    """--out of benchmarks.images"""
    page: Path = Path(__file__).parents[2] / "docs" / "digits.md"
    """Markdown file with the markers; pictures go beside it"""


def block(results: Mapping[str, Any], prefix: str) -> str:
    """The command that made the figures, the table, the fits and the pictures, as Markdown.

    Raises:
        ValueError: if `results` is not what the run writes, or the run has not ended.
    """
    try:
        if not results["complete"]:
            raise ValueError("results are of a run that has not ended; give the same benchmarks.images command again")
        rows = [ImageRow(**row) for row in results["rows"]]
        paired = [sentence(Paired(**pair), results["distance"]) for pair in results["paired"]]
        fits = [_fit(fit) for fit in results["fit"]]
        searches = [search(name, cost) for name, cost in results["baselines"].items() if cost]
        machine = results["machine"]
        command = command_line("benchmarks.images", RunOptions, results["config"], ("out", "device"))
    except (KeyError, TypeError) as error:
        raise ValueError(f"results must be what benchmarks.images writes; {type(error).__name__}: {error}") from error
    origin = f"Made by `{command}`; {rows[0].n_images} images a line, threads: {machine['threads']}."
    lines = [("method", *HEADINGS), ("---", *["---:"] * len(HEADINGS)), *map(cells, rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    said = "\n".join(f"- {line}" for line in (*paired, *fits, *searches))
    pictures = [f"![{name}]({prefix}{name})" for name in PICTURES]
    return "\n\n".join([origin, table, said, *pictures])


def _fit(fit: Mapping[str, Any]) -> str:
    if not fit["fitted_here"]:
        return f"{fit['nfe']} NFE: the learned grid is one that an earlier run had saved"
    return (
        f"{fit['nfe']} NFE: the fit took {fit['network_evaluations']} evaluations ({fit['gradient_evaluations']} of "
        f"them differentiated) and {fit['seconds']:.0f} s, on {fit['n_train']} pairs and {fit['n_valid']} to choose by"
    )


def main(options: Options) -> None:
    """Write the block and copy the pictures.

    Raises:
        ValueError: if the run's results or the page are not of the form expected.
        OSError: if a file is missing or cannot be written.
    """
    results = json.loads((options.run / "results.json").read_text())
    prefix = f"{options.page.stem}_"
    put_block(options.page, BLOCK, block(results, prefix))
    for name in PICTURES:
        shutil.copyfile(options.run / name, options.page.with_name(prefix + name))


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, description=__doc__))
    except (OSError, ValueError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        raise SystemExit(2) from problem
