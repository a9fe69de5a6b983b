"""Rows of the images benchmark for the eye: the table, and the paired difference in words."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from benchmarks.images.rows import ImageRow, Paired

HEADINGS = ("NFE", "to teacher", "95%", "FD pixels", "FD features", "failed", "ms/image")


def table(rows: Sequence[ImageRow], title: str, distance: str) -> Table:
    """One line a method and NFE; "-" where there is no such number."""
    caption = (
        f"to teacher: mean {distance} to the teacher's image from the same noise; 95%: bootstrap over images; "
        "FD: Fréchet distance to real images, in pixels and in features of a small classifier of theirs"
    )
    found = Table(title=title, caption=caption)
    found.add_column("method", no_wrap=True)
    for heading in HEADINGS:
        found.add_column(heading, justify="right", no_wrap=True)
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        found.add_row(*cells(row), end_section=following is not None and following.nfe != row.nfe)
    return found


def cells(row: ImageRow) -> tuple[str, ...]:
    """A row: its method, and what stands under the headings."""
    low, high = row.distance_ci
    return (
        f"{row.method} (= {row.same_as})" if row.same_as else row.method,
        str(row.nfe),
        number(row.distance),
        f"{number(low)} - {number(high)}",
        number(row.frechet_pixels),
        number(row.frechet_features),
        str(row.failed),
        f"{row.ms_per_image:.1f}",
    )


def sentence(pair: Paired, distance: str) -> str:
    """The paired difference in words."""
    low, high = ("-" if bound is None else f"{bound:+.2g}" for bound in pair.ci)
    quotient = f", {pair.learned / pair.hand:.2g} times the hand-made one's" if pair.hand else ""
    return (
        f"{pair.nfe} NFE, learned minus best hand-made ({pair.best_hand}), {distance} to the teacher: "
        f"{pair.difference:+.2g} [{low}, {high}]{quotient}"
    )


def search(name: str, evaluations: int) -> str:
    """What it took to find a baseline's grids, in words."""
    return f"{name}: finding its grids took {evaluations} evaluations, once for all NFE"


def number(value: float | None) -> str:
    """Three digits."""
    return "-" if value is None else f"{value:#.3g}"
