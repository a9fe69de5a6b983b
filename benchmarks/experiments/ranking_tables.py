"""The tables of the ranking study, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from benchmarks.common.tables import Table, difference
from benchmarks.experiments import study
from benchmarks.experiments.ranking_rows import KNOWN, UNSEEN, Row
from domains.bootstrap import Interval

if TYPE_CHECKING:
    from benchmarks.experiments.ranking import Options

TRIED: Final = 4
"""Poses of a complex on which refinements are compared."""


def ranking_block(options: Options, rows: Sequence[Row], chosen: str, sizes: Mapping[str, int]) -> str:
    """Origin and table, in Markdown."""
    about = (
        f"{study.made_by('ranking', options)}. {options.samples} poses a ligand; {sizes[KNOWN]} held-out ligands of "
        f"known targets and {sizes[UNSEEN]} complexes of unseen targets. Shares of ligands in %, with 95% intervals "
        "(bootstrap over ligands; over targets, then ligands, where unseen). Chosen on the held-out ligands: "
        f"**{chosen}**. Weights of combinations were fitted on {options.train} training complexes. Valid, and valid "
        f"and near: of the first poses of {options.checked} complexes of each split, by PoseBusters."
    )
    return f"{about}\n\n{_rows(rows, timed=False)}"


def vina_block(options: Options, rows: Sequence[Row], chosen: str) -> str:
    """Origin and table of Vina beside the chosen ranker on the same complexes, in Markdown."""
    about = (
        f"{study.made_by('ranking', options)}. AutoDock Vina {version('vina')} at exhaustiveness "
        f"{options.exhaustiveness}, in a box of 4 Å around the known pose, from the same conformers, and on the same "
        f"complexes {options.samples} poses of ours, refined, ranked by {chosen}. Shares of ligands in %, with 95% "
        f"intervals as above; valid by PoseBusters. CPU seconds a ligand on one thread, of all its poses, with "
        "refinement and ranking, and of Vina with its maps."
    )
    return f"{about}\n\n{_rows(rows, timed=True)}"


def _rows(rows: Sequence[Row], timed: bool) -> str:
    headings = [
        "split",
        "NFE",
        "poses",
        "ranked by",
        "n",
        "first < 2 Å",
        "minus random, points",
        "valid",
        "valid and < 2 Å",
        *(["CPU s"] if timed else []),
    ]
    cells = [
        [
            row.split,
            str(row.nfe or "-"),
            row.poses,
            row.ranker,
            str(row.complexes),
            _share(row.success),
            "" if row.minus_mean is None else difference(row.minus_mean.estimate, row.minus_mean[1:], 100, ".0f"),
            "" if row.valid is None else f"{100 * row.valid:.0f}",
            "" if row.valid_near is None else _share(row.valid_near),
            *(["" if row.cpu_seconds is None else f"{row.cpu_seconds:.1f}"] if timed else []),
        ]
        for row in rows
    ]
    return Table(headings, cells, text_columns=4).markdown()


def refinement_block(options: Options, tried: Sequence[Mapping[str, Any]]) -> str:
    """Origin and table, in Markdown."""
    count = tried[0]["complexes"] if tried else 0
    about = (
        f"{study.made_by('ranking', options)}. The first {TRIED} poses of {count} held-out ligands of known targets, "
        f"{options.nfe[0]} NFE, not ranked. 95% intervals: bootstrap over ligands, "
        "then poses; lengths are medians in Å."
    )
    headings = ("refinement", "< 2 Å", "valid", "RMSD", "moved by")
    cells = [
        (
            row["way"],
            _share(Interval(*row["success"])),
            _share(Interval(*row["valid"])),
            f"{row['median_rmsd']:.2f}",
            f"{row['median_moved']:.2f}",
        )
        for row in tried
    ]
    return f"{about}\n\n{Table(headings, cells).markdown()}"


def _share(interval: Interval) -> str:
    return f"{100 * interval.estimate:.0f} [{100 * interval.low:.0f}, {100 * interval.high:.0f}]"
