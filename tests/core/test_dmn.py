"""The bound against quadrature and the solver's own rule, its minimum against closed forms, a search and the published
code's grids, its derivatives against finite differences.
"""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from conftest import data
from scipy.integrate import quad
from scipy.interpolate import lagrange
from scipy.optimize import minimize

from ld3 import EDM, HAND_MADE, VE, Clock, VPLinear, get_solver
from ld3.grids import dmn, hand_made
from ld3.grids.dmn import MOST, NARROWEST, SmoothBound, least_error_levels
from ld3.grids.dmn_bound import assumed_error, error_bound, step_weights, steps_of
from ld3.grids.newton import Array, follow_minimum
from ld3.solvers import Node

LAM = np.array([-2.0, -1.1, -0.7, 0.4, 0.9, 2.1, 2.6])
CASES = {"VE": (EDM(), 1.0), "VP": (VPLinear(), 2.0)}
SHARPENED = (-8.0, 24.2, 7.0)  # start, end, score scale: the bound hardly depends on early levels


def nodes_of(step: int, n: int) -> list[int]:
    """Nodes that a step uses, newest first."""
    return [step - back for back in range(min(step + 1, 3, n - step))]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6])
def test_weights_are_integrals_of_lagrange_polynomials(n: int) -> None:
    weights = step_weights(steps_of(LAM[: n + 1]), LAM[n])
    for step in range(n):
        used = nodes_of(step, n)
        for back, node in enumerate(used):
            polynomial = lagrange(LAM[used], [float(other == node) for other in used])
            expected, _ = quad(lambda lam, p=polynomial: math.exp(lam - LAM[n]) * p(lam), LAM[step], LAM[step + 1])
            assert weights[step, back] == pytest.approx(expected, rel=1e-10)
        assert not weights[step, len(used) :].any()


def test_weights_are_those_of_the_solver() -> None:
    lam = torch.from_numpy(LAM)
    weights = step_weights(steps_of(LAM), LAM[-1])
    predictor = get_solver("unipc_bh1_3").predictor
    assert callable(predictor)
    for step in range(2, 4):
        for back in range(3):
            history = [
                Node(lam[step - k], torch.tensor(math.nan), torch.tensor(float(k == back)).double()) for k in (2, 1, 0)
            ]
            move = predictor(history, lam[step + 1])
            assert weights[step, back] == pytest.approx(((lam[step + 1] - lam[-1]).exp() * move).item(), rel=1e-10)


def test_the_bound_follows_from_the_weights() -> None:
    n, power, score_scale = 6, 2.0, 1.5
    noise = np.exp(-LAM[:-1] / score_scale)
    error = noise**2 / np.sqrt(1 + noise**2)  # σ²/α with σ = σ̂α and α² = 1/(1 + σ̂²)
    np.testing.assert_allclose(assumed_error(LAM[:-1], score_scale, power), error)
    table = np.zeros((n, n))
    for step, row in enumerate(step_weights(steps_of(LAM), LAM[-1])):
        for back, weight in enumerate(row[: step + 1]):
            table[step, step - back] = weight * error[step - back]
    expected = np.sqrt((table[:3] ** 2).sum(1)).sum() + np.abs(table[3:].sum(0)).sum()
    assert error_bound(LAM, score_scale, power) == pytest.approx(expected)


@pytest.mark.parametrize("n", [2, 3, 6])
def test_the_smooth_bound_nears_the_bound(n: int) -> None:
    uniform = np.linspace(LAM[0], LAM[n], n + 1)
    smooth = SmoothBound(uniform, 1.5, 2.0)
    x = (LAM[1:n] - LAM[0]) * n / (LAM[n] - LAM[0])
    room = np.diff(x, prepend=0, append=n) - NARROWEST
    share = error_bound(LAM[: n + 1], 1.5, 2.0) / error_bound(uniform, 1.5, 2.0)
    assert smooth.value(x, 1e-9) == pytest.approx(share, abs=1e-7)
    # Without its barrier: each root is from |part| to |part| + μ.
    without = smooth.value(x, 1e-2) + 1e-2 * np.log(room).sum()
    assert share < without < share + (min(n, 3) + n) * 1e-2
    assert smooth.value(np.full(n - 1, 0.05) * np.arange(1, n), 1e-2) == math.inf


