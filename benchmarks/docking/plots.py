"""The two pictures of docking: what success costs in network evaluations, and where each grid puts its steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from benchmarks.common.comparison import TEACHER_ROW, Bounds
from benchmarks.common.plots import CurvePoint, draw_curves, grid_picture, labels_of_equals, save_panels
from benchmarks.docking.methods import DIFFDOCK
from benchmarks.docking.report import Report
from benchmarks.docking.summary import MethodRow

_FACTORS = {"tr": "translation σ (Å)", "rot": "rotation σ (rad)", "tor": "torsion σ (rad)"}


def plot_success(path: Path, report: Report) -> None:
    """Success at 2 Å (where bound poses are known) and RMSD to the teacher's pose, against NFE."""
    panels: list[Callable[[Axes], None]] = []
    if any(row.success_2A is not None for row in report.rows):
        panels.append(lambda axes: _success_panel(axes, report.rows))
    panels.append(lambda axes: _teacher_panel(axes, report.rows))
    save_panels(path, report.title, panels)


def plot_grids(path: Path, report: Report) -> None:
    """Per factor, the noise levels of all grids."""
    grid_picture(path, report.title, report.grids, _labels(report.rows), report.clock, _FACTORS)


def _success_panel(axes: Axes, rows: Sequence[MethodRow]) -> None:
    teacher = next(row for row in rows if row.method == TEACHER_ROW)
    if teacher.success_2A is not None:
        low, high = _bounds(teacher.success_2A_ci, teacher.success_2A, 100.0)
        axes.axhspan(low, high, color="0.92", zorder=0)
        axes.axhline(100 * teacher.success_2A, color="0.45", lw=1, zorder=1, label=f"teacher ({teacher.nfe} NFE)")
    _lines(axes, rows, lambda row: row.success_2A, lambda row: row.success_2A_ci, 100.0)
    axes.set_ylim(-2, 102)
    axes.set_ylabel("poses within 2 Å of the bound pose (%)")


def _teacher_panel(axes: Axes, rows: Sequence[MethodRow]) -> None:
    _lines(axes, rows, lambda row: row.rmsd_to_teacher, lambda row: row.rmsd_to_teacher_ci, 1.0)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("median RMSD to the teacher's pose (Å)")


def _lines(
    axes: Axes,
    rows: Sequence[MethodRow],
    value: Callable[[MethodRow], float | None],
    bounds: Callable[[MethodRow], Bounds],
    scale: float,
) -> None:
    """One line a method, the teacher and grids that equal another left out."""
    curves: dict[str, list[CurvePoint]] = {}
    for row in sorted(rows, key=lambda row: row.nfe):
        number = value(row)
        if row.method != TEACHER_ROW and row.same_as is None and number is not None:
            point = CurvePoint(row.nfe, scale * number, *_bounds(bounds(row), number, scale))
            curves.setdefault(row.method, []).append(point)
    draw_curves(axes, curves, _labels(rows), DIFFDOCK)
    axes.set_xlabel("network evaluations a pose (NFE)")


def _bounds(bounds: Bounds, value: float, scale: float) -> tuple[float, float]:
    """The interval, at the value where it is unknown."""
    low, high = bounds or (None, None)
    return scale * (value if low is None else low), scale * (value if high is None else high)


def _labels(rows: Sequence[MethodRow]) -> dict[str, str]:
    return labels_of_equals((row.method, row.same_as) for row in rows)
