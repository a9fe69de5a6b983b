"""Learned grids, the loss, teacher pairs, and the fit."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from flows import F64, MixtureFlow, PoseFlow
from mixture_fits import ADAM, QUICK, SOLVER, Breaking, counting, mixture, pairs
from safetensors.torch import load_file
from torch import Tensor

from ld3 import HAND_MADE, Grid
from ld3.learn import (
    FitConfig,
    FitResult,
    LearnedGrid,
    Pairs,
    Phase,
    Point,
    Teacher,
    bounded,
    fit,
    other_flows,
    run_teacher,
    soft_loss,
)
from ld3.learn.ball import Ball
from ld3.learn.config import Optimiser
from ld3.learn.loss import project_to_ball
from ld3.solvers import get_solver, integrate
from ld3.state import take, tensors


@pytest.fixture(scope="module")
def setting() -> tuple[MixtureFlow, Pairs[Tensor], Pairs[Tensor]]:
    flow = mixture()
    return flow, pairs(flow, 96, 0), pairs(flow, 96, 1)


# --- LearnedGrid -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HAND_MADE)
@pytest.mark.parametrize("shared", [True, False])
def test_learned_grid_starts_as_any_hand_made_one(name: str, shared: bool) -> None:
    grid = HAND_MADE[name](PoseFlow().clock, 6)
    learned = LearnedGrid(grid, shared)()
    for factor in grid.solver:
        torch.testing.assert_close(learned.solver[factor], grid.solver[factor], rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(learned.network[factor], grid.network[factor], rtol=1e-13, atol=1e-13)


def test_levels_cannot_cross_and_ends_stay() -> None:
    clock = PoseFlow().clock
    learned = LearnedGrid(HAND_MADE["edm"](clock, 5), shared=False)
    g = torch.Generator().manual_seed(0)
    for size in (1.0, 5.0, 1e6):  # the last is what a line search may try
        with torch.no_grad():
            for p in learned.parameters():
                p.copy_(size * torch.randn(p.shape, generator=g, dtype=F64))
            grid = learned()
        for factor, (low, high) in clock.bounds.items():
            nodes, network = grid.solver[factor], grid.network[factor]
            assert nodes[0].item() == pytest.approx(low, abs=1e-12)
            assert nodes[-1].item() == pytest.approx(high, abs=1e-12)
            assert (network >= low - 1e-12).all()
            assert (network < high).all()


def test_network_levels_follow_the_solver_until_their_own_parameters_move() -> None:
    learned = LearnedGrid(HAND_MADE["edm"](mixture().clock, 4))
    with torch.no_grad():
        learned.gaps[0].copy_(torch.tensor([0.5, -0.3, 0.1, 0.2], dtype=F64))
        grid = learned()
    torch.testing.assert_close(grid.network["x"], grid.solver["x"][:-1], rtol=1e-13, atol=1e-13)
    with torch.no_grad():
        learned.first_offset[0].fill_(math.log(2.0))
        ahead = learned()
    torch.testing.assert_close(ahead.solver["x"], grid.solver["x"], rtol=0, atol=0)
    half = (grid.network["x"][0] + grid.network["x"][1]) / 2
    torch.testing.assert_close(ahead.network["x"][0], half)


def test_a_first_offset_pushed_below_zero_comes_back_to_its_gradient() -> None:
    learned = LearnedGrid(HAND_MADE["edm"](mixture().clock, 4))
    with torch.no_grad():
        learned.first_offset[0].fill_(-0.3)
    learned.project()
    learned().network["x"][0].backward()
    gradient = learned.first_offset[0].grad
    assert gradient is not None
    assert gradient.item() > 0.1


def test_a_shared_clock_scales_the_gaps_of_all_factors_alike() -> None:
    start = HAND_MADE["edm"](PoseFlow().clock, 4)
    learned = LearnedGrid(start, shared=True)
    theta = torch.tensor([0.3, -0.5, 0.2, 0.9], dtype=F64)
    with torch.no_grad():
        learned.gaps[0].copy_(theta)
    for factor, nodes in learned().solver.items():
        wide = start.solver[factor].diff() * theta.exp()
        length = start.solver[factor][-1] - start.solver[factor][0]
        torch.testing.assert_close(nodes.diff(), length * wide / wide.sum())


def test_learned_grid_refuses_what_it_cannot_learn() -> None:
    grid = HAND_MADE["edm"](mixture().clock, 3)
    endless = Grid({"x": torch.cat([grid.solver["x"][:-1], torch.tensor([torch.inf], dtype=F64)])}, grid.network)
    with pytest.raises(ValueError, match=r"finite.*inf"):
        LearnedGrid(endless)
    for shift in (-0.01, 100.0):
        with pytest.raises(ValueError, match=r"network\['x'\] from"):
            LearnedGrid(Grid(grid.solver, {"x": grid.network["x"] + shift}))
    clock = PoseFlow().clock
    start = HAND_MADE["edm"](clock, 3)
    factor, network = next(iter(start.network.items()))
    ahead = {**start.network, factor: torch.cat([network[:1] + 0.01, network[1:]])}
    with pytest.raises(ValueError, match="one clock per factor"):
        LearnedGrid(Grid(start.solver, ahead), shared=True)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_learned_grid_starts_as_a_learned_one(n: int) -> None:
    first = LearnedGrid(HAND_MADE["edm"](PoseFlow().clock, n), shared=False)
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in first.parameters():
            p.copy_(torch.randn(p.shape, generator=g, dtype=F64).abs())
        grid = first()
        again = LearnedGrid(grid, shared=False)()
    for factor in grid.solver:
        torch.testing.assert_close(again.solver[factor], grid.solver[factor], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(again.network[factor], grid.network[factor], rtol=1e-12, atol=1e-12)


# --- loss and ball ---------------------------------------------------------------------------------------------------


def test_bounded_distance_forgives_a_mode_switch() -> None:
    d = torch.tensor([0.0, 4.0, 1e8], dtype=F64)
    torch.testing.assert_close(bounded(d, 2.0), torch.tensor([0.0, 0.5, 1.0], dtype=F64), atol=1e-7, rtol=0)
    assert bounded(d, None) is d


def test_soft_loss_gradients_agree_with_finite_differences() -> None:
    """In gaps, offsets and shifts, through solver, retraction and bounded distance, on R^3 x SO(3) x T^m."""
    flow = PoseFlow()
    start = flow.prior(3, torch.Generator().manual_seed(0))
    solver = get_solver("unipc_bh1_2")
    end = integrate(flow, start, HAND_MADE["uniform_log_snr"](flow.clock, 30), SOLVER)
    learned = LearnedGrid(HAND_MADE["edm"](flow.clock, 4), shared=False)
    with torch.no_grad():
        for offset in learned.first_offset:
            offset.fill_(0.3)  # at zero it has a derivative from one side only
    shift = {f: 0.1 * torch.ones_like(v) for f, v in flow.zero_tangent(start).items()}
    names = [name for name, _ in learned.named_parameters()]

    def loss(*values: Tensor) -> Tensor:
        grid = torch.func.functional_call(learned, dict(zip(names, values[: len(names)], strict=True)), ())
        moved = dict(zip(shift, values[len(names) :], strict=True))
        return soft_loss(flow, start, moved, end, grid, solver, scale=1.0).sum()

    inputs = [p.detach().clone().requires_grad_() for p in learned.parameters()]
    inputs += [v.clone().requires_grad_() for v in shift.values()]
    assert torch.autograd.gradcheck(loss, inputs, eps=1e-5, atol=1e-7, rtol=1e-5)


def test_projection_shortens_only_what_is_too_long() -> None:
    flow = mixture()
    shift = {"x": torch.tensor([[3.0, 4.0], [300.0, 400.0]], dtype=F64)}
    out = project_to_ball(flow, shift, {"x": 0.1})["x"]
    torch.testing.assert_close(out[0], shift["x"][0])
    torch.testing.assert_close(out[1], shift["x"][1] * (0.1 * flow.prior_scale["x"] / 500.0))


def test_ball_keeps_a_shift_only_if_the_loss_fell() -> None:
    flow = mixture()
    ball = Ball(flow, torch.zeros(2, 2, dtype=F64), radius=0.5, rate=0.2)
    reach = 0.5 * flow.prior_scale["x"]
    rows = torch.arange(2)

    def turn(losses: list[float]) -> Tensor:
        shift = ball.shift(rows)
        assert shift is not None
        (shift["x"] @ torch.tensor([1.0, 0.0], dtype=F64)).sum().backward()
        ball.update(rows, shift, torch.tensor(losses))
        return ball.proposed["x"].clone()

    first = turn([1.0, 1.0])  # the first pass sets the standard: both keep no shift, and step down the gradient
    torch.testing.assert_close(first, torch.tensor([[-0.2 * reach, 0.0]] * 2, dtype=F64))
    second = turn([0.9, 1.1])
    torch.testing.assert_close(second[0], torch.tensor([-0.4 * reach, 0.0], dtype=F64))
    torch.testing.assert_close(ball.kept["x"][1], torch.zeros(2, dtype=F64))
    for loss in (0.8, 0.7, 0.6, 0.5):
        last = turn([loss, 2.0])
    torch.testing.assert_close(last[0], torch.tensor([-reach, 0.0], dtype=F64))


def test_ball_of_radius_zero_is_the_plain_loss() -> None:
    ball = Ball(mixture(), torch.zeros(2, 2, dtype=F64), radius=0.0, rate=0.2)
    assert ball.shift(torch.arange(2)) is None
    with pytest.raises(ValueError, match="radius"):
        Ball(mixture(), torch.zeros(2, 2, dtype=F64), radius={"y": 1.0}, rate=0.2)


# --- teacher ---------------------------------------------------------------------------------------------------------


def test_teacher_checks_its_own_convergence() -> None:
    flow = mixture()
    start = flow.prior(16, torch.Generator().manual_seed(0))
    good = run_teacher(flow, start, Teacher(nfe=200, checked=8))
    assert good.converged
    assert len(good.disagreement) == 8
    coarse, fine = run_teacher(flow, start, Teacher(nfe=8, checked=8)), run_teacher(flow, start, Teacher(nfe=16))
    torch.testing.assert_close(coarse.disagreement, flow.distance(coarse.end, fine.end)[:8])
    assert not run_teacher(flow, start, Teacher(nfe=8, checked=8, tolerance=1e-6)).converged


def test_teacher_is_resumed_and_reused(tmp_path: Path) -> None:
    flow = counting()
    start = flow.prior(20, torch.Generator().manual_seed(0))
    teacher = Teacher(nfe=10, checked=4, chunk=8)
    plain = run_teacher(flow, start, teacher)
    assert flow.evaluations == plain.network_evaluations == 10 * 20 + 20 * 4

    class Killed(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done >= 160:
            raise Killed

    flow.evaluations = 0
    with pytest.raises(Killed):
        run_teacher(flow, start, teacher, tmp_path, kill)
    (folder,) = tmp_path.iterdir()
    assert not json.loads((folder / "manifest.json").read_text())["complete"]
    resumed = run_teacher(flow, start, teacher, tmp_path)
    assert flow.evaluations == plain.network_evaluations
    torch.testing.assert_close(resumed.end, plain.end, rtol=0, atol=0)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["complete"], manifest["converged"]) == (True, plain.converged)
    assert manifest["disagreement"] == plain.disagreement.tolist()
    assert manifest["network_evaluations"] == plain.network_evaluations
    torch.testing.assert_close(load_file(folder / "start.safetensors")["x"], start, rtol=0, atol=0)
    torch.testing.assert_close(run_teacher(flow, start, teacher, tmp_path).end, plain.end, rtol=0, atol=0)
    assert flow.evaluations == plain.network_evaluations
    smaller = run_teacher(flow, start, dataclasses.replace(teacher, chunk=3), tmp_path)
    torch.testing.assert_close(smaller.end, plain.end, rtol=0, atol=0)
    assert flow.evaluations == plain.network_evaluations
    run_teacher(flow, start + 1, teacher, tmp_path)
    assert flow.evaluations == 2 * plain.network_evaluations


def test_teacher_runs_of_other_flows_are_told(tmp_path: Path) -> None:
    flow, other = counting(), mixture()
    start = flow.prior(2, torch.Generator().manual_seed(0))
    assert flow.fingerprint() != other.fingerprint()
    assert other_flows(tmp_path, flow) == []
    run_teacher(flow, start, Teacher(nfe=2), tmp_path)
    assert other_flows(tmp_path, flow) == []
    assert other_flows(tmp_path, other) == [flow.fingerprint()]
    for text in ("{", "{}", "[]"):
        (tmp_path / "damaged").mkdir(exist_ok=True)
        (tmp_path / "damaged" / "manifest.json").write_text(text)
        assert other_flows(tmp_path, other) == [flow.fingerprint()]
    run_teacher(other, start, Teacher(nfe=2), tmp_path)
    assert other_flows(tmp_path, other) == []


def test_teacher_errors_name_the_argument() -> None:
    flow = mixture()
    start = flow.prior(2, torch.Generator().manual_seed(0))
    for settings, why in (
        ({"grid": "cubic"}, "grid must be one of .*'cubic'"),
        ({"solver": "rk4"}, "'rk4'"),
        ({"solver": "heun", "nfe": 5}, "multiple of 2 for heun, got 5"),
        ({"nfe": 0}, "nfe must be at least 1 and a whole number, got 0"),
        ({"checked": 0}, "checked must be at least 1"),
        ({"chunk": 2.5}, "chunk must be at least 1 and a whole number, got 2.5"),
        ({"tolerance": -1.0}, "tolerance must be above 0"),
        ({"tolerance": math.nan}, "tolerance must be above 0"),
    ):
        with pytest.raises(ValueError, match=why):
            Teacher(**dict[str, Any](settings))
    with pytest.raises(ValueError, match="start must hold at least one sample"):
        run_teacher(flow, start[:0], Teacher())


@pytest.mark.parametrize("left", [0, 5, 200])
def test_a_truncated_teacher_run_is_named_and_computed_again(tmp_path: Path, left: int) -> None:
    flow, teacher = mixture(), Teacher(nfe=8, checked=1)
    start = flow.prior(96, torch.Generator().manual_seed(0))
    whole = run_teacher(flow, start, teacher, tmp_path)
    (end,) = tmp_path.glob("*/end.safetensors")
    end.write_bytes(end.read_bytes()[:left])
    with pytest.warns(UserWarning, match=r"end\.safetensors cannot be read .* computed again"):
        again = run_teacher(flow, start, teacher, tmp_path)
    assert torch.equal(again.end, whole.end)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_a_teacher_on_a_full_disk_is_an_os_error(tmp_path: Path) -> None:
    flow = mixture()
    start = flow.prior(8, torch.Generator().manual_seed(0))
    run_teacher(flow, start, Teacher(nfe=8, checked=1), tmp_path)
    (folder,) = tmp_path.iterdir()
    for path in folder.iterdir():
        path.unlink()
    for name in ("start", "end"):
        (folder / f"{name}.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        run_teacher(flow, start, Teacher(nfe=8, checked=1), tmp_path)


# --- fit -------------------------------------------------------------------------------------------------------------


def test_fit_beats_every_hand_made_grid_on_fresh_pairs(
    setting: tuple[MixtureFlow, Pairs[Tensor], Pairs[Tensor]],
) -> None:
    flow, train, valid = setting
    result = fit(flow, train, valid, SOLVER, 5, dataclasses.replace(ADAM, steps=120))
    assert result.initial_grid == min(result.hand_made, key=lambda name: result.hand_made[name])
    assert result.loss_learned == min(point.valid for point in result.curve)
    test = pairs(flow, 256, 7)

    def loss(grid: Grid) -> float:
        return float(flow.distance(integrate(flow, test.start, grid, SOLVER), test.end).mean())

    assert loss(result.grid) < 0.3 * min(loss(make(flow.clock, 5)) for make in HAND_MADE.values())


def test_network_times_move_and_help(setting: tuple[MixtureFlow, Pairs[Tensor], Pairs[Tensor]]) -> None:
    flow, train, valid = setting
    tied = fit(flow, train, valid, SOLVER, 5, dataclasses.replace(ADAM, steps=120, phases=("times",)))
    free = fit(flow, train, valid, SOLVER, 5, dataclasses.replace(ADAM, steps=120))
    torch.testing.assert_close(tied.grid.network["x"], tied.grid.solver["x"][:-1], rtol=1e-12, atol=1e-12)
    assert (free.grid.network["x"] - free.grid.solver["x"][:-1]).abs().max() > 0.05
    assert free.loss_learned < 0.7 * tied.loss_learned


def test_fit_counts_every_evaluation() -> None:
    flow = counting()
    train, valid = pairs(flow, 12, 0), pairs(flow, 10, 1)
    flow.evaluations = 0
    result = fit(flow, train, valid, SOLVER, 4, dataclasses.replace(QUICK, radius=0.05, batch=6, chunk=5, steps=10))
    assert result.network_evaluations == flow.evaluations
    assert result.gradient_evaluations == 4 * 6 * 20


def test_chunks_and_checkpointing_change_nothing(setting: tuple[MixtureFlow, Pairs[Tensor], Pairs[Tensor]]) -> None:
    flow, train, valid = setting
    config = dataclasses.replace(QUICK, steps=10)
    whole = fit(flow, train, valid, SOLVER, 4, config)
    for change in ({"chunk": 17}, {"checkpoint": True}):
        other = fit(flow, train, valid, SOLVER, 4, dataclasses.replace(config, **change))
        torch.testing.assert_close(other.grid.solver["x"], whole.grid.solver["x"], rtol=1e-9, atol=1e-9)


def test_fit_on_a_product_of_manifolds_with_a_clock_per_factor() -> None:
    flow = PoseFlow()

    def poses(seed: int) -> Pairs:  # type: ignore[type-arg]
        return run_teacher(flow, flow.prior(24, torch.Generator().manual_seed(seed)), Teacher(nfe=64, checked=4))

    train, valid = poses(0), poses(1)
    config = dataclasses.replace(QUICK, shared_clock=False, scale=1.0, radius=dict.fromkeys(flow.clock.schedules, 0.01))
    result = fit(flow, train, valid, SOLVER, 4, config)
    assert result.loss_learned < 0.8 * result.loss_hand_made
    shares = [(v - v[0]) / (v[-1] - v[0]) for v in result.grid.solver.values()]
    assert (shares[0] - shares[1]).abs().max() > 1e-3


def fresh_loss(flow: MixtureFlow, result: FitResult) -> float:
    """On pairs that no fit of this file has seen."""
    test = pairs(flow, 256, 7)
    end = integrate(flow, test.start, result.grid, result.student())
    return float(flow.distance(end, test.end).mean())


@pytest.mark.parametrize("name", ["dpmpp_2m", "unipc_bh1_2", "ipndm_2"])
def test_learned_coefficients_alone_improve_a_hand_made_grid(
    setting: tuple[MixtureFlow, Pairs[Tensor], Pairs[Tensor]], name: str
) -> None:
    flow, train, valid = setting
    config = FitConfig(optimiser="adam", steps=60, phases=("coefficients",))
    before = fit(flow, train, valid, get_solver(name), 4, dataclasses.replace(config, steps=0))
    after = fit(flow, train, valid, get_solver(name), 4, config)
    torch.testing.assert_close(after.grid.solver["x"], HAND_MADE[after.initial_grid](flow.clock, 4).solver["x"])
    assert fresh_loss(flow, after) < 0.8 * fresh_loss(flow, before)


@pytest.mark.parametrize("name", ["dpmpp_2m", "ipndm_2"])
def test_learned_coefficients_improve_a_learned_grid(
    setting: tuple[MixtureFlow, Pairs[Tensor], Pairs[Tensor]], name: str
) -> None:
    flow, train, valid = setting
    config = dataclasses.replace(ADAM, steps=80, learning_rate=0.02)
    times = fit(flow, train, valid, get_solver(name), 4, config)
    both = fit(flow, train, valid, get_solver(name), 4, dataclasses.replace(config, phases=(*config.phases, "all")))
    assert fresh_loss(flow, both) < 0.8 * fresh_loss(flow, times)


def test_a_fit_can_start_from_a_learned_grid(setting: tuple[MixtureFlow, Pairs[Tensor], Pairs[Tensor]]) -> None:
    flow, train, valid = setting
    first = fit(flow, train, valid, SOLVER, 4, QUICK)
    earlier = {"earlier": first.grid}
    second = fit(flow, train, valid, SOLVER, 4, dataclasses.replace(QUICK, steps=0), starting_grids=earlier)
    assert (second.initial_grid, second.grid.name) == ("earlier", "learned from earlier")
    assert second.hand_made == first.hand_made
    assert second.loss_hand_made == min(first.hand_made.values())
    assert second.loss_learned == second.loss_initial == pytest.approx(first.loss_learned, rel=1e-9)
    for part in ("solver", "network"):
        torch.testing.assert_close(getattr(second.grid, part), getattr(first.grid, part), rtol=1e-12, atol=1e-12)
    refused = {
        "hand-made": {"edm": first.grid},
        "steps": {"earlier": HAND_MADE["edm"](flow.clock, 5)},
        "it runs from": {"earlier": Grid({"x": first.grid.solver["x"] + 0.1}, first.grid.network)},
    }
    for words, starts in refused.items():
        with pytest.raises(ValueError, match=words):
            fit(flow, train, valid, SOLVER, 4, QUICK, starting_grids=starts)


@pytest.mark.parametrize("phases", [("joint",), ("all",)])
def test_result_survives_its_file(
    setting: tuple[MixtureFlow, Pairs[Tensor], Pairs[Tensor]], tmp_path: Path, phases: tuple[Phase, ...]
) -> None:
    flow, train, valid = setting
    result = fit(flow, train, valid, SOLVER, 3, dataclasses.replace(QUICK, steps=5, phases=phases))
    result.save(tmp_path / "fit.json")
    loaded = FitResult.load(tmp_path / "fit.json")
    assert loaded.grid.to_json() == result.grid.to_json()
    assert dataclasses.replace(loaded, grid=result.grid, coefficients=result.coefficients) == result
    test = pairs(flow, 8, 3)
    ends = [integrate(flow, test.start, fitted.grid, fitted.student()) for fitted in (result, loaded)]
    torch.testing.assert_close(*ends, rtol=0, atol=0)
    for text in ("", "[1]", "{}", '{"schema": "ld3.fit", "version": 1}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ValueError, match=r"bad\.json"):
            FitResult.load(tmp_path / "bad.json")


def test_fit_errors_name_the_argument(setting: tuple[MixtureFlow, Pairs[Tensor], Pairs[Tensor]]) -> None:
    flow, train, valid = setting
    with pytest.raises(ValueError, match=r"config\.initial_grid.*'cubic'"):
        fit(flow, train, valid, SOLVER, 4, FitConfig(initial_grid="cubic"))
    with pytest.raises(ValueError, match=r"nfe.*heun.*5"):
        fit(flow, train, valid, get_solver("heun"), 5, QUICK)
    with pytest.raises(ValueError, match="multistep solver to have learned coefficients, got heun"):
        fit(flow, train, valid, get_solver("heun"), 4, dataclasses.replace(QUICK, phases=("coefficients",)))


def test_pairs_can_be_divided(setting: tuple[MixtureFlow, Pairs[Tensor], Pairs[Tensor]]) -> None:
    _, train, _ = setting
    part = train.take(slice(10, 20))
    assert len(part) == 10
    for whole, piece in ((train.start, part.start), (train.end, part.end)):
        torch.testing.assert_close(tensors(take(whole, slice(10, 20))), tensors(piece))


@pytest.mark.parametrize("scale", [None, 1.0])
def test_a_sample_that_breaks_costs_nobody_else_the_fit(
    setting: tuple[MixtureFlow, Pairs[Tensor], Pairs[Tensor]], scale: float | None
) -> None:
    flow, train, valid = setting
    broken = Breaking(flow.schedule, flow.mean, flow.std, flow.weight)
    sound = valid.start[:, 0] >= -150.0
    kept = dataclasses.replace(valid, start=valid.start[sound], end=valid.end[sound])
    config = dataclasses.replace(QUICK, steps=10, scale=scale)
    result = fit(broken, train, kept, SOLVER, 4, config)
    lost = int((train.start[:, 0] < -150.0).sum())
    assert lost > 0
    assert result.failed == 20 * lost
    reference = dataclasses.replace(train, start=train.start[train.start[:, 0] >= -150.0])
    reference = dataclasses.replace(reference, end=train.end[train.start[:, 0] >= -150.0])
    clean = fit(flow, reference, kept, SOLVER, 4, config)
    assert result.loss_learned < clean.loss_hand_made
    for factor, nodes in clean.grid.solver.items():
        torch.testing.assert_close(result.grid.solver[factor], nodes, rtol=0, atol=0.05)
    if scale is not None:  # a validation sample at infinity is one full miss
        missed = fit(broken, train, valid, SOLVER, 4, config)
        n, gone = len(valid), len(valid) - len(kept)
        assert missed.hand_made["edm"] == pytest.approx((result.hand_made["edm"] * (n - gone) + gone) / n)


class BreakingBackwards(MixtureFlow):
    """For samples far to the left the network's answer is right, and its derivative NaN."""

    def noise(self, x_t: Tensor, t: Tensor) -> Tensor:
        far = (x_t[:, 0] < -150.0).nonzero()[:, 0]
        nothing = ((x_t[far] / t).square() * 0.0).sqrt()  # 0, with the derivative 0/0
        return super().noise(x_t, t).index_add(0, far, nothing)

    def fingerprint(self) -> str:
        return "breaking backwards"


