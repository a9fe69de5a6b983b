"""The general student: weights over all past answers, and a first step with the mean of the data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from flows import F64, AngleFlow, GaussianFlow, PoseFlow, RotationFlow
from torch import Tensor

from ld3 import EDM, HAND_MADE, SOLVERS, Grid, Solver, get_solver, integrate
from ld3.geometry import so3
from ld3.grids import uniform_log_snr
from ld3.learn import FitConfig, FitResult, LearnedCoefficients, Teacher, fit, run_teacher
from ld3.learn.student import Student
from ld3.solvers import Coefficients, solve

N = 4
MULTISTEP = {name: solver for name, solver in SOLVERS.items() if not solver.reevaluate}
MANIFOLDS: dict[str, Callable[[], GaussianFlow | AngleFlow | RotationFlow]] = {
    "R^n": lambda: GaussianFlow(EDM(0.05, 10.0)),
    "T^m": AngleFlow,
    "SO(3)": RotationFlow,
}


def all_weights(grid: Grid, seed: int) -> Coefficients:
    generator = torch.Generator().manual_seed(seed)
    n = grid.n_steps
    return Coefficients({f: 0.1 * torch.randn(n, n, generator=generator, dtype=F64) for f in grid.solver}, {})


@pytest.mark.parametrize("solver", MULTISTEP.values(), ids=MULTISTEP.keys())
def test_weights_of_zero_over_all_answers_are_the_published_solver(solver: Solver) -> None:
    """Also where its first step is taken with the mean."""
    flow = PoseFlow()
    x = flow.prior(3, torch.Generator().manual_seed(1))
    grid = HAND_MADE["edm"](flow.clock, N)
    for base in (solver, replace(solver, data_mean=flow.data_mean(x))):
        learned = LearnedCoefficients(base, list(grid.solver), N, depth=100)()
        assert learned.coefficients is not None and learned.coefficients.depth == N
        assert flow.distance(integrate(flow, x, grid, learned), integrate(flow, x, grid, base)).max() < 1e-24


def test_any_weights_over_past_states_and_answers_are_weights_over_past_answers() -> None:
    """GS (arXiv 2510.17699): x_k+1 = Σ a_ki x_i + Σ c_ki m_i, with a of any sum. Taken literally, and with our weights.

    A first step that is not taken makes the mean, here the origin, one of the answers.
    """
    flow = GaussianFlow(EDM(0.05, 10.0))
    generator = torch.Generator().manual_seed(2)
    start = flow.prior(5, generator)
    levels = uniform_log_snr(flow.clock, N).solver["x"]
    states_of, answers_of = (torch.randn(N, N, generator=generator, dtype=F64) / 2 for _ in range(2))

    states, answers = [start], []
    for k in range(N):
        lam = {"x": levels[k]}
        answers.append(states[k] + flow.displacement(states[k], lam)["x"])
        seen = torch.stack([*states, *answers])
        states.append(torch.tensordot(torch.cat([states_of[k, : k + 1], answers_of[k, : k + 1]]), seen, 1))

    # Coordinates of every state in (origin, x_0, m_0 .. m_N-1), those of the origin such that they sum to 1.
    identity = torch.eye(N + 2, dtype=F64)
    points, origin = [identity[1]], identity[0]
    for k in range(N):
        own = states_of[k, : k + 1] @ torch.stack(points) + answers_of[k, : k + 1] @ identity[2 : k + 3]
        points.append(own + (1 - own.sum()) * origin)
    grid = Grid.coupled({"x": torch.cat([levels[:1] - 1e-3, levels])})
    table = torch.zeros(N + 1, N + 1, dtype=F64)
    table[0, -1] = -1.0  # the first step stays where it is
    for k in range(N):
        known = [origin, *(identity[i + 2] for i in range(k + 1))]
        moves = torch.stack([point - points[k] for point in known], 1)
        weights = torch.linalg.lstsq(moves, (points[k + 1] - points[k])[:, None]).solution[:, 0]
        table[k + 1, -k - 2 :] = weights / -torch.expm1(levels[k] - levels[k + 1])
        table[k + 1, -1] -= 1.0  # DDIM's own
    ours = replace(
        get_solver("ddim"), coefficients=Coefficients({"x": table}, {}), data_mean={"x": torch.zeros(3, dtype=F64)}
    )
    torch.testing.assert_close(integrate(flow, start, grid, ours), states[-1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("space", MANIFOLDS)
def test_weights_on_old_answers_keep_the_second_order(space: str) -> None:
    """A slope taken from an answer three steps back, u = (1 - e^-h)(d_0 + (d_0 - d_3)/2r), through the re-based
    displacements.
    """
    flow = MANIFOLDS[space]()

    def error(n: int) -> float:
        x = flow.prior(8, torch.Generator().manual_seed(0))
        grid = uniform_log_snr(flow.clock, n)
        ((factor, lam),) = grid.solver.items()
        table = torch.zeros(n, 4, dtype=F64)
        table[1, 2:] = torch.tensor([-0.5, 0.5])
        table[2, 1:] = torch.tensor([-0.25, 0.0, 0.25])
        table[3:] = torch.tensor([-1.0, 0.0, 0.0, 1.0]) / 6
        student = replace(get_solver("ddim"), coefficients=Coefficients({factor: table}, {}))
        end = integrate(flow, x, grid, student)
        return flow.distance(end, flow.solution(x, lam[0], lam[-1])).mean().sqrt().item()

    assert 1.8 < math.log2(error(64) / error(128)) < 2.3


def test_turning_the_frame_turns_the_end() -> None:
    flow, turned = RotationFlow(), RotationFlow()
    q = so3.exp(torch.tensor([0.4, -1.1, 0.8], dtype=F64))
    turned.goal, turned.matrix = q @ flow.goal, q @ flow.matrix @ q.mT
    x = flow.prior(6, torch.Generator().manual_seed(3))
    grid = HAND_MADE["edm"](flow.clock, N)
    student = replace(get_solver("dpmpp_2m"), coefficients=all_weights(grid, 4))
    ends = integrate(flow, x, grid, student), integrate(turned, q @ x, grid, student)
    torch.testing.assert_close(ends[1], q @ ends[0], rtol=1e-9, atol=1e-9)
    assert flow.distance(ends[0], integrate(flow, x, grid, get_solver("dpmpp_2m"))).min() > 1e-6


def test_whole_turns_do_not_matter() -> None:
    flow = AngleFlow()
    x = flow.prior(6, torch.Generator().manual_seed(3))
    grid = HAND_MADE["edm"](flow.clock, N)
    student = replace(get_solver("dpmpp_2m"), coefficients=all_weights(grid, 4))
    ends = integrate(flow, x, grid, student), integrate(flow, x + 2 * math.pi, grid, student)
    assert flow.distance(*ends).max() < 1e-20


def test_the_first_answer_is_that_of_the_network_at_more_and_more_noise() -> None:
    """For a Gaussian, what is missing is s²/(s² + σ²) of the way from the mean: a hundredth at ten times the noise."""
    missing = []
    for noise in (100.0, 1000.0):
        flow = GaussianFlow(EDM(0.05, noise))
        x = flow.prior(4, torch.Generator().manual_seed(0))
        asked = flow.displacement(x, {"x": torch.tensor(-math.log(noise), dtype=F64)})["x"]
        missing.append((flow.to_mean(x, {"x": flow.mean})["x"] - asked).norm() / asked.norm())
    assert missing[0] < 1e-3
    assert math.isclose(missing[0] / missing[1], 100, rel_tol=0.01)


def test_a_first_step_with_the_mean_costs_nothing() -> None:
    """One step more for as many evaluations, and the step is DDIM's to the mean."""
    flow = GaussianFlow(EDM(0.05, 10.0))
    solver = replace(get_solver("unipc_bh1_2"), data_mean={"x": flow.mean})
    x = flow.prior(4, torch.Generator().manual_seed(0))
    assert solver.steps(3) == 4 and solver.evaluations(4) == 3
    grid = uniform_log_snr(flow.clock, solver.steps(3))
    lam = grid.solver["x"]
    steps = solve(x, grid, solver, flow.retract, to_mean=lambda x: flow.to_mean(x, {"x": flow.mean}))
    question, asked = next(steps), []
    for _ in range(2):
        asked.append(question)
        question = steps.send(flow.displacement(*question))
    asked.append(question)
    with pytest.raises(StopIteration) as end:
        steps.send(flow.displacement(*question))
    shrunk = flow.mean + torch.exp(lam[0] - lam[1]) * (x - flow.mean)
    torch.testing.assert_close(asked[0][0], shrunk, rtol=1e-12, atol=1e-12)
    assert asked[0][1]["x"] == lam[1]
    torch.testing.assert_close(end.value.value, integrate(flow, x, grid, solver), rtol=0, atol=0)


