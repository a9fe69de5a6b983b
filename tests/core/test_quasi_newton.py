"""BFGS: the minimiser itself against a known minimum, and fits that use it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from flows import F64
from mixture_fits import Breaking, counting, mixture, pairs
from torch import Tensor, nn

from ld3.learn import FitConfig, Pairs, Phase, Point, fit
from ld3.learn.objective import mean_of_all
from ld3.learn.quasi_newton import QuasiNewton
from ld3.learn.variables import Variable
from ld3.solvers import get_solver

SOLVER = get_solver("dpmpp_2m")
QUICK = FitConfig(optimiser="bfgs", phases=("joint",), steps=20)


class Valley:
    """100 (y - x²)² + (1 - x)² + 1, Rosenbrock's, in two parameters: lowest, 1, at (1, 1)."""

    def __init__(self) -> None:
        self.x, self.y = (nn.Parameter(torch.tensor([value], dtype=F64)) for value in (-1.2, 1.0))
        self.evaluations = 0

    def evaluate(self) -> float:
        self.evaluations += 1
        self.x.grad = self.y.grad = None
        loss = 100 * (self.y - self.x**2) ** 2 + (1 - self.x) ** 2 + 1
        loss.sum().backward()
        return loss.item()

    def variables(self, lowest: float = -math.inf, unit: float = 1.0) -> list[Variable]:
        return [Variable(self.x, unit), Variable(self.y, lowest=lowest)]


@pytest.mark.parametrize("unit", [1.0, 0.3])
def test_minimum_of_a_valley(unit: float) -> None:
    valley = Valley()
    search = QuasiNewton(valley.variables(unit=unit))
    search.run(valley.evaluate, lambda: False, lambda iteration: None)
    assert search.lowest == pytest.approx(1.0, abs=1e-4)
    assert (valley.x.item(), valley.y.item()) == pytest.approx((1.0, 1.0), abs=0.02)
    assert valley.evaluations == len(search.answers) < 80


def test_the_curvature_is_that_of_the_minimum() -> None:
    """The inverse of [[802, -400], [-400, 200]], in the units of the variables."""
    valley = Valley()
    search = QuasiNewton(valley.variables(unit=0.3))
    search.run(valley.evaluate, lambda: False, lambda iteration: None)
    units = torch.tensor([0.3, 1.0], dtype=F64)
    expected = torch.linalg.inv(torch.tensor([[802.0, -400.0], [-400.0, 200.0]], dtype=F64)) / units / units[:, None]
    torch.testing.assert_close(torch.from_numpy(search.curvature), expected, rtol=0.1, atol=0.05)


def test_a_search_with_the_curvature_of_another_needs_fewer_gradients() -> None:
    """Of a bowl whose axes are of curvatures 1 to 100, and another one with its lowest point elsewhere."""
    curvatures = torch.logspace(0, 2, 6, dtype=F64)
    point = nn.Parameter(torch.zeros(6, dtype=F64))
    counts = []

    def search(lowest_at: float, curvature: list[list[float]]) -> QuasiNewton:
        point.data.zero_()

        def evaluate() -> float:
            point.grad = None
            loss = 1 + (curvatures * (point - lowest_at).square()).sum()
            loss.backward()
            return loss.item()

        found = QuasiNewton([Variable(point)], curvature=curvature)
        found.run(evaluate, lambda: False, lambda iteration: None)
        counts.append(len(found.answers))
        assert found.lowest == pytest.approx(1.0, abs=1e-3)
        return found

    first = search(1.0, [])
    search(-2.0, first.curvature.tolist())
    assert counts[1] < counts[0] / 2


