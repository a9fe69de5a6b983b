"""The bound against quadrature and the solver's own rule, its minimum against closed form and a search, and the
published code's grids.
"""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from conftest import shared
from scipy.integrate import quad
from scipy.interpolate import lagrange
from scipy.optimize import minimize

from ld3 import EDM, HAND_MADE, VE, Clock, VPLinear, get_solver
from ld3.dmn import (
    NARROWEST,
    assumed_error,
    bounded_sums,
    derivative,
    error_bound,
    least_error_levels,
    step_weights,
)
from ld3.grid import dmn
from ld3.solvers import Node

LAM = np.array([-2.0, -1.1, -0.7, 0.4, 0.9, 2.1, 2.6])
CASES = {"VE": (EDM(), 1.0), "VP": (VPLinear(), 2.0)}


def nodes_of(step: int, n: int) -> list[int]:
    """Nodes that a step uses, newest first."""
    return [step - back for back in range(min(step + 1, 3, n - step))]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6])
def test_weights_are_integrals_of_lagrange_polynomials(n: int) -> None:
    weights = step_weights(LAM[: n + 1])
    for step in range(n):
        used = nodes_of(step, n)
        for back, node in enumerate(used):
            polynomial = lagrange(LAM[used], [float(other == node) for other in used])
            expected, _ = quad(lambda lam, p=polynomial: math.exp(lam) * p(lam), LAM[step], LAM[step + 1])
            assert weights[step, back] == pytest.approx(expected, rel=1e-10)
        assert not weights[step, len(used) :].any()


def test_weights_are_those_of_the_solver() -> None:
    lam = torch.from_numpy(LAM)
    weights = step_weights(LAM)
    predictor = get_solver("unipc_bh1_3").predictor
    for step in range(2, 4):
        for back in range(3):
            history = [
                Node(lam[step - k], torch.tensor(math.nan), torch.tensor(float(k == back)).double()) for k in (2, 1, 0)
            ]
            move = predictor(history, lam[step + 1])
            assert weights[step, back] == pytest.approx((lam[step + 1].exp() * move).item(), rel=1e-10)


def test_the_bound_follows_from_the_weights() -> None:
    n, power, sharpness = 6, 2.0, 1.5
    noise = np.exp(-LAM[:-1] / sharpness)
    error = noise**2 / np.sqrt(1 + noise**2)  # σ²/α with σ = σ̂α and α² = 1/(1 + σ̂²)
    np.testing.assert_allclose(assumed_error(LAM[:-1], sharpness, power), error)
    table = np.zeros((n, n))
    for step, row in enumerate(step_weights(LAM)):
        for back, weight in enumerate(row[: step + 1]):
            table[step, step - back] = weight * error[step - back]
    expected = np.sqrt((table[:3] ** 2).sum(1)).sum() + np.abs(table[3:].sum(0)).sum()
    assert error_bound(LAM, sharpness, power) == pytest.approx(expected)


@pytest.mark.parametrize("n", [2, 3, 6])
def test_derivatives_are_those_of_finite_differences(n: int) -> None:
    lam, step = LAM[: n + 1], 1e-6
    expected = [
        (bounded_sums(lam + e, 1.5, 2.0) - bounded_sums(lam - e, 1.5, 2.0)) / (2 * step) for e in step * np.eye(n + 1)
    ]
    np.testing.assert_allclose(derivative(lam, 1.5, 2.0), np.transpose(expected), rtol=1e-7, atol=1e-7)


def test_two_steps_have_a_closed_form() -> None:
    """The bound is e^{h_1} + e^{h_2} - 2 (power 1, no sharpness): least in the middle."""
    assert error_bound(np.array([-3.0, 0.5, 2.0])) == pytest.approx(math.exp(3.5) + math.exp(1.5) - 2)
    np.testing.assert_allclose(least_error_levels(-3.0, 2.0, 2), [-3.0, -0.5, 2.0], atol=1e-6)
    np.testing.assert_array_equal(least_error_levels(-3.0, 2.0, 1), [-3.0, 2.0])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n", [3, 4, 5, 7, 10])
def test_no_worse_than_the_published_code(case: str, n: int) -> None:
    """Its trust-region run stops early where the bound has kinks (7 steps), and at 10 minimises another bound."""
    schedule, power = CASES[case]
    times = np.load(shared("oracles/ld3/solvers_golden.npz"))[f"{case}/dmn/n{n}/t"]
    published = schedule.log_snr(torch.from_numpy(times)).numpy()
    ours = dmn(Clock({"x": schedule}), n, power).solver["x"].numpy()
    assert error_bound(ours, 1.0, power) <= error_bound(published, 1.0, power) * (1 + 1e-6)
    if n < 7:
        np.testing.assert_allclose(ours, published, atol=2e-3)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_search_from_elsewhere_finds_nothing_better(seed: int) -> None:
    n, start, end = 5, -4.0, 5.0
    best = error_bound(least_error_levels(start, end, n))

    def bound(logits: np.ndarray) -> float:
        share = np.exp(logits) / np.exp(logits).sum()
        return error_bound(np.concatenate([[start], start + (end - start) * share.cumsum()]))

    logits = np.random.default_rng(seed).normal(size=n)
    found = minimize(bound, logits, method="Nelder-Mead", options={"maxiter": 4000, "xatol": 1e-6, "fatol": 1e-6})
    assert best == pytest.approx(found.fun, rel=1e-4)


def test_with_power_one_the_scale_of_the_data_does_not_matter() -> None:
    grid = dmn(Clock({"a": VE(0.1, 5.0), "b": VE(2.0, 100.0)}), 6)
    np.testing.assert_allclose(
        grid.solver["a"] - grid.solver["a"][0], grid.solver["b"] - grid.solver["b"][0], atol=1e-4
    )


@pytest.mark.parametrize("sharpness", [1.0, 3.0])
@pytest.mark.parametrize("n", [1, 2, 10, 20])
def test_every_clock_gets_a_grid_in_time(n: int, sharpness: float) -> None:
    clock = Clock({"a": VE(0.1, 34.0), "b": VE(0.03, 1.55), "c": VE(0.03, 3.14)}, sharpness)
    began = time.process_time()
    grid = HAND_MADE["dmn"](clock, n)
    assert time.process_time() - began < 3.0
    for levels in grid.solver.values():
        span = (levels[-1] - levels[0]).item()
        assert levels.diff().min() > 0.999 * NARROWEST * span / n
        uniform = np.linspace(levels[0].item(), levels[-1].item(), n + 1)
        assert error_bound(levels.numpy(), sharpness) <= error_bound(uniform, sharpness) * (1 + 1e-9)


def test_bad_intervals_are_refused() -> None:
    with pytest.raises(ValueError, match="n must be at least 1 step, got 0"):
        least_error_levels(0.0, 1.0, 0)
    with pytest.raises(ValueError, match=r"start must be below end, got 1\.0 and 1\.0"):
        least_error_levels(1.0, 1.0, 4)