@pytest.mark.parametrize("weight", [1.0, 1e-3])
@pytest.mark.parametrize("n", [2, 3, 6])
def test_derivatives_are_those_of_finite_differences(n: int, weight: float) -> None:
    smooth = SmoothBound(np.linspace(LAM[0], LAM[n], n + 1), 1.5, 2.0)
    x, step = (LAM[1:n] - LAM[0]) * n / (LAM[n] - LAM[0]), 1e-5
    gradient, hessian = smooth.derivatives(x, weight)
    moves = step * np.eye(n - 1)
    slopes = [(smooth.value(x + e, weight) - smooth.value(x - e, weight)) / (2 * step) for e in moves]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-8)
    gradients = [(smooth.derivatives(x + e, weight)[0], smooth.derivatives(x - e, weight)[0]) for e in moves]
    bends = [(after - before) / (2 * step) for after, before in gradients]
    np.testing.assert_allclose(hessian, bends, rtol=1e-4, atol=1e-4 * np.abs(hessian).max())
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-6 * np.abs(hessian).max())


def test_two_steps_have_a_closed_form() -> None:
    """The bound is e^{-λ_N} (e^{h_1} + e^{h_2} - 2) (power 1, no score scale): least in the middle."""
    expected = (math.exp(3.5) + math.exp(1.5) - 2) * math.exp(-2)
    assert error_bound(np.array([-3.0, 0.5, 2.0])) == pytest.approx(expected)
    np.testing.assert_allclose(least_error_levels(-3.0, 2.0, 2), [-3.0, -0.5, 2.0], atol=1e-6)
    np.testing.assert_array_equal(least_error_levels(-3.0, 2.0, 1), [-3.0, 2.0])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n", [3, 4, 5, 7, 10])
def test_no_worse_than_the_published_code(case: str, n: int) -> None:
    """Its trust-region run stops early where the bound has kinks (7 steps), and at 10 minimises another bound."""
    schedule, power = CASES[case]
    times = np.load(data("ld3_solvers.npz"))[f"{case}/dmn/n{n}/t"]
    published = schedule.half_log_snr(torch.from_numpy(times)).numpy()
    ours = dmn(Clock({"x": schedule}), n, power).solver["x"].numpy()
    assert error_bound(ours, 1.0, power) <= error_bound(published, 1.0, power) * (1 + 1e-6)
    if n < 7:
        np.testing.assert_allclose(ours, published, atol=2e-3)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("start", "end", "score_scale"), [(-4.0, 5.0, 1.0), SHARPENED])
def test_a_search_from_elsewhere_finds_nothing_better(start: float, end: float, score_scale: float, seed: int) -> None:
    n = 5
    best = error_bound(least_error_levels(start, end, n, score_scale), score_scale)

    def bound(logits: Array) -> float:
        share = (1 - NARROWEST) * np.exp(logits) / np.exp(logits).sum() + NARROWEST / n
        return error_bound(np.concatenate([[start], start + (end - start) * share.cumsum()]), score_scale)

    logits = np.random.default_rng(seed).normal(size=n)
    options = {"maxiter": 10000, "maxfev": 10000, "xatol": 1e-8, "fatol": 1e-8 * best}
    found = minimize(bound, logits, method="Nelder-Mead", options=options)
    assert best == pytest.approx(found.fun, rel=1e-4)


