"""Figures with bootstrap intervals as results hold them, and the paired difference of two methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from numpy.typing import NDArray

from benchmarks.common.store import finite
from domains.bootstrap import Interval, Statistic, bootstrap_difference

TEACHER_ROW: Final = "teacher"
SHIPPED: Final = "shipped"
"""The row of a learned grid that lies beside the weights."""
LEARNED: Final = "learned"
"""The row of a grid that was fitted, in the run or in an earlier one."""

Bounds = tuple[float | None, float | None] | None
"""A 95% interval; None for what JSON has no word for, and where there is no interval."""


def estimate_of(interval: Interval | None) -> float | None:
    """None where there is none, or it is infinite."""
    return finite(interval.estimate) if interval else None


def bounds_of(interval: Interval | None) -> Bounds:
    """The same for its ends."""
    return (finite(interval.low), finite(interval.high)) if interval else None


@dataclass(frozen=True)
class Paired:
    """A figure of the first method minus the same of the second, sample by sample from the same starts.

    Attributes:
        metric: which figure.
        first, second: names of the methods.
        nfe, second_nfe: their network evaluations a sample.
        values: the figures themselves.
        difference, ci: with a 95% bootstrap interval.
    """

    metric: str
    first: str
    nfe: int
    second: str
    second_nfe: int
    values: tuple[float | None, float | None]
    difference: float
    ci: Bounds


def paired(
    metric: str,
    first: tuple[str, int],
    second: tuple[str, int],
    figures: tuple[float | None, float | None],
    values: tuple[Sequence[NDArray[Any]], Sequence[NDArray[Any]]],
    statistic: Statistic,
    seed: int,
) -> Paired:
    """Compare two methods, each (name, NFE), on `values`: for each a group of samples (a complex) one array."""
    found = bootstrap_difference(*values, statistic, seed)
    return Paired(metric, *first, *second, figures, found.estimate, bounds_of(found))
