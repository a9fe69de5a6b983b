"""The docking table, and paired differences in words."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.common.comparison import Paired
from benchmarks.common.tables import Table, decimal, difference, percent, percent_range
from benchmarks.docking.methods import DIFFDOCK, SCALED
from benchmarks.docking.summary import MethodRow

CAPTION = (
    "no ranking of poses; best: complexes with a pose within 2 Å among all of them; distinct: clusters of a complex's "
    "poses at 1 Å, mean; 95%: bootstrap over complexes, then poses; RMSD: medians in Å; valid: of the poses that were "
    "checked, see results.json; c: the score is multiplied by it; ms/pose: side by side on one batch"
)


def table(rows: Sequence[MethodRow]) -> Table:
    """One line a method and NFE; "-" where there is no such number."""
    per_complex = rows[0].n_poses // rows[0].n_complexes
    headings = (
        "method",
        "NFE",
        "c",
        "< 2 Å",
        "95%",
        f"best of {per_complex}",
        "95%",
        "distinct",
        "< 5 Å",
        "RMSD",
        "to teacher",
        "valid",
        "95%",
        "failed",
        "ms/pose",
    )
    return Table(headings, [_cells(row) for row in rows], ruled_by=(1,))


def _cells(row: MethodRow) -> tuple[str, ...]:
    return (
        f"{row.method} (= {row.same_as})" if row.same_as else row.method,
        str(row.nfe),
        f"{row.score_scale:g}",
        percent(row.success_2A),
        percent_range(row.success_2A_ci),
        percent(row.best_2A),
        percent_range(row.best_2A_ci),
        f"{row.distinct:.1f}",
        percent(row.success_5A),
        decimal(row.median_rmsd),
        decimal(row.rmsd_to_teacher),
        percent(row.valid),
        percent_range(row.valid_ci),
        str(row.failed),
        decimal(row.ms_per_pose, 0),
    )


def sentences(pairs: Sequence[Paired]) -> list[str]:
    """Paired differences in words: to the best hand-made grid, and what of the gain over DiffDock's samplers is the
    score scale and what is solver and grid.
    """
    scaled = {pair.first: pair for pair in pairs if pair.first in SCALED.values()}
    found = []
    for pair in pairs:
        if pair in scaled.values():
            continue
        what, text = (
            ("success at 2 Å", _points(pair))
            if pair.metric == "success_2A"
            else ("median RMSD to the teacher", f"{difference(pair.difference, pair.ci)} Å")
        )
        if pair.second in scaled:
            at_one = scaled[pair.second]
            gain = 100 * (pair.difference + at_one.difference)
            found.append(
                f"{pair.nfe} NFE, {pair.first} minus {at_one.second}, {what}: {gain:+.1f} points, of which "
                f"{_points(at_one)} are the score scale ({at_one.first} minus {at_one.second}) and {text} are solver "
                f"and grid at equal score scale ({pair.first} minus {pair.second})"
            )
        else:
            second = pair.second if pair.second in DIFFDOCK else f"best hand-made ({pair.second})"
            found.append(f"{pair.nfe} NFE, {pair.first} minus {second}, {what}: {text}")
    return found


def _points(pair: Paired) -> str:
    return f"{difference(pair.difference, pair.ci, 100.0, '.1f')} points"
