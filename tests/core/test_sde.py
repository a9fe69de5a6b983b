"""Stochastic solvers against the solution of the linear SDE, against each other, and as students of a fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from flows import F64, GaussianFlow
from torch import Tensor

from ld3 import VE, FitConfig, Grid, get_solver, integrate, learn_grid
from ld3.grids import edm, uniform_t
from ld3.learn import Pairs, fit
from ld3.learn.loss import soft_loss
from ld3.solvers import EULER_MARUYAMA, EXPONENTIAL_SDE, Node, noise_from
from ld3.solvers.sde import euler_maruyama, exponential

SCHEDULE = VE(0.02, 20.0)


def moved(step: tuple[object, object], lam: float, h: float) -> tuple[float, float]:
    """Share of a displacement of 1 that a step goes, and the variance that it adds."""
    rule, spread = step
    first, last = torch.tensor(lam, dtype=F64), torch.tensor(lam + h, dtype=F64)
    one = torch.ones(1, dtype=F64)
    share = rule([Node(first, -one, one)], last)  # type: ignore[operator]
    return float(share), float(spread(first, last, 1.0)) ** 2  # type: ignore[operator]


@pytest.mark.parametrize("tau", [0.4, 0.5, 1.0, 3.0])
def test_two_exponential_steps_are_one(tau: float) -> None:
    """With τ and the clean prediction held still the step solves the SDE, so that its parts compose."""
    step = exponential(lambda lam: torch.full_like(lam, tau), 0.7)
    (a, u), (b, v), (c, w) = moved(step, 0.2, 0.3), moved(step, 0.5, 0.9), moved(step, 0.2, 1.2)
    np.testing.assert_allclose(1 - c, (1 - a) * (1 - b), rtol=1e-12)
    np.testing.assert_allclose(w, (1 - b) ** 2 * u + v, rtol=1e-9)


@pytest.mark.parametrize("tau", [0.5, 1.0, 3.0])
def test_short_steps_are_those_of_euler_and_maruyama(tau: float) -> None:
    def drift(lam: Tensor) -> Tensor:
        return tau * torch.exp(0.1 * lam)

    for h in (1e-4, 1e-5):
        exact, euler = moved(exponential(drift, 0.3), 1.0, h), moved(euler_maruyama(drift, 0.3), 1.0, h)
        np.testing.assert_allclose(exact, euler, rtol=10 * tau * h)


def test_one_exponential_step_reaches_a_point() -> None:
    """Where the data are one point, n steps have the moments of the SDE's solution, few as they are."""
    flow = GaussianFlow(SCHEDULE)
    flow.std = torch.zeros(3, dtype=F64)
    generator, n = torch.Generator().manual_seed(0), 20_000
    grid = uniform_t(flow.clock, 3)
    x: list[Tensor] = []
    start = flow.prior(n, generator)
    integrate(flow, start, grid, EXPONENTIAL_SDE, noise=noise_from(generator), on_step=lambda i, m, s: x.append(s))
    lam = grid.solver["x"]
    for state, level in zip(x[:2], lam[1:3], strict=True):  # the reverse SDE of a point is its forward marginal
        np.testing.assert_allclose(state.mean(0), flow.mean, atol=5 * float(torch.exp(-level)) / n**0.5)
        np.testing.assert_allclose(state.std(0), torch.exp(-level), rtol=5 / (2 * n) ** 0.5)


def test_many_exponential_steps_reach_the_data() -> None:
    flow, generator = GaussianFlow(SCHEDULE), torch.Generator().manual_seed(1)
    start = flow.prior(20_000, generator)
    x = integrate(flow, start, uniform_t(flow.clock, 300), EXPONENTIAL_SDE, noise=noise_from(generator))
    np.testing.assert_allclose(x.mean(0), flow.mean, atol=0.06)
    np.testing.assert_allclose(x.var(0), flow.std**2, rtol=0.06)


