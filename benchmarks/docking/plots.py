"""The two pictures of docking: what success costs in network evaluations, and where each grid puts its steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.common.names import TEACHER_ROW
from benchmarks.common.plots import DPI, CurvePoint, Lane, draw_curves, grid_picture
from benchmarks.docking.report import Report
from benchmarks.docking.summary import Bounds, MethodRow, by_nfe

_REFERENCES = ("diffdock_sde", "diffdock_ode")  # one number of evaluations only
_FACTORS = {"tr": "translation σ (Å)", "rot": "rotation σ (rad)", "tor": "torsion σ (rad)"}


def plot_success(path: Path, report: Report) -> None:
    """Success at 2 Å (where bound poses are known) and RMSD to the teacher's pose, against NFE."""
    panels: list[Callable[[Axes], None]] = []
    if any(row.success_2A is not None for row in report.rows):
        panels.append(lambda axes: _success_panel(axes, report.rows))
    panels.append(lambda axes: _teacher_panel(axes, report.rows))
    figure = Figure(figsize=(5.2 * len(panels), 4.8), layout="constrained")
    figure.suptitle(report.title, fontsize=10)
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for draw, axes in zip(panels, all_axes, strict=True):
        draw(axes)
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False, handlelength=3.5)
    figure.savefig(path, dpi=DPI)


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
    curves = {
        method: [
            CurvePoint(row.nfe, scale * number, *_bounds(bounds(row), number, scale))
            for row in own
            if (number := value(row)) is not None
        ]
        for method, own in by_nfe(rows).items()
        if method != TEACHER_ROW and not own[0].same_as
    }
    draw_curves(axes, curves, _twins(rows), _REFERENCES)
    axes.set_xlabel("network evaluations a pose (NFE)")


def _bounds(bounds: Bounds, value: float, scale: float) -> tuple[float, float]:
    """The interval, at the value where it is unknown."""
    low, high = bounds or (None, None)
    return scale * (value if low is None else low), scale * (value if high is None else high)


def _twins(rows: Sequence[MethodRow]) -> dict[str, str]:
    """Method -> its name with that of the other one whose grid is the same."""
    return {row.same_as: f"{row.same_as} = {row.method}" for row in rows if row.same_as}


def plot_grids(path: Path, report: Report) -> None:
    """Per factor, the noise levels of all grids."""
    twins = _twins(report.rows)
    lanes = [
        Lane(nfe, name, twins.get(name, name), grid)
        for nfe, grids in sorted(report.grids.items())
        for name, grid in grids.items()
    ]
    grid_picture(path, report.title, lanes, report.clock, _FACTORS)
