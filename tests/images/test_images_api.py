"""The three calls of domains.images: a model, a grid learned for it, and images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from image_models import small_denoiser, write_small

from domains import images
from domains.errors import InputError
from domains.images.flow import DenoiserFlow
from domains.images.settings import TEACHER
from ld3 import HAND_MADE, Teacher, get_solver, integrate
from ld3.learn import FitConfig

pytestmark = pytest.mark.filterwarnings("ignore:the teacher is .* from twice its steps")

QUICK = FitConfig(optimiser="bfgs", phases=("times",), steps=3)
SHORT = Teacher(solver=TEACHER.solver, grid=TEACHER.grid, nfe=8, checked=1)


@pytest.fixture
def model(tmp_path: Path) -> images.ConditionedFlow:
    return images.load(write_small(tmp_path / "small.safetensors"), images.ModelOptions(labels=(3, 5)))


def test_the_three_calls(model: images.ConditionedFlow) -> None:
    """The learned grid is not farther from the teacher than the best hand-made one, on the pairs that chose it; images
    are those of its solver, whatever the batch."""
    fit = images.learn_grid(model, 4, learn=QUICK, pairs=10, teacher=SHORT)
    assert fit.nfe == 4
    assert fit.loss_learned <= min(fit.hand_made.values())
    assert fit.flow == model.fingerprint()
    x = images.sample(model, fit, n=5, seed=7)
    assert x.shape == (5, 1, 8, 8)
    start = model.prior(5, torch.Generator().manual_seed(7))
    with torch.no_grad():
        expected = model.decode(integrate(model, start, fit.grid, fit.student()))
    torch.testing.assert_close(x, expected)
    torch.testing.assert_close(images.sample(model, fit, n=5, seed=7, batch=2), x)
    assert not torch.equal(images.sample(model, fit, n=5, seed=8), x)


def test_images_from_a_hand_made_grid_say_how_far_they_are(model: images.ConditionedFlow) -> None:
    grid, seen = HAND_MADE["edm"](model.clock, 3), []
    x = images.sample(model, grid, 3, solver="ddim", batch=2, on_progress=lambda done, n: seen.append((done, n)))
    assert seen == [(2, 3), (3, 3)]
    start = model.prior(3, torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(x, model.decode(integrate(model, start, grid, get_solver("ddim"))))


class Broken(torch.nn.Module):
    """A network that must not be asked."""

    def forward(self, *arguments: object) -> torch.Tensor:
        raise AssertionError("the network was evaluated")


def test_mistakes_are_refused_before_the_network_runs() -> None:
    denoiser = small_denoiser()
    denoiser.network.last = Broken()  # type: ignore[assignment]
    model = DenoiserFlow(denoiser, (3,))
    for learn, nfe, solver, why in (
        ("nothing", 4, "unipc_bh1_3", "learn must be one of times, joint"),
        ("joint", 3, "heun", "multiple of 2 for heun, got 3"),
        ("coefficients", 4, "heun", "must be a multistep solver"),
        ("joint", 4, "nobody", "nobody"),
    ):
        with pytest.raises(ValueError, match=why):
            images.learn_grid(model, nfe, solver=solver, learn=learn, pairs=4)  # type: ignore[arg-type]
    for target, kind, rule, why in (
        ("comfyui", "all", "dpmpp_2m", "a list of levels and no levels of the network's own: learn 'times'"),
        ("comfyui", "coefficients", "dpmpp_2m", "no coefficients: learn 'times' for it, not 'coefficients'"),
        ("k-diffusion", "times", "unipc_bh1_3", "k-diffusion has no sampler .* unipc_bh1_3: give solver one of ddim"),
        ("diffusers", "all", replace(get_solver("dpmpp_2m"), data_mean={"x": torch.zeros(3)}), "without data_mean"),
        ("k-diffusion", "times", replace(get_solver("ddim"), data_mean={"x": torch.zeros(3)}), "or --for json"),
    ):
        with pytest.raises(ValueError, match=why):
            images.learn_grid(model, 4, solver=rule, learn=kind, target=target, pairs=4)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pairs must be at least 2"):
        images.learn_grid(model, 4, pairs=1)
    grid = HAND_MADE["edm"](model.clock, 3)
    with pytest.raises(ValueError, match="n and batch must be at least 1, got 0"):
        images.sample(model, grid, 0)
    with pytest.raises(ValueError, match="score scale 2"):
        images.sample(model, grid.at(2.0), 1)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"guidance": -1.0}, "guidance must be a number >= 0"),
        ({"prompts": ("a cat", " ")}, "prompts must be texts"),
        ({"resolution": 0}, "resolution must be at least 1"),
        ({"distance": "far"}, "distance must be one of mse"),
    ],
)
def test_options_that_no_model_takes_are_refused(options: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        images.ModelOptions(**options)  # type: ignore[arg-type]


def test_options_that_the_model_does_not_take_are_refused() -> None:
    with pytest.raises(InputError, match="its images have one size"):
        images.load("digits", images.ModelOptions(resolution=16))
