"""Rows of methods for the eye: the table, and the paired difference in words."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from benchmarks.docking.summary import MethodRow, Paired

_COLUMNS = ("NFE", "< 2 Å", "95%", "< 5 Å", "95%", "RMSD", "to teacher", "valid", "failed", "ms/pose")


def table(rows: Sequence[MethodRow], title: str) -> Table:
    """One line a method and NFE; "-" where there is no such number."""
    caption = (
        "no ranking of poses; 95%: bootstrap over complexes, then poses; RMSD: medians in Å; "
        "valid: of the poses that were checked; DiffDock's samplers run at score scale 1, as published"
    )
    found = Table(title=title, caption=caption)
    found.add_column("method", no_wrap=True)
    for heading in _COLUMNS:
        found.add_column(heading, justify="right", no_wrap=True)
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        cells = (
            f"{row.method} (= {row.same_as})" if row.same_as else row.method,
            str(row.nfe),
            percent(row.success_2A),
            percent_range(row.success_2A_ci),
            percent(row.success_5A),
            percent_range(row.success_5A_ci),
            angstrom(row.median_rmsd),
            angstrom(row.rmsd_to_teacher),
            percent(row.valid),
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


def percent(rate: float | None) -> str:
    """A fraction as a percentage."""
    return "-" if rate is None else f"{rate:.0%}"


def percent_range(bounds: Sequence[float | None] | None) -> str:
    """An interval of fractions, in percent."""
    low, high = bounds or (None, None)
    return "-" if low is None or high is None else f"{100 * low:.0f}-{100 * high:.0f}"


def angstrom(length: float | None) -> str:
    """A length without its unit."""
    return "-" if length is None else f"{length:.2f}"
