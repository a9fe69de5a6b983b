"""Put the figures of runs into docs: ``python -m benchmarks.docking.pages out/demo out/known out/unseen``.

The split of each run says which table of docs/docking_results.md it becomes: `demo` (in-sample), `known-targets` or
`unseen-targets`; its success_vs_nfe.png goes to docs/. With runs of all three splits, the summary, which shows
them side by side, is written as well. Nobody types a figure.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import tyro

from benchmarks.common.comparison import LEARNED, SHIPPED, TEACHER_ROW, Paired
from benchmarks.common.results import read_results
from benchmarks.common.store import write_text
from benchmarks.common.tables import Table, bullets, made_by, percent, percent_range, with_block
from benchmarks.docking.first import FIRST_CAPTION, FirstRow, first_table
from benchmarks.docking.inputs import IN_SAMPLE, KNOWN_TARGETS, SPLIT_MEANS, UNSEEN_TARGETS
from benchmarks.docking.methods import DIFFDOCK
from benchmarks.docking.options import Options as RunOptions
from benchmarks.docking.report import SCHEMA
from benchmarks.docking.summary import MethodRow
from benchmarks.docking.table import CAPTION, sentences, table
from domains.docking.networks import shipped
from ld3.grids import HAND_MADE

BLOCKS: Final[Mapping[str, str]] = {
    IN_SAMPLE: "demo",
    KNOWN_TARGETS: "known-targets",
    UNSEEN_TARGETS: "unseen-targets",
}
"""Split -> name of its table in docs/docking.md."""

SUMMARY: Final = "summary"
PICTURE: Final = "success_vs_nfe.png"

_BEST: Final = "best hand-made"


@dataclass(frozen=True)
class Options:
    """Where the figures come from and go to."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """output folders of benchmarks.docking, one a split"""
    root: Path = Path(__file__).parents[2]
    """folder with docs/docking_results.md"""


def main(options: Options) -> None:
    """Write the tables and copy the pictures; nothing is changed if a run or a page is not as it must be.

    Raises:
        ValueError: naming the run or the page that is not of the form expected.
        OSError: if a file is missing or cannot be written.
    """
    runs: dict[str, tuple[Path, dict[str, Any]]] = {}
    for folder in options.runs:
        results = complete_results(folder)
        split = results["split"]
        if split not in BLOCKS or split in runs:
            raise ValueError(f"{folder}: its split is '{split}'; give at most one run each of {', '.join(BLOCKS)}")
        runs[split] = folder, results
    page = options.root / "docs" / "docking_results.md"
    text = page.read_text()
    for split, (_, results) in runs.items():
        text = with_block(text, BLOCKS[split], block(results, f"{BLOCKS[split]}_{PICTURE}"))
    if runs.keys() == BLOCKS.keys():
        text = with_block(text, SUMMARY, summary({split: runs[split][1] for split in BLOCKS}))
    for split, (folder, _) in runs.items():
        shutil.copyfile(folder / PICTURE, page.with_name(f"{BLOCKS[split]}_{PICTURE}"))
    write_text(page, text)


def complete_results(folder: Path) -> dict[str, Any]:
    """results.json of a run that has ended.

    Raises:
        ValueError: if there is none.
    """
    results = read_results(folder, SCHEMA)
    if results is None:
        raise ValueError(f"{folder} must hold results of benchmarks.docking, written by this version")
    if not results["complete"]:
        raise ValueError(f"{folder}: the run has not ended; give the same benchmarks.docking command again")
    return results


def block(results: Mapping[str, Any], picture: str) -> str:
    """What a run was, its table, paired differences and picture, as Markdown."""
    rows = [MethodRow(**row) for row in results["rows"]]
    pairs = sentences([Paired(**pair) for pair in results["paired"]])
    image = f"![Success at 2 Å by number of network evaluations]({picture})"
    caption = f"{CAPTION[0].upper()}{CAPTION[1:]}."
    first = [FirstRow(**row) for row in results.get("first", ())]
    more = [first_table(first).markdown(), f"{FIRST_CAPTION[0].upper()}{FIRST_CAPTION[1:]}."] if first else []
    return "\n\n".join([_origin(results, rows[0]), table(rows).markdown(), caption, *more, bullets(pairs), image])


def _origin(results: Mapping[str, Any], row: MethodRow) -> str:
    config = {**results["config"], "weights": _by_name(results["config"]["weights"])}
    command = made_by("benchmarks.docking", RunOptions, config, ("out", "device"))
    split = f"{results['split']}: {SPLIT_MEANS[results['split']]}"
    size = f"{row.n_complexes} complexes, {row.n_poses} poses a line, {row.n_checked} of them checked by PoseBusters"
    return f"{split[0].upper()}{split[1:]}. {size}; score scale {results['score_scale']:g}. {command}"


def _by_name(weights: str) -> str:
    """What shipped weights are called, whose file was given; other weights as they were given."""
    names = {path.parts[-3:]: name for name, path in shipped.SHIPPED.items()}
    return names.get(Path(weights).parts[-3:], weights)


def summary(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """All splits side by side: teacher, DiffDock's samplers, learned grids and the best hand-made one, as Markdown.

    Args:
        runs: split -> results of its run.
    """
    rows = {split: {(r["method"], r["nfe"]): MethodRow(**r) for r in run["rows"]} for split, run in runs.items()}
    shared = set.intersection(*({nfe for name, nfe in own if name in HAND_MADE} for own in rows.values()))
    names = [TEACHER_ROW, *DIFFDOCK]
    keys = [key for key in next(iter(rows.values())) if key[0] in names]
    for nfe in sorted(shared):
        keys += [(name, nfe) for name in (SHIPPED, LEARNED, _BEST)]
    lines = []
    for name, nfe in keys:
        cells = [_cells(_find(own, name, nfe)) for own in rows.values()]
        if any(cells):
            lines.append((name, str(nfe), *(cell for own in cells for cell in own or ("-", "-", "-"))))
    headings = ["method", "NFE"]
    origins = []
    for split, run in runs.items():
        first = next(iter(rows[split].values()))
        headings += [f"{split}: < 2 Å (95%)", f"best of {first.n_poses // first.n_complexes}", "distinct"]
        origins.append(_origin(run, first))
    explained = (
        "Each column of rates is the mean over poses, without ranking, with a 95% interval over complexes and poses; "
        "beside it the share of complexes with a pose within 2 Å among all of theirs, and how many of these poses are "
        f"distinct (clusters at 1 Å). `{SHIPPED}` are the grids that come with the weights, `_c` DiffDock's samplers "
        "at the same score scale; the best hand-made grid is the best on these very poses."
    )
    return "\n\n".join([Table(headings, lines).markdown(), explained, bullets(origins)])


def _find(rows: Mapping[tuple[str, int], MethodRow], name: str, nfe: int) -> MethodRow | None:
    if name != _BEST:
        return rows.get((name, nfe))
    able = [row for row in rows.values() if row.nfe == nfe and row.method in HAND_MADE and row.success_2A is not None]
    return max(able, key=lambda row: row.success_2A or 0.0, default=None)


def _cells(row: MethodRow | None) -> Sequence[str] | None:
    if row is None:
        return None
    name = f", {row.method}" if row.method in HAND_MADE else ""
    rate = f"{percent(row.success_2A)} ({percent_range(row.success_2A_ci)}){name}"
    return rate, percent(row.best_2A), f"{row.distinct:.1f}"


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, description=__doc__))
    except (OSError, ValueError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        raise SystemExit(2) from problem