@pytest.mark.parametrize("optimiser", ["adam", "bfgs"])
def test_a_sample_whose_gradient_breaks_costs_nobody_else_the_fit(
    setting: tuple[MixtureFlow, Pairs[Tensor], Pairs[Tensor]], optimiser: Optimiser
) -> None:
    flow, train, valid = setting
    broken = BreakingBackwards(flow.schedule, flow.mean, flow.std, flow.weight)
    config = FitConfig(steps=5, optimiser=optimiser, phases=("joint",))
    result = fit(broken, train, valid, SOLVER, 4, config)
    assert result.failed == 5 * int((train.start[:, 0] < -150.0).sum()) > 0
    assert result.loss_learned < result.loss_hand_made


def test_phases_may_alternate_and_go_on_where_they_were(
    setting: tuple[MixtureFlow, Pairs[Tensor], Pairs[Tensor]], tmp_path: Path
) -> None:
    flow, train, valid = setting
    phases: tuple[Phase, ...] = ("times", "coefficients", "times", "coefficients")
    config = FitConfig(optimiser="adam", steps=5, learning_rate=0.02, phases=phases)
    whole = fit(flow, train, valid, SOLVER, 4, config)
    assert [point.phase for point in whole.curve] == ["start", *phases]

    class Killed(Exception):
        pass

    def kill(point: Point) -> None:
        if point.step == 15:
            raise Killed

    with pytest.raises(Killed):
        fit(flow, train, valid, SOLVER, 4, config, folder=tmp_path, on_progress=kill)
    resumed = fit(flow, train, valid, SOLVER, 4, config, folder=tmp_path)
    assert [(p.step, p.valid) for p in resumed.curve] == [(p.step, p.valid) for p in whole.curve]
    with pytest.raises(ValueError, match="phases must be of times, joint, coefficients, all, got 'network'"):
        FitConfig(phases=("network",))  # type: ignore[arg-type]


