"""How often learned and hand-made grids put a pose within 2 Å: rows and table of the study of shipped grids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.tables import Table, difference, share
from domains.bootstrap import Interval, bootstrap_difference, bootstrap_interval
from domains.docking.samplers import HAND_MADE_GRID
from domains.docking.structures.complexes import Conformer

LEARNED: Final = "learned"
NONE: Final = "none"


@dataclass(frozen=True)
class Setting:
    """Which complexes are docked, and how they are read; as tables say it."""

    of: str
    pocket: str
    conformer: Conformer

    def __str__(self) -> str:
        return f"{self.of}, pocket {self.pocket}, conformers {self.conformer}"


@dataclass(frozen=True)
class Row:
    """One number of evaluations in one setting; shares of poses within 2 Å, with 95% intervals over clusters.

    Attributes:
        of, pocket, conformer: the setting.
        nfe: evaluations a pose.
        complexes, clusters, poses: how many were docked.
        success: name of a grid -> its share; `LEARNED` is missing where no learned grid is used.
        long: of the run at --long-nfe.
        best: name of the hand-made grid with the highest share on these very poses.
        minus_usual, minus_best: the learned grid's share minus that of the usual hand-made grid and of the best one,
            paired; None where no learned grid is used.
    """

    of: str
    pocket: str
    conformer: str
    nfe: int
    complexes: int
    clusters: int
    poses: int
    success: dict[str, Interval]
    long: Interval
    best: str
    minus_usual: Interval | None
    minus_best: Interval | None


def row_of(
    setting: Setting, nfe: int, complexes: int, near: Mapping[str, Sequence[NDArray[np.float64]]], long: Interval
) -> Row:
    """The row of a number of evaluations.

    Args:
        setting, nfe, complexes: what was docked.
        near: name of a grid -> which poses are within 2 Å, one array a cluster, the same poses for all.
        long: of the run to compare with.
    """
    rates = {name: bootstrap_interval(own, "mean", seed=0) for name, own in near.items()}
    best = max((name for name in rates if name != LEARNED), key=lambda name: rates[name].estimate)

    def gap(other: str) -> Interval | None:
        return bootstrap_difference(near[LEARNED], near[other], "mean", seed=0) if LEARNED in near else None

    usual = near[HAND_MADE_GRID]
    return Row(
        **asdict(setting),
        nfe=nfe,
        complexes=complexes,
        clusters=len(usual),
        poses=sum(map(len, usual)),
        success=rates,
        long=long,
        best=best,
        minus_usual=gap(HAND_MADE_GRID),
        minus_best=gap(best),
    )


def table(rows: Sequence[Row], long_nfe: int) -> Table:
    """One line a row."""
    usual = HAND_MADE_GRID
    headings = (
        "complexes",
        "pocket, conformers",
        "NFE",
        LEARNED,
        usual,
        "best by hand",
        f"{usual}, {long_nfe} NFE",
        f"{LEARNED} - {usual}",
        f"{LEARNED} - best by hand",
    )
    cells = []
    for row in rows:
        gaps = (row.minus_usual, row.minus_best)
        cells.append(
            (
                row.of,
                f"{row.pocket}, {row.conformer}",
                str(row.nfe),
                share(row.success[LEARNED], ".1f") if LEARNED in row.success else NONE,
                share(row.success[usual], ".1f"),
                f"{row.best} {share(row.success[row.best], '.1f')}",
                share(row.long, ".1f"),
                *("-" if gap is None else difference(gap.estimate, gap[1:], 100, ".1f") for gap in gaps),
            )
        )
    return Table(headings, cells, text_columns=2)
