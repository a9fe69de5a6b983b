"""Rows of methods for the eye: the table, and the paired difference in words."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from benchmarks.summary import Bounds, MethodRow, Paired

_COLUMNS = ("NFE", "< 2 Å", "95%", "< 5 Å", "95%", "RMSD", "to teacher", "valid", "failed", "ms/pose")


def table(rows: Sequence[MethodRow], title: str) -> Table:
    """One line a method and NFE; "-" where there is no such number."""
    caption = "no ranking of poses; 95%: bootstrap over complexes and poses; RMSD: medians in Å"
    found = Table(title=title, caption=caption)
    found.add_column("method", no_wrap=True)
    for heading in _COLUMNS:
        found.add_column(heading, justify="right", no_wrap=True)
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        cells = (
            f"{row.method} (= {row.same_as})" if row.same_as else row.method,
            str(row.nfe),
            _percent(row.success_2A),
            _range(row.success_2A_ci),
            _percent(row.success_5A),
            _range(row.success_5A_ci),
            _angstrom(row.median_rmsd),
            _angstrom(row.rmsd_to_teacher),
            _percent(row.valid),
            str(row.failed),
            f"{row.ms_per_pose:.0f}",
        )
        found.add_row(*cells, end_section=following is not None and following.nfe != row.nfe)
    return found


def sentence(pair: Paired) -> str:
    """The paired difference in words."""
    if pair.metric == "success_2A":
        what, unit, scale, digits = "success at 2 Å", "points", 100.0, 1
    else:
        what, unit, scale, digits = "median RMSD to the teacher", "Å", 1.0, 2
    low, high = ("-" if bound is None else f"{scale * bound:+.{digits}f}" for bound in pair.ci or (None, None))
    difference = f"{scale * pair.difference:+.{digits}f} {unit} [{low}, {high}]"
    return f"{pair.nfe} NFE, learned minus best hand-made ({pair.best_hand}), {what}: {difference}"


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.0%}"


def _range(bounds: Bounds) -> str:
    low, high = bounds or (None, None)
    return "-" if low is None or high is None else f"{100 * low:.0f}-{100 * high:.0f}"


def _angstrom(length: float | None) -> str:
    return "-" if length is None else f"{length:.2f}"
