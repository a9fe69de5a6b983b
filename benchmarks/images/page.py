"""The digits as a page: ``python -m benchmarks.images.page OUT`` after ``python -m benchmarks.images --out OUT``.

Puts the table of OUT/results.json between the markers of docs/digits.md, and copies the pictures beside it, so that
nobody types a figure.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import tyro

from benchmarks.common.comparison import Paired
from benchmarks.common.results import read_results
from benchmarks.common.store import write_text
from benchmarks.common.tables import bullets, made_by, with_block
from benchmarks.images.options import Options as RunOptions
from benchmarks.images.report import SCHEMA
from benchmarks.images.summary import ImageRow, search, sentence, table
from ld3.learn import FinalTest

BLOCK: Final = "digits"
PICTURES: Final = ("samples.png", "distance_vs_nfe.png", "grids.png")


@dataclass(frozen=True)
class Options:
    """Where the figures come from and go to."""

    run: Annotated[Path, tyro.conf.Positional]
    """--out of benchmarks.images"""
    page: Path = Path(__file__).parents[2] / "docs" / "digits.md"
    """Markdown file with the markers; pictures go beside it"""


def main(options: Options) -> None:
    """Write the block and copy the pictures.

    Raises:
        ValueError: if the run's results or the page are not of the form expected.
        OSError: if a file is missing or cannot be written.
    """
    results = read_results(options.run, SCHEMA)
    if results is None or not results["complete"]:
        raise ValueError(f"{options.run} must hold a run of benchmarks.images that has ended; give its command again")
    prefix = f"{options.page.stem}_"
    page = with_block(options.page.read_text(), BLOCK, block(results, prefix))
    for name in PICTURES:
        shutil.copyfile(options.run / name, options.page.with_name(prefix + name))
    write_text(options.page, page)


def block(results: Mapping[str, Any], prefix: str) -> str:
    """The command that made the figures, the table, the fits and the pictures, as Markdown."""
    rows = [ImageRow(**row) for row in results["rows"]]
    said = [sentence(Paired(**pair), results["distance"]) for pair in results["paired"]]
    said += [_fit(fit) for fit in results["fit"]]
    said += [search(name, cost) for name, cost in results["baselines"].items() if cost]
    size = f"{rows[0].n_images} images a line, threads: {results['machine']['threads']}."
    origin = made_by("benchmarks.images", RunOptions, results["config"], ("out", "device"))
    pictures = [f"![{name}]({prefix}{name})" for name in PICTURES]
    return "\n\n".join([f"{origin} {size}", table(rows).markdown(), bullets(said), *pictures])


def _fit(fit: Mapping[str, Any]) -> str:
    if not fit["fitted_here"]:
        return f"{fit['nfe']} NFE: the learned grid is one that an earlier run had saved"
    return (
        f"{fit['nfe']} NFE: the fit took {fit['network_evaluations']} evaluations ({fit['gradient_evaluations']} of "
        f"them differentiated) and {fit['seconds']:.0f} s; "
        + ("final test: none was made" if fit["test"] is None else FinalTest.from_dict(fit["test"]).describe())
    )


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, description=__doc__))
    except (OSError, ValueError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        raise SystemExit(2) from problem
