"""The tables of the comparison of docking fits, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.common.tables import Table, difference
from benchmarks.experiments import study
from benchmarks.experiments.docking_trial_options import USUAL, Options
from benchmarks.experiments.docking_trial_rows import Row
from domains.bootstrap import Interval


def _origin(options: Options, complexes: int) -> str:
    return (
        f"{study.made_by('docking_trials', options)}. {complexes} complexes x {options.samples} poses x "
        f"{len(options.seeds)} seeds, {options.nfe} NFE unless said otherwise. Intervals: 95%, bootstrap over "
        f"complexes, then poses; differences to '{USUAL}' are paired. Distinct: clusters at 1 Å among the "
        f"{options.samples} poses of a complex and seed."
    )


def block(options: Options, rows: Sequence[Row], complexes: int) -> str:
    """Origin and table, in Markdown."""
    near = ("within 2 Å", f"minus {USUAL}, points", f"best of {options.samples}", "distinct")
    headings = ("fit", "what it asks", *near, "to teacher, Å", f"minus {USUAL}, Å")
    cells = [
        (row.name, row.asks, *successes(row), f"{100 * row.best_2A:.0f}", f"{row.distinct:.1f}", *distances(row))
        for row in rows
    ]
    table = Table(headings, cells, text_columns=2)
    return f"{_origin(options, complexes)}\n\n{table.markdown()}"


def ball_block(options: Options, rows: Sequence[Row], complexes: int) -> str:
    """Origin, the table of the balls, and which intervals leave out 0, in Markdown."""
    radii = {trial.name: float(trial.change["radius"]) for trial in options.fits if "radius" in trial.change}
    own = {(radii | {USUAL: 0.0})[row.name]: row for row in rows if row.name in {USUAL, *radii}}
    headings = ("radius", "within 2 Å", "minus radius 0, points", "to teacher, Å", "minus radius 0, Å")
    cells = [(f"{radius:g}", *successes(row), *distances(row)) for radius, row in own.items()]
    verdicts = (
        verdict("Success", {radius: row.success_difference for radius, row in own.items()}),
        verdict("Distance to the teacher", {radius: row.rmsd_difference for radius, row in own.items()}),
    )
    about = f"Radius 0 is '{USUAL}', the plain loss; radii are in standard deviations of the prior."
    table = Table(headings, cells, text_columns=0).markdown()
    return "\n\n".join([f"{_origin(options, complexes)} {about}", table, " ".join(verdicts)])


def verdict(what: str, differences: Mapping[float, Interval | None]) -> str:
    """For which radii the interval of the difference to radius 0 leaves out 0, in words."""
    found = {radius: interval for radius, interval in differences.items() if interval is not None}
    lower = [f"{radius:g}" for radius, interval in found.items() if interval.high < 0]
    higher = [f"{radius:g}" for radius, interval in found.items() if interval.low > 0]
    if not lower and not higher:
        return f"{what}: every interval of the {len(found)} differences contains 0."
    sides = (("lower", lower), ("higher", higher))
    parts = [f"{word} with radius {', '.join(radii)}" for word, radii in sides if radii]
    return f"{what}: {'; '.join(parts)}; {len(found) - len(lower) - len(higher)} of {len(found)} intervals contain 0."


def successes(row: Row) -> tuple[str, str]:
    """Poses within 2 Å in %, and the difference in points, with 95% intervals."""
    return _interval(row.success_2A, 100, ".0f"), _gap(row.success_difference, 100, ".1f")


def distances(row: Row) -> tuple[str, str]:
    """RMSD to the teacher and the difference, in Å, with 95% intervals."""
    return _interval(row.rmsd_to_teacher, 1, ".2f"), _gap(row.rmsd_difference, 1, ".2f")


def _interval(interval: Interval, scale: float, style: str) -> str:
    estimate, low, high = (format(scale * value, style) for value in interval)
    return f"{estimate} [{low}, {high}]"


def _gap(interval: Interval | None, scale: float, style: str) -> str:
    return "" if interval is None else difference(interval.estimate, interval[1:], scale, style)
