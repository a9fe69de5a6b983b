"""The loop: evaluations, ragged batches, checkpointing, the step to λ = +inf, types."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from flows import F64, GaussianFlow, Pose, PoseFlow, RotationFlow
from torch import Tensor

from ld3 import (
    EDM,
    HAND_MADE,
    SOLVERS,
    Clock,
    EuclideanFlow,
    Grid,
    Levels,
    Solver,
    Tangent,
    VPLinear,
    get_solver,
    integrate,
    solve,
)
from ld3.learn import FitConfig, FitResult, Teacher, WarpConfig, fit, fit_warp, run_teacher
from ld3.state import take

each_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())


class CountingFlow(GaussianFlow):
    calls = 0

    def displacement(self, x: Tensor, levels: Levels) -> Tangent:
        self.calls += 1
        return super().displacement(x, levels)


@each_solver
def test_every_evaluation_is_paid_for_and_used(solver: Solver) -> None:
    flow = CountingFlow(EDM())
    x = flow.prior(2, torch.Generator().manual_seed(0))
    seen: list[tuple[int, int]] = []
    grid = HAND_MADE["edm"](flow.clock, solver.steps(6))
    end = integrate(flow, x, grid, solver, on_step=lambda i, n, _: seen.append((i, n)))
    assert flow.calls == 6
    assert seen == [(i + 1, grid.n_steps) for i in range(grid.n_steps)]
    assert end.dtype == F64


def test_budgets_that_cannot_be_spent_are_refused() -> None:
    for name, nfe in (("ddim", 0), ("unipc_bh1_3", -4), ("heun", 5)):
        with pytest.raises(ValueError, match=rf"nfe must be a positive multiple of \d for {name}, got {nfe}"):
            get_solver(name).steps(nfe)
    with pytest.raises(ValueError, match=r"one of ddim, euler_lambda, heun.* got 'dopri5'"):
        get_solver("dopri5")


def without_padding(x: Pose, i: int) -> Pose:
    alone = take(x, [i])
    count = int(alone.mask.sum())
    return alone._replace(angles=alone.angles[:, :count], mask=alone.mask[:, :count])


@each_solver
def test_ragged_batch_equals_one_by_one(solver: Solver) -> None:
    flow = PoseFlow()
    x = flow.prior(6, torch.Generator().manual_seed(0))
    counts = x.mask.sum(1)
    assert counts.min() == 0
    assert counts.max() == 4
    grid = HAND_MADE["edm"](flow.clock, 4)
    together = integrate(flow, x, grid, solver)
    assert (together.angles[~x.mask] == 0).all()
    for i in range(6):
        alone, ours = integrate(flow, without_padding(x, i), grid, solver), without_padding(together, i)
        for a, b in zip(alone, ours, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@each_solver
def test_checkpointing_changes_nothing(solver: Solver) -> None:
    flow = PoseFlow()
    x = flow.prior(3, torch.Generator().manual_seed(2))
    plain = HAND_MADE["uniform_log_snr"](flow.clock, 4)
    results = []
    for checkpoint in (False, True):
        solver_levels = {name: lam.clone().requires_grad_() for name, lam in plain.solver.items()}
        network = {name: lam.clone().requires_grad_() for name, lam in plain.network.items()}
        end = integrate(flow, x, Grid(solver_levels, network), solver, checkpoint=checkpoint)
        leaves = [*solver_levels.values(), *network.values()]
        loss = flow.distance(end, x).mean()
        results.append([loss, *torch.autograd.grad(loss, leaves)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@each_solver
@pytest.mark.parametrize("n_steps", [1, 2, 5])
def test_the_last_step_may_go_all_the_way(solver: Solver, n_steps: int) -> None:
    flow = PoseFlow()
    x = flow.prior(3, torch.Generator().manual_seed(3))
    grid = HAND_MADE["edm"](flow.clock, n_steps)

    def run(last: float) -> tuple[Pose, list[Tensor]]:
        levels = {
            name: torch.cat([lam[:-1], torch.tensor([last], dtype=F64)]).requires_grad_()
            for name, lam in grid.solver.items()
        }
        end = integrate(flow, x, Grid(levels, grid.network), solver)
        gradients = torch.autograd.grad(flow.distance(end, x).mean(), list(levels.values()))
        return end, list(gradients)

    if solver.finite_end:
        with pytest.raises(ValueError, match=f"finite λ for {solver.name}, got solver"):
            run(math.inf)
        return
    # e^-40 is nothing next to 1: the limit is reached without infinities.
    (end, gradients), (limit, limit_gradients) = run(math.inf), run(40.0)
    for ours, expected in zip([*end, *gradients], [*limit, *limit_gradients], strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_one_full_ddim_step_lands_on_the_clean_prediction() -> None:
    flow = RotationFlow()
    x = flow.prior(4, torch.Generator().manual_seed(0))
    lam = torch.tensor([-0.4, math.inf], dtype=F64)
    end = integrate(flow, x, Grid({"rotation": lam}, {"rotation": lam[:1]}), get_solver("ddim"))
    torch.testing.assert_close(end, flow.retract(x, flow.displacement(x, {"rotation": lam[0]})))


class HalfFlow(EuclideanFlow):
    def noise(self, x_t: Tensor, t: Tensor) -> Tensor:
        assert (x_t.dtype, t.dtype, t.shape) == (self.dtype, self.dtype, ())
        return torch.tanh(x_t)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@each_solver
def test_the_state_keeps_its_type(solver: Solver, dtype: torch.dtype) -> None:
    flow = HalfFlow(VPLinear(), (2,), dtype=dtype)
    x = flow.prior(3, torch.Generator().manual_seed(0))
    end = integrate(flow, x, HAND_MADE["uniform_log_snr"](flow.clock, 4), solver)
    assert end.dtype == dtype
    double = HalfFlow(VPLinear(), (2,), dtype=F64)
    exact = integrate(double, x.double(), HAND_MADE["uniform_log_snr"](double.clock, 4), solver)
    # The start is 1/α(1) = 150 times larger than the end.
    torch.testing.assert_close(end.double(), exact, rtol=0, atol=2000 * torch.finfo(dtype).eps)


def test_a_grid_of_other_factors_is_refused() -> None:
    flow = GaussianFlow(EDM())
    grid = HAND_MADE["edm"](PoseFlow().clock, 3)
    with pytest.raises(ValueError, match=r"factors \['x'\], got \['angles', 'position', 'rotation'\]"):
        integrate(flow, flow.prior(1, torch.Generator()), grid, get_solver("ddim"))


@each_solver
def test_a_caller_may_answer_the_questions_of_a_solver(solver: Solver) -> None:
    """Stepped by hand, with the levels of the network in the questions, the generator does what `integrate` does."""
    flow = PoseFlow()
    x = flow.prior(3, torch.Generator().manual_seed(4))
    grid = HAND_MADE["edm"](flow.clock, 3)
    steps = solve(x, grid, solver, flow.retract)
    question, asked = next(steps), []
    end = None
    while end is None:
        asked.append({name: lam.item() for name, lam in question[1].items()})
        try:
            question = steps.send(flow.displacement(*question))
        except StopIteration as stop:
            end = stop.value
    nodes = [{name: lam[k].item() for name, lam in grid.solver.items()} for k in range(4)]
    expected = [nodes[0], nodes[1], nodes[1], nodes[2], nodes[2], nodes[3]] if solver.reevaluate else nodes[:3]
    assert asked == expected
    for ours, theirs in zip(end, integrate(flow, x, grid, solver), strict=True):
        assert torch.equal(ours, theirs)


class DottedFlow(GaussianFlow):
    """A factor whose name torch would not take for a parameter."""

    def __init__(self) -> None:
        super().__init__(EDM())
        self.clock = Clock({"a.b": self.schedule, "keys": self.schedule})
        self.prior_scale = {"a.b": 80.0, "keys": 80.0}

    def prior(self, n: int, generator: torch.Generator) -> Tensor:
        return 80 * torch.randn(n, 3, generator=generator, dtype=F64)

    def displacement(self, x: Tensor, levels: Levels) -> Tangent:
        lam = torch.stack([levels["a.b"], levels["a.b"], levels["keys"]])
        d = (self.mean - x) * self.std**2 / (self.std**2 + torch.exp(-2 * lam))
        return {"a.b": d[:, :2], "keys": d[:, 2:]}

    def retract(self, x: Tensor, v: Tangent) -> Tensor:
        return x + torch.cat([v["a.b"], v["keys"]], 1)

    def zero_tangent(self, x: Tensor) -> Tangent:
        return {"a.b": torch.zeros_like(x[:, :2]), "keys": torch.zeros_like(x[:, 2:])}

    def norm(self, v: Tangent) -> dict[str, Tensor]:
        return {name: part.norm(dim=1) for name, part in v.items()}


def test_factors_may_have_any_name(tmp_path: Path) -> None:
    flow = DottedFlow()
    pairs = run_teacher(flow, flow.prior(12, torch.Generator().manual_seed(0)), Teacher(nfe=32, checked=1))
    config = FitConfig(optimiser="adam", steps=3, validate_every=1, shared_clock=False, phases=("all",))
    result = fit(flow, pairs, pairs, get_solver("dpmpp_2m"), 3, config)
    assert result.loss_learned < result.loss_initial
    result.save(tmp_path / "fit.json")
    assert FitResult.load(tmp_path / "fit.json").grid == result.grid
    warp = fit_warp(flow, pairs, pairs, get_solver("ddim"), (3, 4), WarpConfig(iterations=2, shared_clock=False))
    assert set(warp.warp(3).solver) == {"a.b", "keys"}