class Cliff(MixtureFlow):
    """Samples that start beyond a line leave the numbers."""

    def noise(self, x_t: Tensor, t: Tensor) -> Tensor:
        return torch.where((x_t[:, :1] > 100.0) & (t > 79.0), torch.nan, super().noise(x_t, t))

    def fingerprint(self) -> str:
        return "cliff"


def test_a_proposal_that_breaks_its_sample_is_taken_back() -> None:
    """A start just before the line is pushed beyond it, breaks once, and goes on from where it was."""
    plain = mixture()
    flow = Cliff(plain.schedule, plain.mean, plain.std, plain.weight)
    generator = torch.Generator().manual_seed(0)
    start = torch.tensor([[99.9, 0.0]], dtype=F64) + torch.rand(12, 2, generator=generator, dtype=F64) / 10
    start[:, 0].clamp_(max=99.99)
    train = run_teacher(flow, start, Teacher(nfe=48, checked=1))
    config = dataclasses.replace(QUICK, steps=30, radius=0.05)
    result = fit(flow, train, train, SOLVER, 4, config)
    assert 0 < result.failed < 0.5 * 12 * 60
    ball = Ball(flow, start, radius=0.05, rate=0.3)
    rows = torch.tensor([0, 1])
    ball.proposed["x"][rows] += 1.0
    ball.settled[0] = False
    ball.kept["x"][rows] = 0.5
    ball.reject(rows)
    assert ball.proposed["x"][0].tolist() == [0.5, 0.5]  # back to the shift that was kept
    assert ball.proposed["x"][1].tolist() == [0.0, 0.0]  # that shift broke: back to none


def test_ball_measures_a_kept_shift_anew() -> None:
    """The loss of a kept shift may rise when the grid moves; a proposal must not be held to the old, lower one."""
    ball = Ball(mixture(), torch.zeros(1, 2, dtype=F64), radius=0.5, rate=0.2)
    rows = torch.tensor([0])

    def turn(loss: float) -> None:
        shift = ball.shift(rows)
        assert shift is not None
        shift["x"].sum().backward()
        ball.update(rows, shift, torch.tensor([loss]))

    turn(1.0)
    turn(2.0)  # rejected: back to no shift
    assert ball.proposed["x"].abs().sum() == 0
    turn(3.0)  # the same shift, on a worse grid
    assert ball.loss.item() == 3.0
    turn(2.5)  # a proposal that is better than that
    assert ball.kept["x"].abs().sum() > 0
