"""Put the figures of a run into the README: ``python -m benchmarks.common.readme out/demo``.

The table between the README's markers is written from the run's results.json, and success_vs_nfe.png is copied to
docs/, so that nobody types a figure. ``--block held-out`` does the same for the complexes that training held out.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from benchmarks.common.report import angstrom, percent, percent_range, sentence
from benchmarks.common.tables import command_line, put_block
from benchmarks.docking.options import Options as RunOptions
from benchmarks.docking.summary import Paired

Block = Literal["demo", "held-out"]
PICTURE = "success_vs_nfe.png"

_SPLITS = {
    "in-sample": "**In-sample**: the network was trained on these complexes.",
    "user": "Complexes from files.",
}
_HEADINGS = (
    "method",
    "NFE",
    "within 2 Å",
    "95%",
    "within 5 Å",
    "median RMSD, Å",
    "to teacher, Å",
    "valid",
    "ms per pose",
)


@dataclass(frozen=True)
class Options:
    """Where the figures come from and go to."""

    run: Annotated[Path, tyro.conf.Positional]
    """output folder of benchmarks.docking"""
    block: Block = "demo"
    """which of the README's tables"""
    root: Path = Path(__file__).parents[2]
    """folder with README.md and docs/"""


def block(results: Mapping[str, Any], picture: str) -> str:
    """The picture, the command that made it, and the table, as Markdown.

    Raises:
        ValueError: if `results` lacks something that the block needs.
    """
    try:
        if not results["complete"]:
            raise ValueError("results are of a run that has not ended; give the same benchmarks.docking command again")
        rows = [row for row in results["rows"] if not row["same_as"]]
        twins = {(row["same_as"], row["nfe"]): row["method"] for row in results["rows"] if row["same_as"]}
        lines = [_HEADINGS, ("---", *["---:"] * (len(_HEADINGS) - 1)), *(_cells(row, twins) for row in rows)]
        table = [f"| {' | '.join(cells)} |" for cells in lines]
        paired = [f"- {sentence(Paired(**pair))}" for pair in results["paired"]]
        poses = f"{rows[0]['n_complexes']} complexes, {rows[0]['n_poses']} poses a line"
        size = f"{poses}, score scale {results['score_scale']:g}"
        command = command_line("benchmarks.docking", RunOptions, results["config"], ("out", "device"))
        origin = f"{_SPLITS[results['split']]} {size}. Made by `{command}`."
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"results must be what benchmarks.docking writes; {type(error).__name__}: {error}") from error
    image = f"![Success at 2 Å by number of network evaluations]({picture})"
    return "\n\n".join(filter(None, (image, origin, "\n".join(table), "\n".join(paired))))


def _cells(row: Mapping[str, Any], twins: Mapping[tuple[str, int], str]) -> Sequence[str]:
    twin = twins.get((row["method"], row["nfe"]))
    return (
        f"{row['method']}, {twin}" if twin else row["method"],
        str(row["nfe"]),
        percent(row["success_2A"]),
        percent_range(row["success_2A_ci"]),
        percent(row["success_5A"]),
        angstrom(row["median_rmsd"]),
        angstrom(row["rmsd_to_teacher"]),
        percent(row["valid"]),
        f"{row['ms_per_pose']:.0f}",
    )


def main(options: Options) -> None:
    """Write the block and copy the picture.

    Raises:
        ValueError: if the run's results or the page are not of the form expected.
        OSError: if a file is missing or cannot be written.
    """
    results = json.loads((options.run / "results.json").read_text())
    name = PICTURE if options.block == "demo" else f"{options.block.replace('-', '_')}_{PICTURE}"
    readme, picture = options.root / "README.md", Path("docs") / name
    content = block(results, str(picture))
    put_block(readme, options.block, content)
    shutil.copyfile(options.run / PICTURE, options.root / picture)


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, description=__doc__))
    except (OSError, ValueError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        raise SystemExit(2) from problem