@pytest.mark.parametrize("n", [8, 10, 12, 20])
def test_rounding_does_not_decide(n: int) -> None:
    """From starts that differ a little the levels are the same, also where the bound hardly depends on them; from any
    other the bound is."""
    start, end, score_scale = SHARPENED
    uniform, even = np.linspace(start, end, n + 1), np.arange(1.0, n)
    best = least_error_levels(start, end, n, score_scale)
    generator = np.random.default_rng(0)
    for size in (1e-6, 0.1):
        bound = SmoothBound(uniform, score_scale, 1.0)
        x = follow_minimum(bound.value, bound.derivatives, even + size * generator.normal(size=n - 1), 1e-7)
        found = np.concatenate([[start], start + (end - start) / n * x, [end]])
        assert error_bound(found, score_scale) == pytest.approx(error_bound(best, score_scale), rel=1e-6)
        if size < 0.1:
            np.testing.assert_allclose(found, best, atol=1e-6)


class _Cornered:
    """|x| + 2 |x - 2y + 1| for y > 2, its absolute values and its wall smoothed."""

    slopes = np.array([[1.0, 0.0], [2.0, -4.0]])

    def value(self, x: Array, weight: float) -> float:
        return math.inf if x[1] <= 2 else float(self._roots(x, weight).sum() - weight * np.log(x[1] - 2))

    def derivatives(self, x: Array, weight: float) -> tuple[Array, Array]:
        root, room = self._roots(x, weight), x[1] - 2
        gradient = self._parts(x) / root @ self.slopes - [0.0, weight / room]
        return gradient, self.slopes.T / root**3 * weight**2 @ self.slopes + np.diag([0.0, weight / room**2])

    def _parts(self, x: Array) -> Array:
        return self.slopes @ x + [0.0, 2.0]

    def _roots(self, x: Array, weight: float) -> Array:
        return np.sqrt(self._parts(x) ** 2 + weight**2)


@pytest.mark.parametrize("start", [(3.0, 5.0), (-7.0, 2.01)])
def test_a_minimum_between_a_kink_and_a_wall_is_found(start: tuple[float, float]) -> None:
    """The second term weighs more, so that it vanishes; 2y - 1 is left, which the wall holds at 3."""
    np.testing.assert_allclose(
        follow_minimum(_Cornered().value, _Cornered().derivatives, np.array(start), 1e-8), [3.0, 2.0], atol=1e-7
    )


def test_with_power_one_the_scale_of_the_data_does_not_matter() -> None:
    grid = dmn(Clock({"a": VE(0.1, 5.0), "b": VE(2.0, 100.0)}), 6)
    np.testing.assert_allclose(
        grid.solver["a"] - grid.solver["a"][0], grid.solver["b"] - grid.solver["b"][0], atol=1e-4
    )


@pytest.mark.parametrize("score_scale", [0.1, 1.0, 3.0, 30.0, 1000.0])
@pytest.mark.parametrize("n", [1, 2, 10, 64])
def test_every_clock_gets_a_grid_in_time(n: int, score_scale: float) -> None:
    clock = Clock({"a": VE(0.1, 34.0), "b": VE(0.03, 1.55), "c": VE(0.03, 3.14)}, score_scale)
    began = time.process_time()
    grid = HAND_MADE["dmn"](clock, n)
    assert time.process_time() - began < 3.0
    for levels in grid.solver.values():
        span = (levels[-1] - levels[0]).item()
        assert levels.diff().min() > 0.999 * NARROWEST * span / n
        uniform = score_scale * np.linspace(levels[0].item(), levels[-1].item(), n + 1)
        assert error_bound(score_scale * levels.numpy(), score_scale) <= error_bound(uniform, score_scale) * (1 + 1e-9)


def test_what_takes_too_long_is_refused_and_left_out_of_the_hand_made_grids() -> None:
    clock = Clock({"x": EDM()})
    with pytest.raises(ValueError, match="n must be at most 128 steps for dmn, got 129"):
        dmn(clock, MOST + 1)
    assert set(hand_made(clock, MOST)) == {*HAND_MADE}
    assert set(hand_made(clock, MOST + 1)) == {*HAND_MADE} - {"dmn"}


def test_bad_intervals_are_refused() -> None:
    with pytest.raises(ValueError, match="n must be at least 1 step, got 0"):
        least_error_levels(0.0, 1.0, 0)
    with pytest.raises(ValueError, match=r"start must be below end, got 1\.0 and 1\.0"):
        least_error_levels(1.0, 1.0, 4)
