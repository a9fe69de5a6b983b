"""What was aimed at on the reference case, and whether the rows reach it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from statistics import fmean
from typing import Final

from benchmarks.experiments.reference_case.fits import WITH_COEFFICIENTS
from benchmarks.experiments.reference_case.rows import CaseRow, HandRow, mse_of
from benchmarks.experiments.reference_case.table import spread

AIMED: Final = "unipc_bh1_3"
"""The solver of the targets: that of the published code's own configuration."""

_MSE_SHARE: Final = 0.8  # of the published code's mean that a fit to its own pairs should stay below
_COST_SHARE: Final = 0.2
_OWN_TARGETS: Final[Mapping[int, float]] = {4: 0.0045, 5: 0.0020, 6: 0.0010, 8: 0.00025, 10: 0.0001}


def targets(rows: Sequence[CaseRow]) -> Iterator[str]:
    """Per setting and NFE of UniPC: whether what was aimed at, for times and levels, is reached."""
    aimed = [row for row in rows if row.solver == AIMED and row.setting != WITH_COEFFICIENTS]
    for (setting, nfe), group in groupby(aimed, lambda row: (row.setting, row.nfe)):
        seeds = list(group)
        checks = dict(_same_pairs(seeds) if setting == "same_pairs" else _own_pairs(seeds, nfe))
        missed = [name for name, reached in checks.items() if not reached]
        yield f"{setting}, {nfe} NFE: " + (f"missed: {'; '.join(missed)}" if missed else "all targets reached")


def best_of_all(rows: Sequence[CaseRow], hand: Sequence[HandRow]) -> Iterator[str]:
    """Per NFE: whether the best learned result of all solvers, by its mean over seeds, beats the best hand-made grid.

    Grids alone first, then what has learned coefficients. The hand-made ones are ours and those of the published code,
    which has converged otherwise on some of them.
    """
    for nfe in sorted({row.nfe for row in rows}):
        best = min((row for row in hand if row.nfe == nfe), key=mse_of)
        for coefficients in (False, True):
            own = [row for row in rows if row.nfe == nfe and (row.setting == WITH_COEFFICIENTS) == coefficients]
            groups = groupby(own, lambda row: (row.setting, row.solver))
            learned = {key: [mse_of(row) for row in group] for key, group in groups}
            if learned:
                (setting, solver), values = min(learned.items(), key=lambda item: fmean(item[1]))
                verdict = "reached" if fmean(values) < mse_of(best) else "missed"
                yield (
                    f"{nfe} NFE: {verdict}: best learned {spread(values)} ({solver}, {setting}), "
                    f"best hand-made {mse_of(best):.5f} ({best.solver}, {best.grid})"
                )


def gains(rows: Sequence[CaseRow]) -> Iterator[str]:
    """Per solver and NFE: what learned coefficients add to own_pairs' times and levels, for the same evaluations."""
    by_case: dict[tuple[str, int], dict[str, list[float]]] = {}
    for row in rows:
        by_case.setdefault((row.solver, row.nfe), {}).setdefault(row.setting, []).append(mse_of(row))
    for (solver, nfe), settings in by_case.items():
        if {"own_pairs", WITH_COEFFICIENTS} <= settings.keys():
            plain, more = settings["own_pairs"], settings[WITH_COEFFICIENTS]
            yield f"{solver}, {nfe} NFE: {spread(more)} with coefficients, {fmean(more) / fmean(plain):.2f} of without"


def _same_pairs(seeds: Sequence[CaseRow]) -> Iterator[tuple[str, bool]]:
    first, mses = seeds[0], [mse_of(row) for row in seeds]
    assert first.reference_mse is not None and first.reference_mse_best is not None
    assert first.reference_network_evaluations is not None and first.reference_cpu_seconds is not None
    evaluations = max(row.network_evaluations for row in seeds)
    seconds = max(row.cpu_seconds for row in seeds)
    yield f"mean mse at most {_MSE_SHARE} of the published", fmean(mses) <= _MSE_SHARE * first.reference_mse
    yield "no seed above the published code's best", max(mses) <= first.reference_mse_best
    yield "a fifth of the evaluations", evaluations <= _COST_SHARE * first.reference_network_evaluations
    yield "a fifth of the CPU seconds", seconds <= _COST_SHARE * first.reference_cpu_seconds


def _own_pairs(seeds: Sequence[CaseRow], nfe: int) -> Iterator[tuple[str, bool]]:
    first, mses = seeds[0], [mse_of(row) for row in seeds]
    assert first.reference_network_evaluations is not None
    evaluations = max(row.network_evaluations for row in seeds)
    if nfe in _OWN_TARGETS:
        yield f"mean mse at most {_OWN_TARGETS[nfe]}", fmean(mses) <= _OWN_TARGETS[nfe]
        yield f"every seed at most {_OWN_TARGETS[nfe]}", max(mses) <= _OWN_TARGETS[nfe]
    yield "no more evaluations than published", evaluations <= first.reference_network_evaluations