def test_what_has_no_mean_says_so() -> None:
    flow, rotations = GaussianFlow(EDM(0.05, 10.0)), RotationFlow()
    x = flow.prior(1, torch.Generator())
    with pytest.raises(ValueError, match="RotationFlow has no data_mean, which an analytical first step needs"):
        rotations.data_mean(rotations.prior(1, torch.Generator()))
    mean = flow.data_mean(x)
    with pytest.raises(ValueError, match="data_mean must be None for heun, which evaluates every step twice"):
        replace(get_solver("heun"), data_mean=mean)
    with pytest.raises(ValueError, match="to_mean must be given for ddim with a data_mean"):
        next(solve(x, uniform_log_snr(flow.clock, 2), replace(get_solver("ddim"), data_mean=mean), flow.retract))


def test_a_fit_with_all_of_it_lands_nearer_and_is_kept(tmp_path: Path) -> None:
    flow = GaussianFlow(EDM(0.05, 20.0))
    pairs = run_teacher(flow, flow.prior(96, torch.Generator().manual_seed(0)), Teacher(nfe=32))
    train, valid = pairs.take(slice(0, 64)), pairs.take(slice(64, 96))
    config = FitConfig(optimiser="bfgs", phases=("all",), steps=40, coefficient_depth=100)
    plain = fit(flow, train, valid, get_solver("dpmpp_2m"), 1, replace(config, coefficient_depth=0))
    solver = replace(get_solver("dpmpp_2m"), data_mean=flow.data_mean(train.end))
    found = fit(flow, train, valid, solver, 1, config)
    assert found.grid.n_steps == 2 and found.nfe == 1
    assert found.loss_learned < 0.5 * plain.loss_learned
    found.save(tmp_path / "fit.json")
    loaded = FitResult.load(tmp_path / "fit.json")
    ends = [integrate(flow, valid.start, result.grid, result.student()) for result in (found, loaded)]
    assert torch.equal(*ends)
    assert float(flow.distance(ends[0], valid.end).mean()) == pytest.approx(found.loss_learned)


def test_every_weight_has_a_gradient() -> None:
    """Row k weighs the mean and k answers; the level that the mean stands at is not given to the network."""
    flow = GaussianFlow(EDM(0.05, 20.0))
    x = flow.prior(6, torch.Generator().manual_seed(0))
    solver = replace(get_solver("ipndm_3"), data_mean=flow.data_mean(x))
    student = Student(uniform_log_snr(flow.clock, N), solver, True, ("all",), 100)
    end: Tensor = integrate(flow, x, *student())
    (end * torch.arange(18).view(6, 3)).sum().backward()
    assert student.coefficients is not None
    (table,) = student.coefficients.predictor
    assert table.grad is not None
    assert torch.equal(table.grad != 0, torch.ones(N, N, dtype=torch.bool).tril().flip(1))
