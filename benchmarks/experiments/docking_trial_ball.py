"""The balls among the fits that were tried for docking, beside the plain loss: a table for a Markdown page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks.experiments.docking_trial_list import RADII, USUAL
from benchmarks.experiments.docking_trial_page import Study, cell, origin
from domains.bootstrap import Interval

BALL_BLOCK: Final = "docking ball"

_HEADINGS = ("radius", "within 2 Å", "minus radius 0, points", "to teacher, Å", "minus radius 0, Å")


def ball_block(study: Study) -> str:
    """Origin, table, and which intervals leave out 0, in Markdown."""
    rows = {RADII[row.name]: row for row in study.rows if row.name in RADII}
    lines = [_HEADINGS, ("---:",) * len(_HEADINGS)]
    lines += [
        (
            f"{radius:g}",
            cell(row.success_2A, 100, 0),
            cell(row.success_minus_usual, 100, 1, sign="+"),
            cell(row.rmsd_to_teacher, 1, 2),
            cell(row.rmsd_minus_usual, 1, 2, sign="+"),
        )
        for radius, row in rows.items()
    ]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    verdicts = [
        verdict("Success", {radius: row.success_minus_usual for radius, row in rows.items()}),
        verdict("Distance to the teacher", {radius: row.rmsd_minus_usual for radius, row in rows.items()}),
    ]
    about = f"{origin(study)} Radius 0 is '{USUAL}', the plain loss; radii are in standard deviations of the prior."
    return "\n\n".join([about, table, " ".join(verdicts)])


def verdict(what: str, differences: Mapping[float, Interval | None]) -> str:
    """For which radii the interval of the difference to radius 0 leaves out 0, in words."""
    found = {radius: interval for radius, interval in differences.items() if interval is not None}
    lower = [f"{radius:g}" for radius, interval in found.items() if interval.high < 0]
    higher = [f"{radius:g}" for radius, interval in found.items() if interval.low > 0]
    if not lower and not higher:
        return f"{what}: every interval of the {len(found)} differences contains 0."
    parts = [
        f"{word} with radius {', '.join(radii)}" for word, radii in (("lower", lower), ("higher", higher)) if radii
    ]
    return f"{what}: {'; '.join(parts)}; {len(found) - len(lower) - len(higher)} of {len(found)} intervals contain 0."
