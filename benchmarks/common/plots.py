"""The pictures of benchmarks: curves of methods against network evaluations, and where each grid puts its steps.

Methods differ by marker and line style, so that the pictures also work in grey.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from benchmarks.common.comparison import LEARNED, SHIPPED
from ld3.clock import Clock
from ld3.grids import Grid

DPI = 160

_SAME = 1e-6  # relative; levels of the network are computed by another formula than nodes


class Style(NamedTuple):
    """Colour, marker, line style."""

    color: str
    marker: str
    line: str | tuple[int, tuple[int, ...]]


_STYLES: Mapping[str, Style] = {
    LEARNED: Style("#000000", "o", "-"),
    SHIPPED: Style("#1f4e9e", "o", "-"),
    "uniform_t": Style("#c0504d", "s", "--"),
    "quadratic_t": Style("#7f9fbf", "^", "-."),
    "uniform_log_snr": Style("#8064a2", "v", (0, (5, 1, 1, 1, 1, 1))),
    "edm": Style("#4f8f4f", "D", ":"),
    "dmn": Style("#c98b2d", "<", (0, (4, 2))),
    "gits": Style("#2d8f9f", ">", (0, (1, 1))),
    "ays": Style("#a0527a", "h", (0, (6, 2, 1, 2))),
    "diffdock_sde": Style("#303030", "D", ""),
    "plain_sde": Style("#909090", "X", ""),
    "diffdock_ode": Style("#909090", "P", ""),
    "plain_sde_c": Style("#303030", "X", ""),
    "diffdock_ode_c": Style("#303030", "P", ""),
}
_MORE = (
    Style("#6b6b2a", "*", (0, (3, 1, 1, 1))),
    Style("#4a6fb0", "p", (0, (8, 2))),
    Style("#8a5a3c", "d", (0, (2, 2, 6, 2))),
)


def style_of(method: str) -> Style:
    """The look of a method: its own, or for one without any, one that its name decides."""
    return _STYLES.get(method) or _MORE[sum(method.encode()) % len(_MORE)]


class CurvePoint(NamedTuple):
    """A figure with its interval, at a number of evaluations."""

    nfe: int
    value: float
    low: float
    high: float


def draw_curves(
    axes: Axes,
    curves: Mapping[str, Sequence[CurvePoint]],
    labels: Mapping[str, str],
    apart: Collection[str] = (),
) -> None:
    """One line a method, its points moved sideways a little so that the intervals do not cover each other.

    Args:
        axes: to draw on.
        curves: method -> points.
        labels: method -> what the legend calls it, where that is not its name.
        apart: methods at numbers of evaluations of their own, which are moved for themselves.
    """
    numbers = sorted({point.nfe for own in curves.values() for point in own})
    dodge = 0.012 * (numbers[-1] - numbers[0] or 1) if numbers else 0.0
    for method, own in curves.items():
        style = style_of(method)
        peers = [other for other in curves if (other in apart) == (method in apart)]
        shift = dodge * (peers.index(method) - (len(peers) - 1) / 2)
        axes.errorbar(
            [point.nfe + shift for point in own],
            [point.value for point in own],
            # Never without its own estimate, which a percentile interval may be.
            yerr=[[max(0.0, p.value - p.low) for p in own], [max(0.0, p.high - p.value) for p in own]],
            color=style.color,
            marker=style.marker,
            linestyle=style.line,
            lw=2.2 if method in (LEARNED, SHIPPED) else 1.4,
            ms=7 if method in (LEARNED, SHIPPED) else 5.5,
            capsize=2.5,
            elinewidth=0.9,
            zorder=4 if method in (LEARNED, SHIPPED) else 3,
            label=labels.get(method, method),
        )
    axes.xaxis.set_major_locator(FixedLocator(numbers))
    axes.grid(axis="y", color="0.9", lw=0.6)


def save_panels(path: Path, title: str, panels: Sequence[Callable[[Axes], None]]) -> None:
    """Draw panels of curves side by side, under one legend, into a PNG file."""
    figure = Figure(figsize=(5.2 * len(panels), 4.8), layout="constrained")
    figure.suptitle(title, fontsize=10)
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for draw, axes in zip(panels, all_axes, strict=True):
        draw(axes)
    entries: dict[str, Artist] = {}
    for axes in all_axes:
        entries |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    handles, labels = list(entries.values()), list(entries)
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False, handlelength=3.5)
    figure.savefig(path, dpi=DPI)


def labels_of_equals(same_as: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """Method -> its name with that of the other whose grid is the same, from (method, the one that it equals) pairs."""
    return {twin: f"{twin} = {name}" for name, twin in same_as if twin}


def grid_picture(
    path: Path,
    title: str,
    grids: Mapping[int, Mapping[str, Grid]],
    labels: Mapping[str, str],
    clock: Clock,
    axis_labels: Mapping[str, str],
) -> None:
    """Per factor, the noise levels at the solver's nodes, and those that the network is given where they differ.

    Args:
        path: of the PNG file.
        title: what was run.
        grids: NFE -> method -> grid, from top to bottom.
        labels: method -> what it is called, where that is not its name.
        clock: that turns levels into noise.
        axis_labels: factor -> noise level and unit.
    """
    lanes = [(nfe, name, grid) for nfe, own in sorted(grids.items()) for name, grid in own.items()]
    figure = Figure(figsize=(4.5 + 2.7 * len(clock.schedules), 1.9 + 0.34 * len(lanes)), layout="constrained")
    figure.suptitle(f"Where each grid puts its steps: {title}", fontsize=10)
    columns = figure.subplots(1, len(clock.schedules), squeeze=False, sharey=True)[0]
    for axes, factor in zip(columns, clock.schedules, strict=True):
        for y, (_, name, grid) in enumerate(lanes):
            _draw(axes, -y, style_of(name), *(clock.sigma(x)[factor].tolist() for x in (grid.solver, grid.network)))
        for y in (y for y in range(1, len(lanes)) if lanes[y][0] != lanes[y - 1][0]):
            axes.axhline(0.5 - y, color="0.75", lw=0.8)
        axes.set_xscale("log")
        axes.invert_xaxis()
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if _decades(axes) < 3 else (1.0,)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(axis_labels.get(factor, f"{factor} σ"))
    names = [f"{labels.get(name, name)}, {nfe} NFE" for nfe, name, _ in lanes]
    columns[0].set_yticks([-y for y in range(len(lanes))], names, fontsize=8)
    columns[0].set_ylim(0.6 - len(lanes), 0.6)
    handles = [
        columns[0].plot([], [], "o", color="0.2", ms=6)[0],
        columns[0].plot([], [], "|", color="0.2", ms=11, mew=1.6)[0],
    ]
    legend = ["node of the solver", "noise level that the network is given (where it differs)"]
    figure.legend(handles, legend, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    figure.savefig(path, dpi=DPI)


def _draw(axes: Axes, y: float, style: Style, nodes: Sequence[float], network: Sequence[float]) -> None:
    axes.plot([nodes[0], nodes[-1]], [y, y], color="0.85", lw=1, zorder=1)
    axes.plot(nodes, [y] * len(nodes), style.marker, color=style.color, ms=6, zorder=2)
    if any(abs(a / b - 1) > _SAME for a, b in zip(network, nodes, strict=False)):
        axes.plot(network, [y - 0.28] * len(network), "|", color=style.color, ms=9, mew=1.6, zorder=3)


def _decades(axes: Axes) -> float:
    """That the axis spans."""
    low, high = sorted(axes.get_xlim())
    return math.log10(high / low)
