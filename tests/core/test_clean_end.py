"""Grids whose last step goes on to no noise at all, as samplers do that end clean."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from ld3 import HAND_MADE, EuclideanFlow, FitConfig, Grid, Teacher, VPSteps, get_solver, integrate, learn_grid, sample
from ld3.grids import gits

F64 = torch.float64
SCHEDULE = VPSteps("linear", 0.02, 0.4, 20)
MODES = torch.tensor([[-2.0], [1.0]], dtype=F64)


class TwoModes(EuclideanFlow):
    """Data at -2 and 1, equally often, with a standard deviation of 0.3: the exact noise."""

    def __init__(self, clean_end: bool) -> None:
        super().__init__(SCHEDULE, (1,), dtype=F64, clean_end=clean_end)

    def noise(self, x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        variance = (0.3 * alpha) ** 2 + sigma**2
        shift = x_t[..., None] - alpha * MODES.T
        weight = torch.softmax(-(shift**2) / (2 * variance), -1)
        return sigma * (weight * shift).sum(-1) / variance


def start() -> Tensor:
    flow = TwoModes(True)
    return flow.prior(16, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("solver", ["ddim", "dpmpp_3m", "unipc_bh1_3", "unipc_bh2_2", "ipndm_3"])
@pytest.mark.parametrize("n", [1, 4])
def test_the_last_step_leads_onto_the_clean_prediction(solver: str, n: int) -> None:
    """As on the grid whose last node is written as +inf."""
    flow = TwoModes(True)
    grid = HAND_MADE["edm"](flow.clock, n)
    assert grid.clean_end
    levels = torch.cat([grid.solver["x"][:-1], torch.tensor([math.inf], dtype=F64)])
    written = Grid({"x": levels}, grid.network)
    rule = get_solver(solver)
    torch.testing.assert_close(integrate(flow, start(), grid, rule), integrate(flow, start(), written, rule))


def test_data_need_no_scale_at_the_end() -> None:
    """Where σ̂ is 0, x̂ is the data; at the last level it is x_t/α."""
    x = torch.ones(2, 1, dtype=F64)
    assert torch.equal(TwoModes(True).decode(x), x)
    torch.testing.assert_close(TwoModes(False).decode(x), math.sqrt(1 - 0.02) * x)


def test_a_clean_end_is_nearer_to_the_modes() -> None:
    """The first level keeps noise of a seventh; the clean prediction has none of it."""
    found = {}
    for clean in (False, True):
        flow = TwoModes(clean)
        ends = flow.decode(sample(flow, HAND_MADE["edm"](flow.clock, 200), start(), solver="dpmpp_2m"))
        found[clean] = (ends - MODES.T).abs().min(1).values.square().mean()
    assert found[True] < found[False]


@pytest.mark.parametrize("solver", ["heun", "euler_lambda"])
def test_solvers_that_cannot_end_so_are_refused(solver: str) -> None:
    with pytest.raises(ValueError, match=f"can end without noise, as the flow does; {solver} cannot"):
        learn_grid(TwoModes(True), 4, solver=solver, start=4)


def test_grids_of_the_other_end_are_refused() -> None:
    grid = HAND_MADE["edm"](TwoModes(False).clock, 4)
    assert grid.mismatch(TwoModes(True).clock) == "it ends at the last level, the flow at no noise"
    assert grid.mismatch(TwoModes(True).clock, end=False) is None
    assert not grid.equals(dataclasses.replace(grid, clean_end=True))
    assert grid != dataclasses.replace(grid, clean_end=True)


def test_json_keeps_the_end() -> None:
    grid = HAND_MADE["uniform_t"](TwoModes(True).clock, 3)
    assert Grid.from_json(grid.to_json()) == grid
    assert "no noise" in grid.describe()
    with pytest.raises(ValueError, match="clean_end must be true or false, got 'yes'"):
        Grid.from_dict(grid.to_dict() | {"clean_end": "yes"})


def test_a_fit_learns_for_the_clean_end() -> None:
    """All levels but the first, and the last one is learned like the others."""
    flow = TwoModes(True)
    config = FitConfig(optimiser="bfgs", phases=("joint",), steps=15)
    fit = learn_grid(
        flow, 3, solver="dpmpp_2m", start=64, config=config, teacher=Teacher(nfe=64, tolerance=1e-4), starting_grids={}
    )
    assert fit.grid.clean_end
    assert fit.loss_learned < 0.8 * min(fit.hand_made.values())
    assert gits(flow, start(), 3, fine_steps=12).clean_end
