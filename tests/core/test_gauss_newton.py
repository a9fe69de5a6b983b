"""Gauss-Newton: the minimiser against known minima, its curvature against finite differences, and fits that use it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from flows import F64, AngleFlow, MixtureFlow
from mixture_fits import mixture, pairs
from torch import Tensor, nn

from ld3.grids.hand_made import HAND_MADE
from ld3.learn import FitConfig, FitResult, Pairs, Point, fit
from ld3.learn.gauss_newton import GaussNewton
from ld3.learn.objective import Objective
from ld3.learn.student import Student
from ld3.learn.variables import Variable, Variables
from ld3.solvers import get_solver, integrate

SOLVER = get_solver("dpmpp_2m")
CONFIG = FitConfig(optimiser="gauss-newton", steps=20, initial_grid="uniform_log_snr", validate_every=1)


def bend(point: Tensor) -> Tensor:
    """What Rosenbrock's valley squares: both are zero at (1, 1)."""
    x, y = point
    return torch.stack([10 * (y - x**2), 1 - x])


class Valley:
    """100 (y - x²)² + (1 - x)² from (-1.2, 1), and its Jacobian."""

    def __init__(self, unit: float = 1.0, lowest: float = -math.inf) -> None:
        self.point = nn.Parameter(torch.tensor([-1.2, 1.0], dtype=F64))
        self.variables = [Variable(self.point, unit, lowest)]
        self.unit, self.evaluations = unit, 0

    def evaluate(self) -> float:
        self.evaluations += 1
        self.point.grad = None
        loss = bend(self.point).square().sum()
        loss.backward()
        return loss.item()

    def curvature(self, variables: Variables) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        jacobian = torch.autograd.functional.jacobian(bend, self.point.detach()) * self.unit
        return np.asarray(jacobian.T @ jacobian)


@pytest.mark.parametrize("unit", [1.0, 0.3])
def test_minimum_of_a_valley_in_few_steps(unit: float) -> None:
    valley = Valley(unit)
    search = GaussNewton(valley.variables)
    search.run(valley.evaluate, valley.curvature, lambda: False, lambda answer: None)
    assert valley.point.tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
    assert valley.evaluations < 60
    assert search.answer is not None
    assert search.answer[0] == pytest.approx(bend(valley.point).square().sum().item(), abs=1e-15)


def test_what_is_linear_is_solved_at_once() -> None:
    """The damping of a thousandth leaves a thousandth of the way."""
    matrix = torch.randn(12, 4, generator=torch.Generator().manual_seed(0), dtype=F64)
    goal = torch.randn(12, generator=torch.Generator().manual_seed(1), dtype=F64)
    point = nn.Parameter(torch.zeros(4, dtype=F64))

    def evaluate() -> float:
        point.grad = None
        loss = (matrix @ point - goal).square().sum()
        loss.backward()
        return loss.item()

    steps: list[Tensor] = []
    curvature = np.asarray(matrix.T @ matrix)
    search = GaussNewton([Variable(point)])
    search.run(evaluate, lambda v: curvature, lambda: False, lambda answer: steps.append(point.detach().clone()))
    solution = torch.linalg.lstsq(matrix, goal[:, None]).solution[:, 0]
    assert (steps[0] - solution).norm() < 2e-3 * solution.norm()
    torch.testing.assert_close(point.detach(), solution, rtol=1e-5, atol=1e-6)


def test_a_bound_holds_and_is_left_where_the_loss_falls_inwards() -> None:
    valley = Valley(lowest=1.05)
    GaussNewton(valley.variables).run(valley.evaluate, valley.curvature, lambda: False, lambda answer: None)
    assert valley.point[0].item() == 1.05  # beyond which it falls on
    assert valley.point[1].item() == pytest.approx(1.05**2, abs=1e-3)


def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been() -> None:
    whole = Valley()
    GaussNewton(whole.variables).run(whole.evaluate, whole.curvature, lambda: False, lambda answer: None)
    parts = Valley()
    first = GaussNewton(parts.variables)
    first.run(parts.evaluate, parts.curvature, lambda: parts.evaluations >= 6, lambda answer: None)
    second = GaussNewton(parts.variables, first.answer, first.damping)
    second.run(parts.evaluate, parts.curvature, lambda: False, lambda answer: None)
    torch.testing.assert_close(parts.point, whole.point, rtol=0, atol=1e-9)


