"""The picture of grids: where each of them puts its steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.common.curves import DPI, style_of
from ld3.clock import Clock
from ld3.grids.grid import Grid

_SAME = 1e-6  # relative; levels that are told are computed by another formula than nodes


class Lane(NamedTuple):
    """One grid of the picture: its budget, its method, and what that is called here."""

    nfe: int
    method: str
    label: str
    grid: Grid


def plot_grids(path: Path, title: str, lanes: Sequence[Lane], clock: Clock, axis_labels: Mapping[str, str]) -> None:
    """Per factor, the noise levels at the solver's nodes, and those that the network is told where they differ.

    Args:
        path: of the PNG file.
        title: what was run.
        lanes: from top to bottom; a line is drawn where the budget changes.
        clock: that turns levels into noise.
        axis_labels: factor -> noise level and unit.
    """
    figure = Figure(figsize=(4.5 + 2.7 * len(clock.schedules), 1.9 + 0.34 * len(lanes)), layout="constrained")
    figure.suptitle(f"Where each grid puts its steps: {title}", fontsize=10)
    columns = figure.subplots(1, len(clock.schedules), squeeze=False, sharey=True)[0]
    for axes, factor in zip(columns, clock.schedules, strict=True):
        for y, lane in enumerate(lanes):
            _draw(axes, -y, clock, factor, lane)
        for y in (y for y in range(1, len(lanes)) if lanes[y].nfe != lanes[y - 1].nfe):
            axes.axhline(0.5 - y, color="0.75", lw=0.8)
        axes.set_xscale("log")
        axes.invert_xaxis()
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if _decades(axes) < 3 else (1.0,)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(axis_labels.get(factor, f"{factor} σ"))
    columns[0].set_yticks([-y for y in range(len(lanes))], [f"{x.label}, {x.nfe} NFE" for x in lanes], fontsize=8)
    columns[0].set_ylim(0.6 - len(lanes), 0.6)
    handles = [
        columns[0].plot([], [], "o", color="0.2", ms=6)[0],
        columns[0].plot([], [], "|", color="0.2", ms=11, mew=1.6)[0],
    ]
    legend = ["node of the solver", "noise level that the network is told (where it differs)"]
    figure.legend(handles, legend, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    figure.savefig(path, dpi=DPI)


def _draw(axes: Axes, y: float, clock: Clock, factor: str, lane: Lane) -> None:
    style = style_of(lane.method)
    nodes = clock.sigma(lane.grid.solver)[factor].tolist()
    told = clock.sigma(lane.grid.network)[factor].tolist()
    axes.plot([nodes[0], nodes[-1]], [y, y], color="0.85", lw=1, zorder=1)
    axes.plot(nodes, [y] * len(nodes), style.marker, color=style.color, ms=6, zorder=2)
    if any(abs(a / b - 1) > _SAME for a, b in zip(told, nodes, strict=False)):
        axes.plot(told, [y - 0.28] * len(told), "|", color=style.color, ms=9, mew=1.6, zorder=3)


def _decades(axes: Axes) -> float:
    """That the axis spans."""
    low, high = sorted(axes.get_xlim())
    return math.log10(high / low)
