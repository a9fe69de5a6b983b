"""Warps against their starts, an independent cubic, finite differences and round trips; fits of a warp on flows with
known answers.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from flows import F64, GaussianFlow, MixtureFlow, PoseFlow
from scipy.interpolate import CubicHermiteSpline

from ld3 import EDM, HAND_MADE, Clock, Grid, Levels, Tangent, VPLinear, get_solver, integrate
from ld3.learn import LearnedGrid, Pairs, Teacher, run_teacher
from ld3.learn.fit_warp import WarpConfig, _WarpFit, fit_warp
from ld3.learn.loss import soft_loss
from ld3.learn.warp import Warp, monotone_cubic
from ld3.learn.warp_coefficients import WarpCoefficients
from ld3.learn.warp_result import WarpFit

SOLVER = get_solver("unipc_bh2_3")
TWO = Clock({"a": EDM(), "b": VPLinear()})


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def moved(warp: Warp, seed: int = 0, size: float = 1.0) -> Warp:
    """The warp with random parameters."""
    generator = seeded(seed)
    for parameter in warp.parameters():
        parameter.data = size * torch.randn(parameter.shape, generator=generator, dtype=F64)
    for offset in warp.first_offset:
        offset.data.abs_()
    return warp


def mixture() -> MixtureFlow:
    mean = torch.tensor([[2.0, 0.0], [-1.0, 1.5], [-1.0, -1.5]], dtype=F64)
    return MixtureFlow(VPLinear(), mean, torch.full((3,), 0.3, dtype=F64), torch.full((3,), 1 / 3, dtype=F64))


def test_the_cubic_is_that_of_its_values_and_slopes() -> None:
    knots = torch.tensor([-2.0, -1.0, 3.0, 3.5, 7.0], dtype=F64)
    pieces = 4 * np.diff(knots)
    inner = 2 / (1 / pieces[:-1] + 1 / pieces[1:])
    slopes = [(3 * pieces[0] - inner[0]) / 2, *inner, (3 * pieces[-1] - inner[-1]) / 2]
    at = np.linspace(0, 1, 101)
    expected = CubicHermiteSpline(np.linspace(0, 1, 5), knots, slopes)(at)
    np.testing.assert_allclose(monotone_cubic(knots, torch.from_numpy(at)), expected, atol=1e-13)


def test_a_straight_line_and_a_single_piece_stay_straight() -> None:
    at = torch.linspace(0, 1, 33, dtype=F64)
    for pieces in (1, 2, 7):
        knots = torch.linspace(-3, 5, pieces + 1, dtype=F64)
        torch.testing.assert_close(monotone_cubic(knots, at), -3 + 8 * at)


@pytest.mark.parametrize("seed", range(5))
def test_the_cubic_increases_however_uneven_its_knots(seed: int) -> None:
    knots = torch.exp(3 * torch.randn(9, generator=seeded(seed), dtype=F64)).cumsum(0)
    assert monotone_cubic(knots, torch.linspace(0, 1, 2001, dtype=F64)).diff().min() > 0


@pytest.mark.parametrize("name", HAND_MADE)
def test_a_new_warp_is_the_grid_it_starts_from(name: str) -> None:
    init = HAND_MADE[name](TWO, 12)
    grid = Warp(init, 4)(12)
    for factor in TWO.schedules:
        torch.testing.assert_close(grid.solver[factor], init.solver[factor], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(grid.network[factor], init.network[factor], rtol=1e-12, atol=1e-12)
    for n in (3, 5, 6):  # equal steps in λ stay equal at every number of steps
        found = Warp(HAND_MADE["uniform_log_snr"](TWO, 12), 4)(n).solver["a"]
        torch.testing.assert_close(found, HAND_MADE["uniform_log_snr"](TWO, n).solver["a"])


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("n", [1, 2, 4, 5, 12, 33])
def test_every_number_of_steps_gets_a_valid_grid_between_the_ends(n: int, shared: bool) -> None:
    for seed in range(4):
        grid = moved(Warp(HAND_MADE["edm"](TWO, 12), 4, shared), seed)(n)
        assert grid.n_steps == n
        for factor, (start, end) in TWO.bounds.items():
            assert (grid.solver[factor][0].item(), grid.solver[factor][-1].item()) == pytest.approx((start, end))
            assert grid.network[factor][0] >= grid.solver[factor][0]
            assert grid.network[factor][-1] < grid.solver[factor][-1]


def test_at_as_many_steps_as_knots_it_is_the_learned_grid() -> None:
    """With f = N = K the knots are the nodes, and gaps mean what they mean in `LearnedGrid`."""
    init = HAND_MADE["edm"](TWO, 6)
    warp, learned = moved(Warp(init, 6)), LearnedGrid(init)
    learned.gaps[0].data = warp.gaps[0].data + warp.drift[0].data
    torch.testing.assert_close(warp(6).solver["b"], learned().solver["b"], rtol=1e-12, atol=1e-12)


def test_the_network_is_told_the_nearer_to_the_truth_the_more_steps_there_are() -> None:
    warp = Warp(HAND_MADE["uniform_log_snr"](TWO, 8), 4)
    warp.network_gaps[0].data = torch.linspace(-1, 1, 8, dtype=F64)
    start, end = TWO.bounds["a"]

    def steps_behind(n: int) -> torch.Tensor:
        grid = warp(n)
        return (grid.solver["a"][:-1] - grid.network["a"]) / ((end - start) / n)

    torch.testing.assert_close(steps_behind(8)[::2], steps_behind(4))
    torch.testing.assert_close(steps_behind(16)[::4], steps_behind(4))
    assert steps_behind(4).max() > 0.2


@pytest.mark.parametrize("n", [4, 5, 7])
def test_gradients_are_those_of_finite_differences(n: int) -> None:
    flow = PoseFlow()
    start = flow.prior(3, seeded())
    end = integrate(flow, start, HAND_MADE["uniform_log_snr"](flow.clock, 20), get_solver("dpmpp_2m"))
    warp = moved(Warp(HAND_MADE["edm"](flow.clock, 5), 4, shared=False), size=0.3)

    def loss() -> torch.Tensor:
        return soft_loss(flow, start, None, end, warp(n), get_solver("dpmpp_2m")).mean()

    parameters = list(warp.parameters())
    exact = torch.nn.utils.parameters_to_vector(torch.autograd.grad(loss(), parameters))
    flat, step, differences = torch.nn.utils.parameters_to_vector(parameters).detach(), 1e-5, []
    with torch.no_grad():
        for k in range(len(flat)):
            values = []
            for sign in (1, -1):
                torch.nn.utils.vector_to_parameters(flat + sign * step * (torch.arange(len(flat)) == k), parameters)
                values.append(loss().item())
            differences.append((values[0] - values[1]) / (2 * step))
    np.testing.assert_allclose(exact, differences, rtol=1e-5, atol=1e-7)


def test_json_round_trip_keeps_every_bit() -> None:
    warp = moved(Warp(HAND_MADE["edm"](TWO, 5), 3, shared=False))
    content = json.loads(json.dumps(warp.to_dict()))
    copy = Warp.from_dict(content)
    for n in (3, 8):
        for mine, theirs in ((warp(n).solver, copy(n).solver), (warp(n).network, copy(n).network)):
            assert all(torch.equal(mine[factor], theirs[factor]) for factor in mine)
    for damaged, why in (
        ([], r"warp must be an object"),
        ({**content, "version": 9}, r"got \('ld3.warp', 9\)"),
        ({**content, "parameters": {}}, "parameters must be of lengths"),
    ):
        with pytest.raises(ValueError, match=why):
            Warp.from_dict(damaged)


def test_bad_warps_are_refused() -> None:
    lam = torch.tensor([0.0, 1.0, math.inf], dtype=F64)
    with pytest.raises(ValueError, match=r"init must end at a finite λ.*'x'.*inf"):
        Warp(Grid({"x": lam}, {"x": lam[:-1]}), 2)
    with pytest.raises(ValueError, match="fewest must be at least 1 step, got 0"):
        Warp(HAND_MADE["edm"](TWO, 4), 0)
    with pytest.raises(ValueError, match="n must be at least 1 step, got 0"):
        Warp(HAND_MADE["edm"](TWO, 4), 2)(0)
    with pytest.raises(ValueError, match="knots must be at least 1 and a whole number, got 0"):
        WarpConfig(knots=0)


def pairs_of(flow: MixtureFlow, n: int) -> tuple[Pairs[torch.Tensor], Pairs[torch.Tensor], Pairs[torch.Tensor]]:
    both = run_teacher(flow, flow.prior(3 * n, seeded()), Teacher(chunk=3 * n, checked=1))
    return both.take(slice(n)), both.take(slice(n, 2 * n)), both.take(slice(2 * n, None))


def test_one_fit_serves_many_budgets_also_those_it_has_not_seen(tmp_path: Path) -> None:
    flow = mixture()
    train, valid, test = pairs_of(flow, 64)
    fitted = fit_warp(flow, train, valid, SOLVER, (4, 6, 8), WarpConfig(iterations=25))

    def loss(grid: Grid) -> float:
        return soft_loss(flow, test.start, None, test.end, grid, SOLVER).mean().item()

    for nfe in (4, 5, 6, 7, 8):
        with torch.no_grad():
            assert loss(fitted.warp(nfe)) < 0.6 * min(loss(make(flow.clock, nfe)) for make in HAND_MADE.values())
    for nfe, before in fitted.loss_initial.items():
        assert fitted.loss_learned[nfe] < before
        with torch.no_grad():
            again = soft_loss(flow, valid.start, None, valid.end, fitted.warp(nfe), SOLVER).mean().item()
        assert fitted.loss_learned[nfe] == pytest.approx(again)
    validations = (len(HAND_MADE) + fitted.iterations) * 64
    assert fitted.network_evaluations == (4 + 6 + 8) * validations + fitted.gradient_evaluations
    assert fitted.gradient_evaluations % (64 * (4 + 6 + 8)) == 0

    fitted.save(tmp_path / "warp.json")
    loaded = WarpFit.load(tmp_path / "warp.json")
    assert torch.equal(loaded.warp(5).network["x"], fitted.warp(5).network["x"])
    assert {**vars(loaded), "warp": None} == {**vars(fitted), "warp": None}


def test_weights_are_straight_in_progress_and_fade_with_the_number_of_steps() -> None:
    solver = get_solver("dpmpp_2m")
    weights = WarpCoefficients(solver, ["x"], fewest=4, depth=2, knots=3)
    curve = torch.tensor([[0.0, 1.0], [0.4, 0.0], [0.0, 3.0]], dtype=F64)
    drift = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]], dtype=F64)
    weights.predictor[0].data = torch.cat([curve, drift, torch.tensor([[0.0, 0.5]], dtype=F64)])

    def rows(n: int) -> list[list[float]]:
        coefficients = weights(n).coefficients
        assert coefficients is not None and not coefficients.corrector
        return coefficients.predictor["x"].tolist()

    five, nine = torch.tensor(rows(5), dtype=F64), torch.tensor(rows(9), dtype=F64)
    share = 4 / 5
    torch.testing.assert_close(five[0], share * (curve[0] + share * drift[0] + torch.tensor([0.0, 0.5], dtype=F64)))
    torch.testing.assert_close(five[1], share * (curve[0] + share * drift[0] + curve[1] + share * drift[1]) / 2)
    torch.testing.assert_close(five[4], share * (curve[2] + share * drift[2]))
    torch.testing.assert_close(nine[4], 4 / 9 * (curve[1] + 4 / 9 * drift[1]))
    assert len(rows(1)) == 1


@pytest.mark.parametrize("name", ["dpmpp_2m", "unipc_bh1_2"])
def test_a_new_warp_with_weights_is_the_published_solver(name: str) -> None:
    flow = PoseFlow()
    x = flow.prior(3, seeded())
    weights = WarpCoefficients(get_solver(name), list(flow.clock.schedules), 3, 3, 4, shared=False)
    for n in (1, 2, 3, 7):
        grid = HAND_MADE["edm"](flow.clock, n)
        ends = integrate(flow, x, grid, weights(n)), integrate(flow, x, grid, get_solver(name))
        assert flow.distance(*ends).max() < 1e-24


def test_a_warp_with_weights_and_a_mean_is_nearer_and_comes_back_from_its_file(tmp_path: Path) -> None:
    flow = GaussianFlow(VPLinear())
    pairs = run_teacher(flow, flow.prior(64, seeded()), Teacher(chunk=64, checked=1))
    train, valid = pairs.take(slice(32)), pairs.take(slice(32, 64))
    config = WarpConfig(iterations=25, knots=6)
    plain = fit_warp(flow, train, valid, get_solver("dpmpp_2m"), (1, 2), config)
    solver = replace(get_solver("dpmpp_2m"), data_mean=flow.data_mean(train.end))
    found = fit_warp(flow, train, valid, solver, (1, 2), replace(config, coefficient_depth=3))
    for nfe in (1, 2):
        assert found.loss_learned[nfe] < plain.loss_learned[nfe]
    found.save(tmp_path / "warp.json")
    loaded = WarpFit.load(tmp_path / "warp.json")
    for nfe in (1, 2, 3):
        assert found.student(nfe)[0].n_steps == nfe + 1
        losses = [flow.distance(integrate(flow, valid.start, *fit.student(nfe)), valid.end) for fit in (found, loaded)]
        assert torch.equal(*losses)
        if nfe in (1, 2):
            assert losses[0].mean().item() == pytest.approx(found.loss_learned[nfe])


def test_the_objective_is_the_mean_of_log_losses_and_its_gradient_exact() -> None:
    flow = mixture()
    train, valid, _ = pairs_of(flow, 6)
    run = _WarpFit(flow, train, valid, None, SOLVER, (3, 5), WarpConfig(initial_grid="edm", knots=3, chunk=4), None)
    run.choose_initial_grid()
    variables = run.variables()
    parameters = [variable.parameter for variable in variables]
    assert [variable.lowest for variable in variables] == [-math.inf, -math.inf, -math.inf, 0.0]
    point = 0.3 * torch.randn(sum(p.numel() for p in parameters), generator=seeded(), dtype=F64)
    point[-1] = 0.2  # the first offset

    def value(at: torch.Tensor) -> float:
        torch.nn.utils.vector_to_parameters(at, parameters)
        return run.evaluate()

    found = value(point)
    gradient = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
    with torch.no_grad():
        means = [soft_loss(flow, train.start, None, train.end, *run.student(n)).mean().item() for n in (3, 5)]
    assert found == pytest.approx(math.log(means[0] * means[1]) / 2)
    step = 1e-5 * torch.eye(len(point), dtype=F64)
    np.testing.assert_allclose(gradient, [(value(point + e) - value(point - e)) / 2e-5 for e in step], rtol=1e-5)


def test_what_is_not_to_be_learned_stays() -> None:
    flow = mixture()
    train, valid, _ = pairs_of(flow, 16)
    config = WarpConfig(iterations=4, drift=False, network=False)
    fitted = fit_warp(flow, train, valid, SOLVER, (4, 6), config)
    for n in (1, 2, 6, 9):  # to the last bit, or exports would take them for levels of the network's own
        assert torch.equal(fitted.warp(n).network["x"], fitted.warp(n).solver["x"][:-1])
    assert not fitted.warp.drift[0].any()
    assert fitted.warp.gaps[0].any()


class Torn(MixtureFlow):
    """Some samples leave the numbers."""

    def displacement(self, x: torch.Tensor, levels: Levels) -> Tangent:
        clean = super().displacement(x, levels)["x"]
        return {"x": torch.where(x[:, :1] > 1.5, torch.nan, clean)}


def test_a_sample_that_breaks_costs_nobody_the_fit() -> None:
    flow = mixture()
    train, valid, _ = pairs_of(flow, 32)
    torn = Torn(flow.schedule, flow.mean, flow.std, flow.weight)
    config = WarpConfig(iterations=3, scale=1.0, initial_grid="edm")
    fitted = fit_warp(torn, train, valid, SOLVER, (4,), config)
    assert fitted.failed > 0
    # The samples that do not break are as near to their ends as the loss says; those that do count 1.
    end = integrate(torn, valid.start, *fitted.student(4))
    distance = torn.distance(end, valid.end)
    losses = torch.where(distance.isfinite(), distance / (distance + 1.0), 1.0)
    assert fitted.loss_learned[4] == pytest.approx(losses.mean().item(), rel=1e-6)
    assert fitted.loss_learned[4] < fitted.loss_initial[4]


def test_bad_fits_and_files_are_refused(tmp_path: Path) -> None:
    flow = mixture()
    train, valid, _ = pairs_of(flow, 4)
    with pytest.raises(ValueError, match="nfe must hold at least one budget, got none"):
        fit_warp(flow, train, valid, SOLVER, (), WarpConfig())
    with pytest.raises(ValueError, match=r"initial_grid must be 'best' or one of uniform_t, .*, got 'mine'"):
        fit_warp(flow, train, valid, SOLVER, (4,), WarpConfig(initial_grid="mine"))
    with pytest.raises(ValueError, match="nfe must be a positive multiple of 2 for heun, got 5"):
        fit_warp(flow, train, valid, get_solver("heun"), (5,), WarpConfig())
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ValueError, match=r"bad\.json is no warp saved by ld3"):
        WarpFit.load(tmp_path / "bad.json")
