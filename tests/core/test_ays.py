from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from ld3 import EDM, VE, Clock, VPDiscrete
from ld3.grids.ays import NOISE_LEVELS, ays

STABLE_DIFFUSION = VPDiscrete(tuple((np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2).tolist()))
CLOCKS = {
    "sd15": Clock({"x": STABLE_DIFFUSION}),
    "sdxl": Clock({"x": STABLE_DIFFUSION}),
    "svd": Clock({"x": EDM(0.002, 700.0)}),
}
# The other form in which the authors and the library diffusers publish the tables: numbers of training steps, from 0.
TRAINING_STEPS = {
    "sd15": [999, 850, 736, 645, 545, 455, 343, 233, 124, 24, 0],
    "sdxl": [999, 845, 730, 587, 443, 310, 193, 116, 53, 13, 0],
}


@pytest.mark.parametrize("model", TRAINING_STEPS)
def test_both_published_forms_agree(model: str) -> None:
    grid = ays(CLOCKS[model], 10, model)
    steps = 1000 * CLOCKS[model].time(grid.solver)["x"] - 1
    np.testing.assert_allclose(steps, TRAINING_STEPS[model], atol=2e-3)


@pytest.mark.parametrize("model", NOISE_LEVELS)
def test_ten_steps_are_the_table(model: str) -> None:
    grid = ays(CLOCKS[model], 10, model)
    np.testing.assert_allclose(CLOCKS[model].sigma(grid.solver)["x"], NOISE_LEVELS[model], rtol=1e-6)
    assert grid.name == f"ays_{model}"
    assert torch.equal(grid.network["x"], grid.solver["x"][:-1])


@pytest.mark.parametrize("model", NOISE_LEVELS)
@pytest.mark.parametrize("n", [1, 4, 5, 20, 37])
def test_other_numbers_are_interpolated_in_the_logarithm(model: str, n: int) -> None:
    table = NOISE_LEVELS[model]
    expected = np.exp(np.interp(np.linspace(0, 1, n + 1), np.linspace(0, 1, 11), np.log(table)))
    np.testing.assert_allclose(CLOCKS[model].sigma(ays(CLOCKS[model], n, model).solver)["x"], expected, rtol=1e-6)


def test_the_score_scale_does_not_move_the_table() -> None:
    sharp = Clock({"x": STABLE_DIFFUSION}, score_scale=2.0)
    solver = ays(sharp, 10, "sdxl").solver
    np.testing.assert_allclose(sharp.sigma(solver)["x"], NOISE_LEVELS["sdxl"], rtol=1e-6)
    assert solver["x"][1].item() == pytest.approx(-math.log(6.3184485287))


def test_a_clock_of_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"clock must be that of svd.* 700 to 0.002, got 80 to 0.002 for 'x'"):
        ays(Clock({"x": EDM()}), 10, "svd")
    with pytest.raises(ValueError, match=r"got 14.61 to 0.05 for 'b'"):
        ays(Clock({"a": STABLE_DIFFUSION, "b": VE(0.05, 14.6146)}), 10, "sd15")
    with pytest.raises(ValueError, match="model must be one of sd15, sdxl, svd, got 'sd3'"):
        ays(CLOCKS["sd15"], 10, "sd3")
    with pytest.raises(ValueError, match="n must be at least 1 step, got 0"):
        ays(CLOCKS["sd15"], 0, "sd15")
