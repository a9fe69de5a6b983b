"""The tables of the ranking study, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

from benchmarks.common.tables import Table, difference, share
from benchmarks.experiments import study
from benchmarks.experiments.ranking_options import Options
from benchmarks.experiments.ranking_refinement import TRIED
from benchmarks.experiments.ranking_rows import KNOWN, UNSEEN, Row

_CHOSEN_ON: Final = {"known": "the held-out ligands", "unseen": "the unseen targets"}


def ranking_block(
    options: Options, rows: Sequence[Row], chosen: str, sizes: Mapping[str, int], grids: Sequence[str]
) -> str:
    """Origin and table, in Markdown."""
    over = "clusters" if options.clusters else "ligands; over targets, then ligands, where unseen"
    how = {
        "training": f"were fitted on {options.train} training complexes",
        "known": "were fitted on those of other clusters of the held-out ligands",
        "unseen": "were fitted on those of other clusters of the unseen targets",
    }
    about = (
        f"{_origin(options)} {sizes[KNOWN]} held-out ligands of known targets and {sizes[UNSEEN]} complexes of unseen "
        f"targets, {', '.join(grids)}; fewer poses are the first ones of the most. Shares of ligands in %, with 95% "
        f"intervals (bootstrap over {over}). Chosen on {_CHOSEN_ON[options.chosen_on]}: **{chosen}**. Weights of "
        f"combinations {how[options.fitted_on]}, {options.samples[0]} poses each. Valid, and valid and near: of the "
        f"first poses of {options.checked} complexes of each split, or all where there are fewer, by PoseBusters. "
        "CPU seconds a ligand on one thread, with refinement and all rankers; of fewer poses in proportion."
    )
    return f"{about}\n\n{_rows(rows)}"


def vina_block(options: Options, rows: Sequence[Row], chosen: str, stopped: Sequence[str] = ()) -> str:
    """Origin and table of Vina beside the chosen ranker on the same complexes, in Markdown."""
    around_point = options.pocket.startswith("point")
    box = "a cube around the pocket's sphere" if around_point else "a box of 4 Å around the known pose"
    about = (
        f"{_origin(options)} AutoDock Vina {version('vina')} at exhaustiveness {options.exhaustiveness}, in "
        f"{box}, from the same conformers, and on the same complexes poses of ours, refined, ranked by {chosen}. "
        "Shares of ligands in %, with 95% intervals as above; valid by PoseBusters. CPU seconds a ligand on one "
        "thread, of all its poses, with refinement and ranking, and of Vina with its maps."
    )
    if stopped:
        about += f" Not docked by Vina in {options.vina_minutes:g} CPU minutes: {', '.join(stopped)}."
    return f"{about}\n\n{_rows(rows)}"


def _origin(options: Options) -> str:
    return (
        f"{study.made_by('ranking', options)}. Weights {options.weights.stem}, pocket {options.pocket}, conformers "
        f"{options.conformer}, {options.refinement_steps} steps of refinement, restraint {options.restraint:g}."
    )


def _rows(rows: Sequence[Row]) -> str:
    headings = [
        "split",
        "NFE",
        "of",
        "poses",
        "ranked by",
        "n",
        "first < 2 Å",
        "minus random, points",
        "valid",
        "valid and < 2 Å",
        "CPU s",
    ]
    cells = [
        [
            row.split,
            str(row.nfe or "-"),
            str(row.samples),
            row.poses,
            row.ranker,
            str(row.complexes),
            share(row.success),
            "" if row.minus_mean is None else difference(row.minus_mean.estimate, row.minus_mean[1:], 100, ".0f"),
            "" if row.valid is None else f"{100 * row.valid:.0f}",
            "" if row.valid_near is None else share(row.valid_near),
            "" if row.cpu_seconds is None else f"{row.cpu_seconds:.1f}",
        ]
        for row in rows
    ]
    return Table(headings, cells, text_columns=5).markdown()


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
            share(row["success"]),
            share(row["valid"]),
            f"{row['median_rmsd']:.2f}",
            f"{row['median_moved']:.2f}",
        )
        for row in tried
    ]
    return f"{about}\n\n{Table(headings, cells).markdown()}"
