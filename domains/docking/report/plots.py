"""Plots of a report as inline SVG: one dot a pose, which a click chooses."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

WIDTH: Final = 360.0
HEIGHT: Final = 220.0
_LEFT: Final = 46.0
_BOTTOM: Final = 38.0
_MARGIN: Final = 12.0


class Dot(NamedTuple):
    """A pose in a plot: its place in the list, coordinates, and a class for its colour."""

    pose: int
    x: float
    y: float
    look: str
    label: str


def scatter(dots: Sequence[Dot], x_title: str, y_title: str, line_at: float | None = None) -> str:
    """An SVG of the dots; `line_at` draws a vertical line there."""
    x_axis = _Axis([dot.x for dot in dots] + ([] if line_at is None else [line_at]), _LEFT, WIDTH - _MARGIN)
    y_axis = _Axis([dot.y for dot in dots], HEIGHT - _BOTTOM, _MARGIN)
    parts = [f'<svg class="plot" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(y_title)}">']
    for value in y_axis.ticks:
        y = y_axis.at(value)
        parts.append(f'<line class="grid" x1="{_LEFT:g}" x2="{WIDTH - _MARGIN:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6:g}" y="{y + 3.5:.1f}" text-anchor="end">{value:g}</text>')
    for value in x_axis.ticks:
        x = x_axis.at(value)
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{HEIGHT - _BOTTOM + 15:g}" text-anchor="middle">{value:g}</text>'
        )
    if line_at is not None:
        x = x_axis.at(line_at)
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_MARGIN:g}" y2="{HEIGHT - _BOTTOM:g}"/>')
    middle = (HEIGHT - _BOTTOM) / 2
    across = f'x="{(_LEFT + WIDTH) / 2:g}" y="{HEIGHT - 6:g}"'
    upright = f'transform="rotate(-90)" x="{-middle:g}" y="12"'
    for where, title in ((across, x_title), (upright, y_title)):
        parts.append(f'<text class="axis" {where} text-anchor="middle">{escape(title)}</text>')
    for dot in dots:
        parts.append(
            f'<circle class="dot {dot.look}" data-pose="{dot.pose}" cx="{x_axis.at(dot.x):.1f}" '
            f'cy="{y_axis.at(dot.y):.1f}" r="5" tabindex="0"><title>{escape(dot.label)}</title></circle>'
        )
    return "".join([*parts, "</svg>"])


class _Axis:
    """Numbers to places, with round ticks."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = min(values), max(values)
        room = 0.06 * (high - low) or max(abs(high), 1.0) * 0.1
        self._low, self._high, self._start, self._end = low - room, high + room, start, end
        step = _round_step((self._high - self._low) / 5)
        first = -int(-self._low // step)
        self.ticks = [round(i * step, 10) for i in range(first, int(self._high // step) + 1)]

    def at(self, value: float) -> float:
        return self._start + (value - self._low) / (self._high - self._low) * (self._end - self._start)


def _round_step(least: float) -> float:
    """1, 2 or 5 times a power of ten, at least `least`."""
    power = 10.0
    while power > least:
        power /= 10
    while power * 10 <= least:
        power *= 10
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)