@pytest.mark.parametrize("scale", [None, 0.05])
@pytest.mark.parametrize("solver", ["dpmpp_2m", "unipc_bh1_3"])
def test_curvature_and_gradient_are_those_of_finite_differences(solver: str, scale: float | None) -> None:
    """Of the residuals one by one: JᵀJ, weighted by the slope of a bounded distance; and Jᵀr."""
    flow = mixture()
    train = pairs(mixture(), 6, 0)
    config = FitConfig(scale=scale, chunk=32)
    objective = Objective(flow, train, train, 3, config)
    rule = get_solver(solver)
    student = Student(HAND_MADE["uniform_log_snr"](flow.clock, 3), rule, True, ("all",), 3)
    own = student.variables("all", 0.3)
    with torch.no_grad():
        student.grid.first_offset[0].fill_(0.2)  # its derivative is not zero there
    variables = Variables(own)
    point = variables.point()

    def residuals(at: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Tensor:
        variables.move(at)
        with torch.no_grad():
            return flow.residual(integrate(flow, train.start, *student()), train.end)

    columns = []
    for k in range(len(variables)):
        step = np.zeros(len(variables))
        step[k] = 1e-5
        columns.append((residuals(point + step) - residuals(point - step)) / 2e-5)
    jacobian = torch.stack(columns)  # (P, n, m)
    here = residuals(point)
    distance = here.square().sum(1)
    slope = torch.ones_like(distance) if scale is None else scale**2 / (distance + scale**2) ** 2
    expected = torch.einsum("pnm,n,qnm->pq", jacobian, slope, jacobian) / len(train)
    found = objective.curvature(student, torch.arange(len(train)), variables)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-6 * float(expected.abs().max()))
    objective.differentiate(student, torch.arange(len(train)))
    slopes = 2 * torch.einsum("pnm,n,nm->p", jacobian, slope, here) / len(train)
    np.testing.assert_allclose(variables.gradient(), slopes.numpy(), rtol=1e-4, atol=1e-6 * float(slopes.abs().max()))
    assert objective.cost.directions == 3 * len(train) * len(variables)


def fitted(config: FitConfig, train: Pairs[Tensor], valid: Pairs[Tensor], folder: Path | None = None) -> FitResult:
    return fit(mixture(), train, valid, SOLVER, 4, config, folder=folder)


@pytest.mark.slow
def test_it_ends_lower_than_bfgs_after_as_many_evaluations() -> None:
    train, valid = pairs(mixture(), 48, 0), pairs(mixture(), 200, 1)
    config = dataclasses.replace(CONFIG, max_evaluations=20_000, steps=1000, validate_every=1000, chunk=256)
    found = fitted(config, train, valid)
    other = fitted(dataclasses.replace(config, optimiser="bfgs"), train, valid)
    assert found.network_evaluations <= 20_000
    assert found.loss_learned < 0.5 * other.loss_learned
    assert found.direction_evaluations > found.gradient_evaluations


def test_a_first_search_and_a_curvature_of_few_pairs() -> None:
    """Every gradient costs the batch, every Jacobian the few pairs; the check before the fit one."""
    train, valid = pairs(mixture(), 24, 0), pairs(mixture(), 24, 1)
    config = dataclasses.replace(CONFIG, first_batch=8, first_steps=15, curvature_batch=6, validate_every=1000)
    found = fitted(config, train, valid)
    assert found.loss_learned < 0.5 * found.loss_hand_made
    numbers = 4 + 4 + 1 + 4 * 2  # times, levels, the first level's offset, two weights a step
    in_jacobians = found.direction_evaluations / 4 / numbers
    assert (in_jacobians - 1) % 6 == 0
    assert (found.gradient_evaluations / 4 - in_jacobians) % 8 == 0
    assert found.gradient_evaluations / 4 <= 15 * (8 + 6) + 20 * (24 + 6) + 1


def test_a_fit_that_was_interrupted_goes_on_to_the_same_end(tmp_path: Path) -> None:
    train, valid = pairs(mixture(), 8, 0), pairs(mixture(), 8, 1)
    config = dataclasses.replace(CONFIG, steps=7)
    whole = fitted(config, train, valid)

    class _Stop(Exception):
        pass

    def stop(point: Point) -> None:
        if point.step >= 3:
            raise _Stop

    with pytest.raises(_Stop):
        fit(mixture(), train, valid, SOLVER, 4, config, folder=tmp_path, on_progress=stop)
    resumed = fitted(config, train, valid, tmp_path)
    assert resumed.loss_learned == whole.loss_learned
    assert resumed.network_evaluations == whole.network_evaluations
    assert resumed.direction_evaluations == whole.direction_evaluations


def test_refusals() -> None:
    with pytest.raises(ValueError, match="curvature_batch must be 0 with optimiser 'bfgs', got 3"):
        FitConfig(curvature_batch=3)
    with pytest.raises(ValueError, match="radius must be 0 with optimiser 'gauss-newton'"):
        FitConfig(optimiser="gauss-newton", radius=0.1)
    torus = AngleFlow()
    start = torus.prior(4, torch.Generator().manual_seed(0))
    some = Pairs(start, start, torch.zeros(1), True, 0)
    with pytest.raises(ValueError, match="AngleFlow has no residual, which optimiser 'gauss-newton' needs; use 'bfgs'"):
        fit(torus, some, some, SOLVER, 4, CONFIG)


def test_networks_without_forward_derivatives_are_refused_before_the_fit() -> None:
    class Deaf(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, *gradients: Tensor) -> Tensor:
            return gradients[0]

    class DeafFlow(MixtureFlow):
        def noise(self, x_t: Tensor, t: Tensor) -> Tensor:
            found: Tensor = Deaf.apply(super().noise(x_t, t))  # type: ignore[no-untyped-call]
            return found

        def fingerprint(self) -> str:
            return "deaf"

    plain = mixture()
    flow = DeafFlow(plain.schedule, plain.mean, plain.std, plain.weight)
    train = pairs(plain, 4, 0)
    with pytest.raises(ValueError, match=r"forward derivatives, side by side, which this flow does not give.*'bfgs'"):
        fit(flow, train, train, SOLVER, 4, CONFIG)
