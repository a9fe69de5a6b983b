"""A score multiplied by c: where it ends, in closed form, and that it seeks modes rather than sampling p^c."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from flows import F64, GaussianFlow, MixtureFlow

from ld3 import EDM, HAND_MADE, Clock, Grid, get_solver, integrate
from ld3.learn import FitConfig, Teacher, fit, run_teacher


class UnitGaussian(GaussianFlow):
    """Data N(0, 1)."""

    def __init__(self, score_scale: float) -> None:
        super().__init__(EDM(), score_scale)
        self.mean, self.std = torch.zeros(3, dtype=F64), torch.ones(3, dtype=F64)


@pytest.mark.parametrize("c", [0.5, 1.0, 2.0, 4.0])
def test_a_unit_gaussian_ends_where_the_closed_form_says(c: float) -> None:
    """x shrinks as (1 + σ̂²)^(c/2), from a standard deviation of 80: to 80/6401² = 2e-6 at c = 4, not to p^4's 1/2."""
    flow = UnitGaussian(c)
    start = flow.prior(4000, torch.Generator().manual_seed(0))
    grid = HAND_MADE["uniform_log_snr"](flow.clock, 400)
    end = integrate(flow, start, grid, get_solver("dpmpp_2m"))
    expected = start * ((1 + 0.002**2) / (1 + 80.0**2)) ** (c / 2)
    assert (end / expected - 1).abs().max() < 3e-3
    if c == 4:
        assert end.std().item() == pytest.approx(80 / 6401**2, rel=0.03)


class TwoModes(MixtureFlow):
    """Modes of weight 0.8 and 0.2, far apart."""

    def __init__(self, score_scale: float) -> None:
        mean = torch.tensor([[-1.0, 0.0], [1.0, 0.0]], dtype=F64)
        std = torch.full((2,), 0.1, dtype=F64)
        super().__init__(EDM(0.002, 80.0), mean, std, torch.tensor([0.8, 0.2], dtype=F64))
        self.clock = Clock(self.clock.schedules, score_scale)


@pytest.mark.parametrize(("c", "share"), [(1.0, 0.2), (2.0, 0.0)])
def test_the_lighter_mode_is_lost_where_p_squared_keeps_six_percent(c: float, share: float) -> None:
    flow = TwoModes(c)
    start = flow.prior(1000, torch.Generator().manual_seed(0))
    end = integrate(flow, start, HAND_MADE["edm"](flow.clock, 200), get_solver("dpmpp_2m"))
    found = (end[:, 0] > 0).double().mean().item()
    assert found == 0.0 if share == 0 else abs(found - share) < 4 * math.sqrt(share * (1 - share) / 1000)


def test_a_grid_of_another_score_scale_is_refused_until_it_is_converted() -> None:
    flow, plain = UnitGaussian(3.0), UnitGaussian(1.0)
    grid = HAND_MADE["edm"](plain.clock, 5)
    start = flow.prior(2, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"score scale 3, got one for 1.*grid\.at\(3\)"):
        integrate(flow, start, grid, get_solver("ddim"))
    end = integrate(flow, start, grid.at(3.0), get_solver("ddim"))
    assert torch.equal(end, integrate(flow, start, HAND_MADE["edm"](flow.clock, 5), get_solver("ddim")))


def test_a_step_is_that_of_the_score_times_c() -> None:
    """Short Euler steps of dx̂ = c ε dσ̂ lead where the solver does."""
    flow, c = TwoModes(2.5), 2.5
    x = start = flow.prior(5, torch.Generator().manual_seed(1)) / 40
    lam = torch.linspace(-math.log(2.0), -math.log(0.2), 20001, dtype=F64)
    for level, after in pairwise(lam):
        noise = -flow.displacement(x, {"x": level})["x"] * level.exp()
        x = x + c * noise * (torch.exp(-after) - torch.exp(-level))
    grid = Grid.coupled({"x": lam[::50]}, score_scale=c)
    torch.testing.assert_close(integrate(flow, start, grid, get_solver("dpmpp_2m")), x, rtol=0, atol=1e-3)


def test_a_learned_grid_knows_its_score_scale() -> None:
    flow = TwoModes(2.0)
    start = flow.prior(8, torch.Generator().manual_seed(0))
    pairs = run_teacher(flow, start, Teacher(nfe=16, checked=1))
    result = fit(flow, pairs, pairs, get_solver("ddim"), 3, FitConfig(steps=1))
    assert result.grid.score_scale == 2.0
    assert result.grid.mismatch(flow.clock) is None
