"""The two pictures: what success costs in network evaluations, and where each grid puts its steps.

Methods differ by marker and line style, so that the pictures also work in grey.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from benchmarks.docking_report import Report
from benchmarks.summary import LEARNED, Bounds, MethodRow, by_nfe
from ld3.clock import Clock
from ld3.grid import Grid


class _Style(NamedTuple):
    """Colour, marker, line style."""

    color: str
    marker: str
    line: str


_STYLES: Mapping[str, _Style] = {
    LEARNED: _Style("#000000", "o", "-"),
    "uniform_t": _Style("#c0504d", "s", "--"),
    "quadratic_t": _Style("#7f9fbf", "^", "-."),
    "uniform_log_snr": _Style("#8064a2", "v", (0, (5, 1, 1, 1, 1, 1))),  # type: ignore[arg-type]
    "edm": _Style("#4f8f4f", "D", ":"),
    "diffdock_sde": _Style("#505050", "X", ""),
    "diffdock_ode": _Style("#909090", "P", ""),
}
_REFERENCES = ("diffdock_sde", "diffdock_ode")  # one number of evaluations only
_FACTORS = {"tr": "translation σ (Å)", "rot": "rotation σ (rad)", "tor": "torsion σ (rad)"}
_SAME = 1e-6  # relative; levels that are told are computed by another formula than nodes
_DPI = 160


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
    figure.savefig(path, dpi=_DPI)


def _success_panel(axes: Axes, rows: Sequence[MethodRow]) -> None:
    teacher = next(row for row in rows if row.method == "teacher")
    if teacher.success_2A is not None:
        low, high = _scaled(teacher.success_2A_ci, teacher.success_2A)
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
    """One line a method, its points moved sideways a little so that the intervals do not cover each other."""
    twins = {row.same_as: row.method for row in rows if row.same_as}
    methods = {m: own for m, own in by_nfe(rows).items() if m != "teacher" and not own[0].same_as}
    numbers = sorted({row.nfe for own in methods.values() for row in own})
    dodge = 0.012 * (numbers[-1] - numbers[0] or 1)
    for method, own in methods.items():
        points = [(row, number) for row in own if (number := value(row)) is not None]
        style = _STYLES[method]
        peers = [other for other in methods if (other in _REFERENCES) == (method in _REFERENCES)]
        shift = dodge * (peers.index(method) - (len(peers) - 1) / 2)
        low, high = (
            zip(*(_scaled(bounds(row), number, scale) for row, number in points), strict=True) if points else ((), ())
        )
        y = [scale * number for _, number in points]
        axes.errorbar(
            [row.nfe + shift for row, _ in points],
            y,
            yerr=[[a - b for a, b in zip(y, low, strict=True)], [b - a for a, b in zip(y, high, strict=True)]],
            color=style.color,
            marker=style.marker,
            linestyle=style.line,
            lw=2.2 if method == LEARNED else 1.4,
            ms=7 if method == LEARNED else 5.5,
            capsize=2.5,
            elinewidth=0.9,
            zorder=4 if method == LEARNED else 3,
            label=f"{method} = {twins[method]}" if method in twins else method,
        )
    axes.xaxis.set_major_locator(FixedLocator(numbers))
    axes.set_xlabel("network evaluations a pose (NFE)")
    axes.grid(axis="y", color="0.9", lw=0.6)


def _scaled(bounds: Bounds, value: float, scale: float = 100.0) -> tuple[float, float]:
    """The interval, never without its own estimate (a percentile interval may be), and at the value where unknown."""
    low, high = bounds or (None, None)
    return scale * min(value, value if low is None else low), scale * max(value, value if high is None else high)


def plot_grids(path: Path, report: Report) -> None:
    """Per factor, the noise levels at the solver's nodes, and those that the network is told where they differ."""
    lanes = [(nfe, name, grid) for nfe, grids in sorted(report.grids.items()) for name, grid in grids.items()]
    twins = {row.same_as: row.method for row in report.rows if row.same_as}
    figure = Figure(figsize=(12.5, 1.9 + 0.34 * len(lanes)), layout="constrained")
    figure.suptitle(f"Where each grid puts its steps: {report.title}", fontsize=10)
    columns = figure.subplots(1, len(report.clock.schedules), squeeze=False, sharey=True)[0]
    for axes, factor in zip(columns, report.clock.schedules, strict=True):
        for y, (_, name, grid) in enumerate(lanes):
            _lane(axes, -y, report.clock, factor, grid, _STYLES[name])
        for y in (y for y in range(1, len(lanes)) if lanes[y][0] != lanes[y - 1][0]):
            axes.axhline(0.5 - y, color="0.75", lw=0.8)
        axes.set_xscale("log")
        axes.invert_xaxis()
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(_FACTORS.get(factor, f"{factor} σ"))
    labels = [f"{name} = {twins[name]}" if name in twins else name for _, name, _ in lanes]
    ticks = [f"{label}, {nfe} NFE" for label, (nfe, _, _) in zip(labels, lanes, strict=True)]
    columns[0].set_yticks([-y for y in range(len(lanes))], ticks, fontsize=8)
    columns[0].set_ylim(0.6 - len(lanes), 0.6)
    handles = [
        columns[0].plot([], [], "o", color="0.2", ms=6)[0],
        columns[0].plot([], [], "|", color="0.2", ms=11, mew=1.6)[0],
    ]
    legend = ["node of the solver", "noise level that the network is told (where it differs)"]
    figure.legend(handles, legend, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    figure.savefig(path, dpi=_DPI)


def _lane(axes: Axes, y: float, clock: Clock, factor: str, grid: Grid, style: _Style) -> None:
    nodes = clock.sigma(grid.solver)[factor].tolist()
    told = clock.sigma(grid.network)[factor].tolist()
    axes.plot([nodes[0], nodes[-1]], [y, y], color="0.85", lw=1, zorder=1)
    axes.plot(nodes, [y] * len(nodes), style.marker, color=style.color, ms=6, zorder=2)
    if any(abs(a / b - 1) > _SAME for a, b in zip(told, nodes, strict=False)):
        axes.plot(told, [y - 0.28] * len(told), "|", color=style.color, ms=9, mew=1.6, zorder=3)
