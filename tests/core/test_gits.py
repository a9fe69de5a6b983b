"""Dynamic programming against brute force, costs against direct evaluation, and grids against uniform ones."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
import torch
from flows import F64, AngleFlow, GaussianFlow, MixtureFlow, PoseFlow
from torch import Tensor

from ld3 import EDM, HAND_MADE, VE, Grid, Levels, Tangent, VPLinear, get_solver, integrate
from ld3.geometry import torus
from ld3.grids.gits import cheapest_path, gits, jump_costs


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def part(grid: Grid, first: int, last: int) -> Grid:
    """The piece of a grid between two of its nodes."""
    levels = {factor: lam[first : last + 1] for factor, lam in grid.solver.items()}
    return Grid(levels, {factor: lam[:-1] for factor, lam in levels.items()})


def jump(grid: Grid, first: int, last: int) -> Grid:
    """One step from node to node."""
    levels = {factor: lam[[first, last]] for factor, lam in grid.solver.items()}
    return Grid(levels, {factor: lam[:-1] for factor, lam in levels.items()})


@pytest.mark.parametrize("growth", [0.8, 1.0, 1.15])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_the_path_is_the_cheapest_of_all(n: int, growth: float) -> None:
    costs = torch.rand(9, 9, generator=seeded(n), dtype=F64).square()
    costs = torch.where(torch.ones(9, 9).triu(1).bool(), costs, torch.inf)

    def price(path: tuple[int, ...]) -> float:
        return sum(growth**s * costs[i, j].item() for s, (i, j) in enumerate(pairwise(path)))

    best = min(((0, *inner, 8) for inner in combinations(range(1, 8), n - 1)), key=price)
    assert cheapest_path(costs, n, growth) == list(best)


@pytest.mark.parametrize("schedule", [EDM(0.01, 20.0), VPLinear()])
def test_costs_are_what_a_step_misses_the_trajectory_by(schedule: EDM | VPLinear) -> None:
    flow = GaussianFlow(schedule)
    start = flow.prior(7, seeded())
    fine, solver = HAND_MADE["edm"](flow.clock, 6), get_solver("ipndm_1")
    costs = jump_costs(flow, start, fine, solver, chunk=3)
    points = [start, *(integrate(flow, start, part(fine, 0, k), solver) for k in range(1, 7))]
    for i in range(7):
        assert costs[i, : i + 1].isinf().all()
        for j in range(i + 1, 7):
            landed = integrate(flow, points[i], jump(fine, i, j), get_solver("ddim"))
            missed = (landed - points[j]).norm(dim=1).mean() / flow.prior_scale["x"]
            assert costs[i, j].item() == pytest.approx(missed.item(), rel=1e-9, abs=1e-12)


def test_costs_on_circles() -> None:
    flow = AngleFlow()
    start = flow.prior(5, seeded())
    fine, solver = HAND_MADE["uniform_log_snr"](flow.clock, 5), get_solver("dpmpp_2m")
    recorded = [start]
    integrate(flow, start, fine, solver, on_step=lambda i, n, x: recorded.append(x))
    costs = jump_costs(flow, start, fine, solver)
    for i, j in combinations(range(6), 2):
        landed = integrate(flow, recorded[i], jump(fine, i, j), get_solver("ddim"))
        missed = torus.wrap(landed - recorded[j]).norm(dim=1).mean() / flow.prior_scale["angles"]
        assert costs[i, j].item() == pytest.approx(missed.item(), rel=1e-9, abs=1e-12)


class Counting(PoseFlow):
    """Counts evaluations per sample."""

    def __init__(self) -> None:
        super().__init__()
        self.evaluations = 0

    def displacement(self, x: Tensor, levels: Levels) -> Tangent:  # type: ignore[override]
        self.evaluations += len(x[0])
        return super().displacement(x, levels)  # type: ignore[arg-type]


def test_a_product_of_factors_gets_one_path_and_pays_for_the_trajectories_only() -> None:
    flow = Counting()
    grid = gits(flow, flow.prior(5, seeded()), 4, fine_steps=12, chunk=2)
    assert flow.evaluations == 12 * 5
    assert grid.name == "gits"
    fine = HAND_MADE["edm"](flow.clock, 12).solver
    paths = [[fine[f].tolist().index(lam) for lam in levels.tolist()] for f, levels in grid.solver.items()]
    assert paths[0] == paths[1] == paths[2]
    assert (paths[0][0], paths[0][-1]) == (0, 12)


def test_straight_trajectories_cost_nothing() -> None:
    class Point(GaussianFlow):
        def noise(self, x_t: Tensor, t: Tensor) -> Tensor:
            return (x_t - self.schedule.alpha(t) * self.mean) / self.schedule.sigma(t)

    flow = Point(EDM())
    costs = jump_costs(flow, flow.prior(3, seeded()), HAND_MADE["edm"](flow.clock, 8), get_solver("dpmpp_2m"))
    assert costs[torch.ones(9, 9).triu(1).bool()].max() < 1e-13


def test_the_grid_suits_the_flow() -> None:
    mean = torch.tensor([[2.0, 0.0], [-1.0, 1.5], [-1.0, -1.5]], dtype=F64)
    flow = MixtureFlow(VE(0.01, 50.0), mean, torch.full((3,), 0.3, dtype=F64), torch.full((3,), 1 / 3, dtype=F64))
    start, test = flow.prior(256, seeded(1)), flow.prior(256, seeded(2))
    goal = integrate(flow, test, HAND_MADE["edm"](flow.clock, 200), get_solver("dpmpp_2m"))

    def loss(grid: Grid) -> float:
        return flow.distance(integrate(flow, test, grid, get_solver("ddim")), goal).mean().item()

    for n in (4, 6, 8):
        by_hand = [loss(HAND_MADE[name](flow.clock, n)) for name in ("uniform_t", "uniform_log_snr", "edm")]
        assert loss(gits(flow, start, n)) < 0.8 * min(by_hand)


def test_evaluations_are_counted() -> None:
    flow = GaussianFlow(EDM())
    seen: list[tuple[int, int]] = []
    fine = HAND_MADE["edm"](flow.clock, 6)
    jump_costs(flow, flow.prior(5, seeded()), fine, get_solver("ipndm_1"), 2, lambda *done: seen.append(done))
    assert seen == [(12, 30), (24, 30), (30, 30)]


def test_broken_trajectories_are_refused() -> None:
    class Torn(GaussianFlow):
        def noise(self, x_t: Tensor, t: Tensor) -> Tensor:
            return torch.where(t < 1.0, torch.nan, super().noise(x_t, t))

    flow = Torn(EDM())
    with pytest.raises(ValueError, match="start must lead to finite trajectories"):
        gits(flow, flow.prior(2, seeded()), 3, fine_steps=10)


def test_bad_requests_are_refused() -> None:
    flow = PoseFlow()
    with pytest.raises(ValueError, match="n must be from 1 to the 10 steps of the fine grid, got 11"):
        gits(flow, flow.prior(2, seeded()), 11, fine_steps=10)
    with pytest.raises(ValueError, match="solver must evaluate once a step and correct nothing, got heun"):
        gits(flow, flow.prior(2, seeded()), 3, fine_steps=10, solver="heun")
