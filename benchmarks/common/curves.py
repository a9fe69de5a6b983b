"""Curves of methods against network evaluations, with intervals.

Methods differ by marker and line style, so that the pictures also work in grey.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator

from benchmarks.common.names import LEARNED

DPI = 160


class Style(NamedTuple):
    """Colour, marker, line style."""

    color: str
    marker: str
    line: str | tuple[int, tuple[int, ...]]


_STYLES: Mapping[str, Style] = {
    LEARNED: Style("#000000", "o", "-"),
    "uniform_t": Style("#c0504d", "s", "--"),
    "quadratic_t": Style("#7f9fbf", "^", "-."),
    "uniform_log_snr": Style("#8064a2", "v", (0, (5, 1, 1, 1, 1, 1))),
    "edm": Style("#4f8f4f", "D", ":"),
    "dmn": Style("#c98b2d", "<", (0, (4, 2))),
    "gits": Style("#2d8f9f", ">", (0, (1, 1))),
    "ays": Style("#a0527a", "h", (0, (6, 2, 1, 2))),
    "diffdock_sde": Style("#505050", "X", ""),
    "diffdock_ode": Style("#909090", "P", ""),
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
            lw=2.2 if method == LEARNED else 1.4,
            ms=7 if method == LEARNED else 5.5,
            capsize=2.5,
            elinewidth=0.9,
            zorder=4 if method == LEARNED else 3,
            label=labels.get(method, method),
        )
    axes.xaxis.set_major_locator(FixedLocator(numbers))
    axes.grid(axis="y", color="0.9", lw=0.6)