def test_noise_is_not_forgotten() -> None:
    flow = GaussianFlow(SCHEDULE)
    with pytest.raises(ValueError, match="noise must be given for exponential_sde"):
        integrate(flow, torch.zeros(2, 3, dtype=F64), uniform_t(flow.clock, 3), EXPONENTIAL_SDE)
    with pytest.raises(ValueError, match="solver must not be stochastic"):
        learn_grid(flow, 3, solver=EXPONENTIAL_SDE, start=8)


def pairs(n: int, steps: int, seed: int) -> Pairs[Tensor]:
    """Starts of noise, and data drawn apart from them: all that a stochastic sampler owes is their distribution."""
    flow, generator = GaussianFlow(SCHEDULE), torch.Generator().manual_seed(seed)
    start = flow.prior(n, generator)
    end = flow.mean.expand(n, 3)
    noise = torch.randn(n, steps - 1, 3, generator=generator, dtype=F64)
    return Pairs(start, end, torch.zeros(0), True, 0, noise={"x": noise})


@pytest.mark.parametrize("solver", [EULER_MARUYAMA, EXPONENTIAL_SDE])
def test_gradient_in_the_grid_is_that_of_finite_differences(solver: object) -> None:
    flow, found = GaussianFlow(SCHEDULE), pairs(5, 4, 2)
    solver_levels = edm(flow.clock, 4).solver["x"]

    def loss(inner: Tensor) -> Tensor:
        levels = torch.cat([solver_levels[:1], inner, solver_levels[-1:]])
        grid = Grid.coupled({"x": levels})
        return soft_loss(flow, found.start, None, found.end, grid, solver, noise=found.noise).sum()  # type: ignore[arg-type]

    inner = solver_levels[1:-1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(inner), inner)
    h = 1e-6
    for i in range(len(inner)):
        step = torch.zeros_like(inner).index_fill_(0, torch.tensor(i), h)
        slope = (loss(inner.detach() + step) - loss(inner.detach() - step)) / (2 * h)
        np.testing.assert_allclose(gradient[i], slope.detach(), rtol=1e-5)


def test_fit_of_a_stochastic_student(tmp_path: Path) -> None:
    """It ends lower than the grids made by hand, and goes on where it was interrupted."""
    flow, config = (
        GaussianFlow(SCHEDULE),
        FitConfig(optimiser="adam", phases=("times",), steps=30, learning_rate=0.1, batch=32),
    )
    train, valid = pairs(64, 3, 3), pairs(64, 3, 4)
    found = fit(flow, train, valid, EXPONENTIAL_SDE, 3, config)
    assert found.loss_learned < 0.97 * min(found.hand_made.values())

    class Stop(Exception):
        pass

    def stop(point: object) -> None:
        if getattr(point, "step", 0) >= 15:
            raise Stop

    with pytest.raises(Stop):
        fit(flow, train, valid, EXPONENTIAL_SDE, 3, config, folder=tmp_path, on_progress=stop)
    again = fit(flow, train, valid, EXPONENTIAL_SDE, 3, config, folder=tmp_path)
    assert again.loss_learned == found.loss_learned and again.grid.equals(found.grid)
    assert len(list(tmp_path.glob("fit-*.pt"))) == 1
    other = replace(train, noise={"x": train.noise["x"] + 1})  # type: ignore[index]
    fit(flow, other, valid, EXPONENTIAL_SDE, 3, replace(config, steps=1), folder=tmp_path)
    assert len(list(tmp_path.glob("fit-*.pt"))) == 2


def test_noise_must_go_with_the_solver() -> None:
    flow, config, good = GaussianFlow(SCHEDULE), FitConfig(), pairs(4, 3, 0)
    for train, solver, nfe, message in (
        (replace(good, noise=None), EXPONENTIAL_SDE, 3, "train.noise must be given for exponential_sde"),
        (good, get_solver("ddim"), 3, "train.noise must not be given for ddim"),
        (good, EXPONENTIAL_SDE, 4, r"train.noise\['x'\] must be \(4, 3, ...\), got \(4, 2, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(flow, train, train, solver, nfe, config)
