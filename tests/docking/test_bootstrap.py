"""The bootstrap against exact moments, a plain loop, and coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from domains.bootstrap import Statistic, bootstrap_difference, bootstrap_interval, bootstrap_ratio

Values = list[NDArray[np.float64]]


def loop(values: Values, statistic: Statistic, resamples: int, seed: int) -> NDArray[np.float64]:
    """Complexes, then poses within each, one resample at a time."""
    rng = np.random.default_rng(seed)
    function = np.mean if statistic == "mean" else np.median
    drawn = np.empty(resamples)
    for r in range(resamples):
        chosen = [values[k] for k in rng.integers(len(values), size=len(values))]
        drawn[r] = function(np.concatenate([poses[rng.integers(len(poses), size=len(poses))] for poses in chosen]))
    return drawn


@pytest.fixture
def ragged() -> Values:
    rng = np.random.default_rng(5)
    return [rng.gamma(2.0, 1.0, size=n) + 3 * rng.random() for n in (5, 12, 3, 9, 7, 1, 8)]


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_interval_is_that_of_a_plain_loop(ragged: Values, statistic: Statistic) -> None:
    interval = bootstrap_interval(ragged, statistic, seed=0, resamples=20_000)
    drawn = loop(ragged, statistic, 20_000, seed=1)
    assert interval.estimate == pytest.approx(getattr(np, statistic)(np.concatenate(ragged)), rel=1e-12)
    # A quantile of 20 000 draws at 2.5% is known to about 0.03 standard deviations; two of them to 0.04.
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert interval.low == pytest.approx(low, abs=0.15 * drawn.std())
    assert interval.high == pytest.approx(high, abs=0.15 * drawn.std())


def test_variance_of_the_mean_is_that_of_two_stages() -> None:
    """With n poses in each of K complexes it is (var of the complex means)/K + (mean of their variances)/(K n)."""
    rng = np.random.default_rng(2)
    values = list(rng.normal(size=(20, 10)) + 0.5 * rng.normal(size=(20, 1)))
    means, variances = [v.mean() for v in values], [v.var() for v in values]
    deviation = np.sqrt(np.var(means) / 20 + np.mean(variances) / 200)
    interval = bootstrap_interval(values, "mean", seed=3, resamples=20_000)
    assert (interval.high - interval.low) / (2 * 1.96) == pytest.approx(deviation, rel=0.04)


def test_variance_of_the_mean_in_strata_is_that_of_the_poses_alone() -> None:
    """With n_k of n poses in stratum k it is the sum of (n_k/n)² var_k/n_k, however far apart the strata are."""
    rng = np.random.default_rng(2)
    values = [rng.normal(100 * k, 1 + k, size=size) for k, size in enumerate((40, 60, 100))]
    deviation = np.sqrt(sum(v.var() * len(v) for v in values)) / 200
    interval = bootstrap_interval(values, "mean", seed=3, resamples=20_000, strata=True)
    assert (interval.high - interval.low) / (2 * 1.96) == pytest.approx(deviation, rel=0.04)
    shifted = bootstrap_difference([v + k for k, v in enumerate(values)], values, "mean", seed=3, strata=True)
    np.testing.assert_allclose(shifted, (60 + 2 * 100) / 200, rtol=1e-10)


def test_equal_poses_leave_only_the_complexes() -> None:
    """Of two complexes with all or no successes, a resample has 0, 1 or 2 of the good one: 1/4, 1/2, 1/4."""
    values = [np.ones(6), np.zeros(6)]
    assert bootstrap_interval(values, "mean", seed=0, level=0.4)[1:] == (0.5, 0.5)
    assert bootstrap_interval(values, "mean", seed=0, level=0.6)[1:] == (0.0, 1.0)


def test_intervals_cover_the_truth() -> None:
    rng = np.random.default_rng(7)
    covered = 0
    for trial in range(200):
        rates = rng.beta(2.0, 2.0, size=30)
        values = [(rng.random(8) < rate).astype(float) for rate in rates]
        interval = bootstrap_interval(values, "mean", seed=trial, resamples=500)
        covered += interval.low <= 0.5 <= interval.high
    # 95% nominal; percentile intervals of 30 complexes run a little short, poses drawn twice a little long.
    assert 0.90 <= covered / 200 <= 0.995


def test_difference_is_paired() -> None:
    """A constant shift has no uncertainty, however different the complexes are."""
    rng = np.random.default_rng(0)
    second = [10 * rng.random() + rng.random(6) for _ in range(8)]
    first = [v + 0.25 for v in second]
    for statistic in ("mean", "median"):
        interval = bootstrap_difference(first, second, statistic, seed=0)
        np.testing.assert_allclose(interval, 0.25, rtol=1e-10)


def test_difference_of_means_is_the_mean_of_differences(ragged: Values) -> None:
    rng = np.random.default_rng(4)
    other = [v + rng.normal(size=len(v)) for v in ragged]
    paired = bootstrap_difference(ragged, other, "mean", seed=6)
    single = bootstrap_interval([a - b for a, b in zip(ragged, other, strict=True)], "mean", seed=6)
    np.testing.assert_allclose(paired, single, rtol=1e-9)


def test_seed_decides(ragged: Values) -> None:
    assert bootstrap_interval(ragged, "mean", seed=1) == bootstrap_interval(ragged, "mean", seed=1)
    assert bootstrap_interval(ragged, "mean", seed=1) != bootstrap_interval(ragged, "mean", seed=2)


def test_failed_poses_count_as_infinite() -> None:
    values = [np.array([1.0, 2.0, np.inf]), np.array([1.0, 3.0, 5.0])]
    assert bootstrap_interval(values, "median", seed=0).estimate == 2.5
    assert bootstrap_interval(values, "median", seed=0).high == np.inf
    assert bootstrap_interval(values, "mean", seed=0).estimate == np.inf
    hopeless = [np.full(3, np.inf)]
    assert np.isnan(bootstrap_difference(hopeless, hopeless, "median", seed=0)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], "mean", 0), "values must hold at least one complex"),
        (([np.array([])], "mean", 0), r"values\[0\] must hold one number a pose"),
        (([np.ones(2), np.array([np.nan])], "mean", 0), r"values\[1\] has NaN"),
        (([np.ones(2)], "mode", 0), "statistic must be 'mean' or 'median', got 'mode'"),
        (([np.ones(2)], "mean", 0, 0), "resamples must be at least 1, got 0"),
        (([np.ones(2)], "mean", 0, 10, 1.0), "level must lie between 0 and 1, got 1.0"),
    ],
)
def test_bad_arguments_are_named(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(*arguments)  # type: ignore[arg-type]


def test_unpaired_values_are_refused() -> None:
    with pytest.raises(ValueError, match=r"second must have \[2, 3\] poses a complex, as first, got \[2, 2\]"):
        bootstrap_difference([np.ones(2), np.ones(3)], [np.ones(2), np.ones(2)], "mean", seed=0)


def test_ratio_of_means_is_paired() -> None:
    """Of values that are twice the others it is 2 in every resample; of a mean of zero it is infinite."""
    values = [np.array([1.0, 3.0, 2.0]), np.array([0.5, 4.0])]
    assert bootstrap_ratio([2 * v for v in values], values, seed=0) == pytest.approx((2.0, 2.0, 2.0))
    assert bootstrap_ratio(values, [0 * v for v in values], seed=0).estimate == np.inf
    free = bootstrap_ratio([v[::-1] for v in values], values, seed=0)
    assert free.estimate == pytest.approx(1.0) and free.low < 1 < free.high
