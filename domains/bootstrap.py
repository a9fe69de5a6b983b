"""Bootstrap intervals for samples in groups, such as poses in complexes; samples without groups are one group.

Poses of one complex are alike, so the resampling has two stages (Davison & Hinkley 1997, section 3.8): complexes are
drawn with replacement, then the poses within every drawn complex. A resample is kept as the number of times that each
pose was drawn, which makes all statistics weighted ones, and lets two methods share their resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Statistic = Literal["mean", "median"]

_BLOCK = 1 << 22  # counts kept at a time, 32 MB


class Interval(NamedTuple):
    """A statistic of the sample itself, and the bootstrap interval around it."""

    estimate: float
    low: float
    high: float


def bootstrap_interval(
    values: Sequence[NDArray[Any]],
    statistic: Statistic,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
    strata: bool = False,
) -> Interval:
    """Percentile interval of the mean or median over all poses of all complexes.

    Args:
        values: for each complex, one number a pose, (n_k,); +inf is allowed (the RMSD of a pose that failed).
        statistic: what to compute from the pooled poses.
        seed: of the resampling.
        resamples: number of resamples.
        level: coverage.
        strata: the complexes are kept as they are, and only the poses within each are drawn: an interval for these very
            complexes, where there are too few of them to say anything about others.

    Raises:
        ValueError: if there is no complex, a complex has no pose, a value is NaN, or an argument is out of range.
    """
    _check(values, statistic, resamples, level)
    counts = [len(poses) for poses in values]
    pooled = np.concatenate(values).astype(np.float64)
    drawn = [_statistic(pooled, draws, statistic) for draws in _draws(counts, resamples, seed, strata)]
    return _interval(_statistic(pooled, _once(counts), statistic), drawn, level)


def bootstrap_difference(
    first: Sequence[NDArray[Any]],
    second: Sequence[NDArray[Any]],
    statistic: Statistic,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
    strata: bool = False,
) -> Interval:
    """Percentile interval of statistic(first) - statistic(second), for two methods on the same complexes and poses.

    Each resample draws the same complexes and poses for both, so that what they have in common cancels. Arguments and
    errors as in :func:`bootstrap_interval`; also a ValueError if the two differ in complexes or numbers of poses. All
    is NaN once both statistics are infinite in a resample.
    """
    with np.errstate(invalid="ignore"):  # inf - inf
        return _compared(np.subtract, first, second, statistic, seed, resamples, level, strata)


def bootstrap_ratio(
    first: Sequence[NDArray[Any]], second: Sequence[NDArray[Any]], seed: int, resamples: int = 2000, level: float = 0.95
) -> Interval:
    """Percentile interval of mean(first) / mean(second), paired as in :func:`bootstrap_difference`; infinite where the
    second mean is zero.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return _compared(_quotient, first, second, "mean", seed, resamples, level, strata=False)


def _quotient(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(b == 0, np.inf, a / b)


def _compared(
    operation: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
    first: Sequence[NDArray[Any]],
    second: Sequence[NDArray[Any]],
    statistic: Statistic,
    seed: int,
    resamples: int,
    level: float,
    strata: bool,
) -> Interval:
    """Interval of an operation on the statistics of two methods, with the same draws for both."""
    _check(first, statistic, resamples, level)
    _check(second, statistic, resamples, level)
    counts = [len(poses) for poses in first]
    if counts != [len(poses) for poses in second]:
        raise ValueError(f"second must have {counts} poses a complex, as first, got {[len(v) for v in second]}")
    a, b = (np.concatenate(values).astype(np.float64) for values in (first, second))

    def compared(draws: NDArray[np.int64]) -> NDArray[np.float64]:
        return operation(_statistic(a, draws, statistic), _statistic(b, draws, statistic))

    drawn = [compared(draws) for draws in _draws(counts, resamples, seed, strata)]
    return _interval(compared(_once(counts)), drawn, level)


def _draws(counts: Sequence[int], resamples: int, seed: int, strata: bool) -> Iterator[NDArray[np.int64]]:
    """How often each pose is drawn, (a part of the resamples, poses).

    A complex drawn c times has its n poses drawn c n times, independently: one multinomial a complex.
    """
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // sum(counts))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        if strata:
            complexes = np.ones((size, len(counts)), dtype=np.int64)
        else:
            complexes = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=size)
        poses = [rng.multinomial(complexes[:, k] * n, np.full(n, 1 / n)) for k, n in enumerate(counts)]
        yield np.concatenate(poses, axis=1)


def _once(counts: Sequence[int]) -> NDArray[np.int64]:
    """Each pose once: the sample itself."""
    return np.ones((1, sum(counts)), dtype=np.int64)


def _statistic(values: NDArray[np.float64], draws: NDArray[np.int64], statistic: Statistic) -> NDArray[np.float64]:
    """Mean or median (resamples,) of `values` (poses,), each as often as `draws` (resamples, poses) says."""
    return _mean(values, draws) if statistic == "mean" else _median(values, draws)


def _mean(values: NDArray[np.float64], draws: NDArray[np.int64]) -> NDArray[np.float64]:
    infinite = np.isinf(values)
    finite = draws @ np.where(infinite, 0.0, values) / draws.sum(1)
    return np.where((draws[:, infinite] > 0).any(1), np.inf, finite)


def _median(values: NDArray[np.float64], draws: NDArray[np.int64]) -> NDArray[np.float64]:
    """The middle value of each resample, or the mean of the two in the middle."""
    order = np.argsort(values)
    ascending = values[order]
    below = np.cumsum(draws[:, order], axis=1)
    total = below[:, -1:]
    lower, upper = ((below <= rank).sum(1) for rank in ((total - 1) // 2, total // 2))
    return np.asarray((ascending[lower] + ascending[upper]) / 2, dtype=np.float64)


def _interval(estimate: NDArray[np.float64], drawn: Sequence[NDArray[np.float64]], level: float) -> Interval:
    # No interpolation between resamples, for one of them may be infinite.
    bounds = np.quantile(np.concatenate(drawn), [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return Interval(float(estimate[0]), float(bounds[0]), float(bounds[1]))


def _check(values: Sequence[NDArray[Any]], statistic: str, resamples: int, level: float) -> None:
    if statistic not in ("mean", "median"):
        raise ValueError(f"statistic must be 'mean' or 'median', got {statistic!r}")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    if len(values) == 0:
        raise ValueError("values must hold at least one complex, got none")
    for k, poses in enumerate(values):
        if poses.ndim != 1 or len(poses) == 0:
            raise ValueError(f"values[{k}] must hold one number a pose, at least one, got shape {poses.shape}")
        if np.isnan(poses).any() or np.isneginf(poses).any():
            raise ValueError(f"values[{k}] has NaN or -inf; decide what a failed pose counts as, such as +inf")