def test_a_bound_holds_at_every_evaluation() -> None:
    """With y >= 1.44 the minimum is at x = y = 1.2² but for x = 1.2: d/dx of 400 x (x² - y) + 2 (x - 1) = 0."""
    valley = Valley()
    search = QuasiNewton(valley.variables(lowest=1.44))
    seen: list[float] = []
    with torch.no_grad():
        valley.x.fill_(0.5)
        valley.y.fill_(1.6)

    def evaluate() -> float:
        seen.append(valley.y.item())
        return valley.evaluate()

    search.run(evaluate, lambda: False, lambda iteration: None)
    assert min(seen) >= 1.44
    assert valley.y.item() == pytest.approx(1.44, abs=1e-6)
    x = valley.x.item()
    assert 400 * x * (x**2 - 1.44) + 2 * (x - 1) == pytest.approx(0, abs=0.5)


def test_what_oversteps_its_bound_comes_back() -> None:
    """(x - 3)² + (y - x + 1)² + 0.1 with y >= 0 falls with y -> 0 at first, and is lowest, 0.1, at (3, 2)."""
    valley = Valley()

    def evaluate() -> float:
        valley.x.grad = valley.y.grad = None
        loss = (valley.x - 3) ** 2 + (valley.y - valley.x + 1) ** 2 + 0.1
        loss.sum().backward()
        return loss.item()

    with torch.no_grad():
        valley.x.fill_(0.0)
        valley.y.fill_(0.3)
    search = QuasiNewton(valley.variables(lowest=0.0))
    search.run(evaluate, lambda: False, lambda iteration: None)
    assert (valley.x.item(), valley.y.item()) == pytest.approx((3.0, 2.0), abs=1e-3)


def test_earlier_answers_lead_to_the_same_place_at_no_cost() -> None:
    whole = Valley()
    search = QuasiNewton(whole.variables())
    search.run(whole.evaluate, lambda: whole.evaluations == 30, lambda iteration: None)
    first, second = Valley(), Valley()
    begun = QuasiNewton(first.variables())
    iterations: list[int] = []
    begun.run(first.evaluate, lambda: first.evaluations == 12, iterations.append)
    resumed = QuasiNewton(second.variables(), begun.answers)
    resumed.run(second.evaluate, lambda: second.evaluations == 18, iterations.append)
    assert (first.evaluations, second.evaluations) == (12, 18)
    assert resumed.answers == search.answers
    assert (second.x.item(), second.y.item()) == (whole.x.item(), whole.y.item())
    assert iterations == list(range(1, len(iterations) + 1))


def test_broken_samples_count_as_the_worst() -> None:
    assert mean_of_all(torch.tensor([1.0, 4.0]), 4) == (1 + 4 + 4 + 4) / 4
    assert mean_of_all(torch.tensor([]), 2) == math.inf


# --- fits ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def setting() -> tuple[Any, Pairs[Tensor], Pairs[Tensor]]:
    flow = mixture()
    return flow, pairs(flow, 64, 0), pairs(flow, 64, 1)


def test_lower_loss_than_adam_for_the_same_gradients(setting: tuple[Any, Pairs[Tensor], Pairs[Tensor]]) -> None:
    """On the pairs that both have learned from, which are what both minimise."""
    flow, train, _ = setting
    config = FitConfig(optimiser="adam", phases=("joint",), steps=40)
    adam = fit(flow, train, train, SOLVER, 5, config)
    newton = fit(flow, train, train, SOLVER, 5, dataclasses.replace(config, optimiser="bfgs"))
    assert newton.gradient_evaluations <= adam.gradient_evaluations == 5 * 64 * 40
    assert newton.loss_learned < 0.9 * adam.loss_learned


@pytest.mark.parametrize(("last_phase", "first_batch"), [("joint", 0), ("all", 0), ("all", 16)])
def test_interrupted_fit_goes_on_to_the_same_result(
    setting: tuple[Any, Pairs[Tensor], Pairs[Tensor]], tmp_path: Path, last_phase: Phase, first_batch: int
) -> None:
    flow, train, valid = setting
    config = dataclasses.replace(
        QUICK, phases=("times", last_phase), batch=40, first_batch=first_batch, validate_every=4, patience=10
    )
    whole = fit(flow, train, valid, SOLVER, 4, config)

    class Killed(Exception):
        pass

    def kill_at(at: Point) -> None:
        def progress(point: Point) -> None:
            if (point.step, point.phase) == (at.step, at.phase):
                raise Killed

        with pytest.raises(Killed):
            fit(flow, train, valid, SOLVER, 4, config, folder=tmp_path, on_progress=progress)

    assert len(whole.curve) > 4
    for point in (whole.curve[0], whole.curve[2], whole.curve[-2], whole.curve[-1]):
        kill_at(point)
    resumed = fit(flow, train, valid, SOLVER, 4, config, folder=tmp_path)
    assert resumed.grid.to_json() == whole.grid.to_json()
    assert [(p.step, p.train, p.valid) for p in resumed.curve] == [(p.step, p.train, p.valid) for p in whole.curve]
    assert resumed.network_evaluations == whole.network_evaluations


@pytest.mark.parametrize("optimiser", ["adam", "bfgs"])
def test_a_budget_of_evaluations_is_kept(optimiser: Any) -> None:  # noqa: ANN401
    flow = counting()
    train, valid = pairs(flow, 16, 0), pairs(flow, 8, 1)
    flow.evaluations = 0
    config = FitConfig(optimiser=optimiser, phases=("joint",), max_evaluations=1500, validate_every=4)
    result = fit(flow, train, valid, SOLVER, 4, config)
    assert result.network_evaluations == flow.evaluations
    assert 1500 - 4 * (16 + 8) < result.network_evaluations <= 1500


def test_seed_draws_the_batch(setting: tuple[Any, Pairs[Tensor], Pairs[Tensor]]) -> None:
    flow, train, valid = setting
    config = dataclasses.replace(QUICK, batch=16, steps=6)
    grids = [fit(flow, train, valid, SOLVER, 4, dataclasses.replace(config, seed=seed)).grid for seed in (0, 0, 1)]
    assert torch.equal(grids[0].solver["x"], grids[1].solver["x"])
    assert not torch.equal(grids[0].solver["x"], grids[2].solver["x"])


def test_a_sample_that_breaks_costs_nobody_else_the_fit(
    setting: tuple[Any, Pairs[Tensor], Pairs[Tensor]],
) -> None:
    flow, train, valid = setting
    broken = Breaking(flow.schedule, flow.mean, flow.std, flow.weight)
    sound = torch.nonzero(valid.start[:, 0] >= -150.0)[:, 0]
    result = fit(broken, train, valid.take(sound), SOLVER, 4, QUICK)
    lost = int((train.start[:, 0] < -150.0).sum())
    assert lost > 0
    assert result.failed == lost * result.curve[-1].step
    assert result.loss_learned < 0.7 * result.loss_initial


def test_a_first_search_on_few_pairs_comes_before_each_phase() -> None:
    flow = counting()
    train, valid = pairs(flow, 16, 0), pairs(flow, 8, 1)
    flow.evaluations = 0
    config = FitConfig(optimiser="bfgs", phases=("times", "joint"), steps=5, first_batch=4, first_steps=6)
    result = fit(flow, train, valid, SOLVER, 4, dataclasses.replace(config, validate_every=100))
    assert result.network_evaluations == flow.evaluations
    assert [point.step for point in result.curve] == [0, 6, 11, 17, 22]
    assert result.gradient_evaluations == 4 * 2 * (6 * 4 + 5 * 16)


def test_config_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="first_batch must be 0 with optimiser 'adam', got 4"):
        FitConfig(optimiser="adam", first_batch=4)
    with pytest.raises(ValueError, match=r"optimiser must be one of adam, bfgs, gauss-newton, got 'sgd'"):
        FitConfig(optimiser="sgd")  # type: ignore[arg-type]
    for radius in (0.1, {"x": 0.1}):
        with pytest.raises(ValueError, match=r"radius must be 0 with optimiser 'bfgs'"):
            FitConfig(optimiser="bfgs", radius=radius)
