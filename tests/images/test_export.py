"""Exported grids, run by the real libraries, against our own loop."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import types
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("diffusers")

import diffusers_models as tiny
from diffusers import (
    DDIMScheduler,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
)
from diffusers_models import load_diffusers
from fits import SD, learned_weights, saved_fit
from flows import GaussianFlow

from benchmarks.images.__main__ import main as benchmark
from domains.command import main
from domains.images.conditioned import Conditioned
from domains.images.diffusers.flow import DiffusersFlow
from domains.images.export import TARGETS
from domains.images.models.options import ModelOptions
from ld3 import EDM, VE, Clock, EuclideanFlow, Grid, RectifiedFlow, VPSteps, integrate
from ld3.learn import (
    Comparison,
    FinalTest,
    FitConfig,
    FitResult,
    Teacher,
    WarpConfig,
    fit,
    fit_warp,
    run_teacher,
)
from ld3.path_points import trace
from ld3.solvers import get_solver
from ld3_diffusers.config_options import Component
from ld3_diffusers.learned_scheduler import LearnedScheduler

pytestmark = pytest.mark.filterwarnings("ignore:.*__array__.*:DeprecationWarning")

F64 = torch.float64
PROMPTS = ["a cat", "two dogs"]
OWN = DDIMScheduler(**tiny.STABLE_DIFFUSION)
"""Of a pipeline whose noise path is that of `SD`."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def stable_diffusion(models: Path) -> Path:
    return tiny.save_stable_diffusion(models / "sd", prediction_type="v_prediction")


@pytest.fixture(scope="module")
def sd3(models: Path) -> Path:
    return tiny.save_sd3(models / "sd3")


@pytest.fixture(scope="module")
def flux(models: Path) -> Path:
    return tiny.save_flux(models / "flux")


def flow_of(folder: Path) -> DiffusersFlow:
    options = ModelOptions(prompts=tuple(PROMPTS), guidance=3.0, resolution=16, precision=F64)
    return load_diffusers(folder, options)


def pipeline(kind: Component, folder: Path) -> Component:
    pipe = kind.from_pretrained(folder, dtype=F64)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def noise(flow: DiffusersFlow) -> Tensor:
    return torch.randn(2, *flow.shape, generator=torch.Generator().manual_seed(1), dtype=F64)


@torch.no_grad()
def by_us(flow: DiffusersFlow, fit: FitResult, unit: Tensor, end: float | None = None) -> Tensor:
    """x̂ where the fit's own grid leads, or that grid with another last level."""
    grid = fit.grid
    if end is not None:
        levels = torch.cat([grid.solver["x"][:-1], torch.tensor([end], dtype=F64)])
        grid = dataclasses.replace(grid, solver={"x": levels})
    x = Conditioned(flow.prior_scale["x"] * unit, torch.arange(len(unit)))
    return integrate(flow, x, grid, fit.student()).x


@torch.no_grad()
def picture(flow: DiffusersFlow, latents: Tensor) -> Tensor:
    return (flow.image(latents) / 2 + 0.5).clamp(0, 1)


def run(code: str, pipe: Component, latents: Tensor, **settings: object) -> Tensor:
    """The exported lines, with the arguments that a user adds; their images."""

    class Caller:
        """The pipeline, with more arguments to its call."""

        def __init__(self) -> None:
            object.__setattr__(self, "called", None)

        def __getattr__(self, name: str) -> object:
            return getattr(pipe, name)

        def __setattr__(self, name: str, value: object) -> None:
            setattr(pipe, name, value)

        def __call__(self, prompt: object, **exported: object) -> Component:
            given = {"latents": latents, "guidance_scale": 3.0, "output_type": "pt", **exported, **settings}
            out = pipe(prompt, **given)
            images.append(out.images)
            return out

    images: list[Tensor] = []
    exec(code, {"pipe": Caller(), "prompt": PROMPTS})
    return images[0]


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    """Equal to `tolerance` of the largest value; most of them must not be black or white."""
    assert ((b > 0.01) & (b < 0.99)).double().mean() > 0.5
    return bool((a - b).abs().max() <= tolerance * b.abs().max())


def test_euler_goes_to_diffusers_as_noise_levels(stable_diffusion: Path) -> None:
    flow, fit = flow_of(stable_diffusion), saved_fit(SD, "ddim")
    latents = noise(flow)
    code = TARGETS["diffusers"](fit, Path("fit.json"))
    assert "EulerDiscreteScheduler" in code
    theirs = run(code, pipeline(StableDiffusionPipeline, stable_diffusion), latents)
    assert close(picture(flow, by_us(flow, fit, latents)), theirs)


@pytest.mark.parametrize("solver", ["dpmpp_2m", "dpmpp_3m"])
def test_dpm_solver_goes_to_diffusers_as_whole_steps(stable_diffusion: Path, solver: str) -> None:
    flow, fit = flow_of(stable_diffusion), saved_fit(SD, solver, n=5)
    latents = noise(flow)
    code = TARGETS["diffusers"](fit, Path("fit.json"))
    theirs = run(code, pipeline(StableDiffusionPipeline, stable_diffusion), latents)
    whole = torch.tensor([round(t) for t in fit.path["x"].solver.t], dtype=F64)
    levels = SD.half_log_snr(whole)
    rounded = dataclasses.replace(fit, grid=Grid({"x": levels}, {"x": levels[:-1]}))
    end = SD.alpha(whole[-1])
    # Its prior has a standard deviation of 1, ours of σ(999).
    assert close(picture(flow, end * by_us(flow, rounded, latents / SD.sigma(whole[0]))), theirs)
    assert close(picture(flow, end * by_us(flow, fit, latents)), theirs, 0.05)


def test_euler_goes_to_flow_matching_as_times(sd3: Path) -> None:
    flow, fit = flow_of(sd3), saved_fit(RectifiedFlow(), "ddim", clean_end=True)
    unit = noise(flow)
    code = TARGETS["diffusers"](fit, Path("fit.json"))
    size = {"height": 16, "width": 16}
    # Their pipeline takes the noise as x_t itself, at 0.999.
    theirs = run(code, pipeline(StableDiffusion3Pipeline, sd3), 0.999 * unit, **size)
    assert close(picture(flow, by_us(flow, fit, unit)), theirs)


SCHEDULED = [
    ("unipc_bh2_3", False, False),
    ("unipc_bh2_3", True, True),
    ("ipndm_3", True, False),
    ("dpmpp_3m", True, True),
    ("heun", False, False),
    ("heun", True, False),
]


@pytest.mark.parametrize(("solver", "own_levels", "weights"), SCHEDULED)
def test_learned_scheduler_carries_the_rest(
    stable_diffusion: Path, tmp_path: Path, solver: str, own_levels: bool, weights: bool
) -> None:
    flow = flow_of(stable_diffusion)
    learned = learned_weights(4, get_solver(solver).corrector is not None) if weights else None
    fit = saved_fit(SD, solver, own_levels=own_levels, coefficients=learned)
    fit.save(tmp_path / "fit.json")
    latents = noise(flow)
    code = TARGETS["diffusers"](fit, tmp_path / "fit.json")
    theirs = run(code, pipeline(StableDiffusionPipeline, stable_diffusion), latents)
    end = SD.alpha(torch.zeros(()))
    # In float64 throughout: what is left are the pipeline's float32 times.
    assert close(picture(flow, end * by_us(flow, fit, latents)), theirs)


STRAIGHT = {"sd3": StableDiffusion3Pipeline, "flux": FluxPipeline}


def straight_images(kind: str, folder: Path, fit: FitResult) -> Tensor:
    """What a pipeline for straight paths makes of its own noise of seed 1."""
    pipe = pipeline(STRAIGHT[kind], folder)
    pipe.scheduler = LearnedScheduler.from_fit(fit, pipe.scheduler)
    return pipe(
        PROMPTS,
        generator=torch.Generator().manual_seed(1),
        num_inference_steps=4,
        guidance_scale=3.0,
        height=16,
        width=16,
        output_type="pt",
    ).images


@pytest.mark.parametrize("kind", ["sd3", "flux"])
@pytest.mark.parametrize("solver", ["unipc_bh2_2", "heun"])
def test_learned_scheduler_samples_straight_paths(request: pytest.FixtureRequest, kind: str, solver: str) -> None:
    """The network's levels run ahead of the solver's, so that it is not to see the pipeline's noise at its scale."""
    folder = request.getfixturevalue(kind)
    flow, fit = flow_of(folder), saved_fit(RectifiedFlow(), solver, own_levels=True)
    assert fit.path["x"].network.alpha[0] > 1.5 * fit.path["x"].solver.alpha[0]
    ours = picture(flow, 0.999 * by_us(flow, fit, noise(flow)))
    assert close(ours, straight_images(kind, folder, fit))


def test_networks_of_straight_paths_may_see_unit_noise(sd3: Path) -> None:
    """With the solver's own levels no evaluation is thrown away: σ is 0.999 where the pipeline's noise has 1."""
    flow, fit = flow_of(sd3), saved_fit(RectifiedFlow(), "unipc_bh2_2")
    assert len(LearnedScheduler.from_fit(fit, FlowMatchEulerDiscreteScheduler()).timesteps) == 4
    assert close(picture(flow, 0.999 * by_us(flow, fit, noise(flow))), straight_images("sd3", sd3, fit), 1e-3)


@pytest.mark.parametrize("lead", [0.0, 0.5])
def test_learned_scheduler_starts_where_the_solver_does(lead: float) -> None:
    """Whatever the network is told: of data N(0, s²) and noise z, one step of DDIM is known in closed form."""
    variance = 30.0**2
    fit = saved_fit(RectifiedFlow(), "ddim", n=1)
    solver, told = fit.grid.solver["x"], fit.grid.network["x"] + lead
    grid = dataclasses.replace(fit.grid, network={"x": told})
    fit = dataclasses.replace(fit, grid=grid, path=trace(Clock({"x": RectifiedFlow()}), grid))
    scheduler = LearnedScheduler.from_fit(fit, FlowMatchEulerDiscreteScheduler())
    scheduler.set_timesteps(1)
    unit = torch.linspace(-2, 2, 5, dtype=F64).reshape(1, 5, 1, 1)
    x_t = unit
    for time in scheduler.timesteps.double() / 1000:
        velocity = x_t * (time - variance * (1 - time)) / (variance * (1 - time) ** 2 + time**2)
        x_t = scheduler.step(velocity, time, x_t).prev_sample
    first, last = torch.exp(-solver)
    clean = first * unit * variance / (variance + torch.exp(-2 * told[0]))
    expected = 0.999 * (clean + last / first * (first * unit - clean))
    torch.testing.assert_close(x_t, expected, rtol=5e-3, atol=0)


def test_what_the_benchmark_has_learned_reaches_a_pipeline(
    stable_diffusion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--learn coefficients`, from the command that fits to the images of the exported lines."""
    # Not --learn all: after a fit of times and levels, few pairs need not like any coefficients better than none.
    asked = ["--model", str(stable_diffusion), "--prompts", *PROMPTS, "--guidance", "3"]
    asked += ["--learn", "coefficients"]
    quick = [
        "--solver",
        "unipc_bh2_2",
        "--nfe",
        "4",
        "--samples",
        "2",
        "--teacher-nfe",
        "8",
        "--fit-pairs",
        "60",
        "--fit-steps",
        "10",
    ]
    assert benchmark([*asked, *quick, "--out", str(tmp_path)]) == 0
    path = tmp_path / "grids" / "learned_unipc_bh2_2_nfe4.json"
    fit = FitResult.load(path)
    assert fit.coefficients is not None
    capsys.readouterr()
    assert main(["export", str(path), "--to", "diffusers"]) == 0
    code = capsys.readouterr().out
    flow = flow_of(stable_diffusion)
    latents = noise(flow)
    theirs = run(code, pipeline(StableDiffusionPipeline, stable_diffusion), latents)
    assert fit.grid.clean_end  # as the pipeline's DDIMScheduler ends
    assert close(picture(flow, by_us(flow, fit, latents)), theirs)
    plain = by_us(flow, dataclasses.replace(fit, coefficients=None), latents)
    assert not close(picture(flow, plain), theirs, 1e-3)

    assert main(["export", str(path), "--to", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["coefficients"] == fit.coefficients.to_dict()
    assert main(["show", str(path)]) == 0
    assert fit.coefficients.describe() in capsys.readouterr().out
    for target in ("k-diffusion", "comfyui"):
        assert main(["export", str(path), "--to", target]) == 2
        assert capsys.readouterr().err.startswith(f"error: {target} cannot take learned solver coefficients")


def test_learned_scheduler_is_saved_with_its_pipeline(tmp_path: Path) -> None:
    fit = saved_fit(RectifiedFlow(), "unipc_bh1_2", own_levels=True)
    scheduler = LearnedScheduler.from_fit(fit, FlowMatchEulerDiscreteScheduler(shift=3.0))
    scheduler.save_pretrained(tmp_path)
    again = LearnedScheduler.from_pretrained(tmp_path)
    written = {name: value for name, value in scheduler.config.items() if name != "_use_default_values"}
    assert dict(again.config) == written
    assert torch.equal(again.timesteps, scheduler.timesteps)
    assert len(again.timesteps) == 5


@pytest.mark.parametrize("own_levels", [False, True])
@pytest.mark.parametrize("kind", ["pixels", "latents"])
def test_pipelines_without_prompts_get_code_of_their_own(
    models: Path, tmp_path: Path, kind: str, own_levels: bool
) -> None:
    if kind == "pixels":
        folder, schedule = tiny.save_unconditional(models / f"ddpm{own_levels}", prediction_type="sample"), VPSteps()
    else:
        folder, schedule = tiny.save_latent(models / f"ldm{own_levels}"), SD
    flow = load_diffusers(folder, ModelOptions())
    fit = saved_fit(schedule, "unipc_bh1_2", own_levels=own_levels)
    fit.save(tmp_path / "fit.json")
    theirs: list[Tensor] = []

    class Caller:
        """The pipeline, with the arguments that a user adds."""

        def __getattr__(self, name: str) -> object:
            return getattr(pipe, name)

        def __setattr__(self, name: str, value: object) -> None:
            setattr(pipe, name, value)

        def __call__(self, **exported: object) -> Component:
            out = pipe(batch_size=2, generator=torch.Generator().manual_seed(1), output_type="np", **exported)
            theirs.append(torch.from_numpy(out.images).double().permute(0, 3, 1, 2))
            return out

    pipe = DiffusionPipeline.from_pretrained(folder)  # LDMPipeline draws its noise in float32
    exec(TARGETS["diffusers-unconditional"](fit, tmp_path / "fit.json"), {"pipe": Caller()})
    assert len(pipe.scheduler.timesteps) == (5 if kind == "pixels" and own_levels else 4)
    unit = torch.randn(2, *flow.shape, generator=torch.Generator().manual_seed(1))
    x = Conditioned(flow.prior_scale["x"] * unit, torch.zeros(2, dtype=torch.long))
    with torch.no_grad():
        ours = picture_of_state(flow, integrate(flow, x, fit.grid, fit.student()))
    assert close(ours, theirs[0], 1e-4)


def picture_of_state(flow: DiffusersFlow, end: Conditioned) -> Tensor:
    return (flow.decode(end) / 2 + 0.5).clamp(0, 1)


def test_pipelines_that_show_the_network_their_noise_must_be_named(models: Path) -> None:
    folder = tiny.save_unconditional(models / "unnamed")
    pipe = pipeline(DiffusionPipeline, folder)
    pipe.scheduler = LearnedScheduler.from_fit(saved_fit(VPSteps(), "ddim", own_levels=True), pipe.scheduler)
    with pytest.raises(ValueError, match=r"scales_input must be False.*2\.6 times") as info:
        pipe(num_inference_steps=4)
    assert "\n" not in str(info.value)


def test_learned_scheduler_refuses_other_steps_and_starts() -> None:
    fit = saved_fit(SD, "unipc_bh2_2")
    scheduler = LearnedScheduler.from_fit(fit, OWN)
    with pytest.raises(ValueError, match="must be 4, as learned, got 50"):
        scheduler.set_timesteps(50)
    scheduler.set_timesteps(4)
    for t in scheduler.timesteps:
        last = scheduler.step(torch.ones(1, 4, 2, 2), t, torch.ones(1, 4, 2, 2)).prev_sample
    # Noise of one, all of which the network sees, is on its way from noise of one to a clean image of zeros.
    assert torch.allclose(last, torch.full_like(last, fit.path["x"].solver.sigma[-1]), rtol=1e-4)
    with pytest.raises(ValueError, match="the run of 4 steps is over"):
        scheduler.step(torch.ones(1, 4, 2, 2), t, last)
    with pytest.raises(ValueError, match="begin_index must be 0"):
        scheduler.set_begin_index(2)
    with pytest.raises(ValueError, match=r"other noise levels than those of the pipeline's DDIMScheduler: α is off"):
        LearnedScheduler.from_fit(saved_fit(SD, "unipc_bh2_2"), DDIMScheduler())
    with pytest.raises(ValueError, match=r"path of kind VPSteps, the pipeline's FlowMatch.* is one of RectifiedFlow"):
        LearnedScheduler.from_fit(saved_fit(SD, "unipc_bh2_2"), FlowMatchEulerDiscreteScheduler())


@pytest.fixture(scope="module")
def k_sampling() -> Component:
    """`k_diffusion.sampling` as it is installed.

    The package as a whole asks for libraries that no sampler uses, torchvision among them; where these are missing, the
    module is loaded without the package's start-up, and torchvision's name stands empty.
    """
    spec = importlib.util.find_spec("k_diffusion")
    if spec is None:
        pytest.skip("k-diffusion is not here: pip install --no-deps k-diffusion torchdiffeq torchsde trampoline")
    with pytest.MonkeyPatch.context() as patch:
        if importlib.util.find_spec("torchvision") is None:
            package = types.ModuleType("k_diffusion")
            package.__path__ = list(spec.submodule_search_locations or [])
            functional, transforms, vision = (types.ModuleType(name) for name in ("functional", "transforms", "vision"))
            transforms.functional = functional  # type: ignore[attr-defined]
            patch.setitem(sys.modules, "k_diffusion", package)
            patch.setitem(sys.modules, "torchvision", vision)
            patch.setitem(sys.modules, "torchvision.transforms", transforms)
        return importlib.import_module("k_diffusion.sampling")


@pytest.mark.parametrize("solver", ["ddim", "heun", "dpmpp_2m"])
def test_k_diffusion_takes_our_steps(k_sampling: Component, stable_diffusion: Path, solver: str) -> None:
    flow, fit = flow_of(stable_diffusion), saved_fit(SD, solver)
    unit = noise(flow)

    def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
        with torch.no_grad():
            move = flow.displacement(Conditioned(x, torch.arange(len(x))), {"x": -sigma[0].double().log()})
        return x + move["x"]

    code = TARGETS["k-diffusion"](fit, Path("fit.json")).replace("from k_diffusion.sampling import ", "# ")
    code = code.replace("torch.randn(shape)", "unit")
    names = {f"sample_{name}": getattr(k_sampling, f"sample_{name}") for name in ("euler", "heun", "dpmpp_2m")}
    scope: dict[str, Any] = {**names, "denoiser": denoiser, "unit": unit}
    exec(code, scope)
    ours = by_us(flow, fit, unit, torch.inf if solver == "dpmpp_2m" else None)
    assert close(picture(flow, ours), picture(flow, scope["samples"]))


def test_comfyui_gets_the_levels_of_its_samplers() -> None:
    fit = saved_fit(SD, "ipndm_4", n=5)
    line, *comments = TARGETS["comfyui"](fit, Path("fit.json")).strip().split("\n")
    assert all(comment.startswith("# ") or not comment for comment in comments)
    assert any("KSamplerSelect: ipndm" in comment for comment in comments)
    assert any("whole step" in comment for comment in comments)
    assert any("√(1 + σ²)" in comment for comment in comments)
    levels = torch.tensor([float(word) for word in line.split(",")], dtype=F64)
    torch.testing.assert_close(-levels.log(), fit.grid.solver["x"], rtol=1e-7, atol=1e-7)


class UnitGaussian(EuclideanFlow):
    """Data N(0, 1)."""

    def noise(self, x_t: Tensor, t: Tensor) -> Tensor:
        return x_t * t / (1 + t**2)


def test_comfyui_ipndm_is_ours() -> None:
    """ComfyUI cannot be installed from a registry: its formula, Adams-Bashforth in σ̂ of order min(4, i + 1)."""
    fit = saved_fit(EDM(), "ipndm_4", n=6)
    sigmas = [float(w) for w in TARGETS["comfyui"](fit, Path("fit.json")).split("\n")[0].split(",")]

    def noise_at(x: float, sigma: float) -> float:
        return x * sigma / (1 + sigma**2)

    weights = ([1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24])
    x = 80.0
    past: list[float] = []
    for now, after in pairwise(sigmas):
        past.insert(0, noise_at(x, now))
        x += (after - now) * sum(w * e for w, e in zip(weights[min(len(past), 4) - 1], past, strict=False))

    ours = integrate(UnitGaussian(EDM(), (1,), dtype=F64), torch.full((1, 1), 80.0, dtype=F64), fit.grid, fit.student())
    assert ours.item() == pytest.approx(x, rel=1e-6)


def test_a_warp_goes_to_other_samplers_at_any_number_of_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a fit of no steps, as the page on warps has it; 5 evaluations are none that it was fitted on."""
    flow, solver = GaussianFlow(SD), get_solver("ddim")
    pairs = run_teacher(flow, flow.prior(32, torch.Generator().manual_seed(0)), Teacher(nfe=32, chunk=64, checked=1))
    learned = fit_warp(flow, pairs, pairs, solver, (3, 6), WarpConfig(iterations=5, network=False))
    grid, config = learned.warp(5), FitConfig(initial_grid="warp", phases=("times",), steps=0)
    kept = fit(flow, pairs, pairs, solver, 5, config, starting_grids={"warp": grid})
    assert kept.loss_learned < min(kept.hand_made.values())
    path = tmp_path / "warp_nfe5.json"
    kept.save(path)
    assert main(["export", str(path), "--to", "comfyui"]) == 0
    levels = torch.tensor([float(word) for word in capsys.readouterr().out.split("\n")[0].split(",")], dtype=F64)
    torch.testing.assert_close(-levels.log(), grid.solver["x"].detach(), rtol=1e-7, atol=1e-7)
    assert main(["export", str(path), "--to", "diffusers"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "sigmas" in line and "[" in line)
    told = torch.tensor([float(word) for word in line[line.index("[") + 1 : line.index("]")].split(",")], dtype=F64)
    torch.testing.assert_close(-told.log(), grid.solver["x"].detach()[: len(told)], rtol=1e-7, atol=1e-7)
    learned.save(tmp_path / "warp.json")
    assert main(["export", str(tmp_path / "warp.json"), "--to", "comfyui"]) == 2
    assert "it is of schema 'ld3.warp_fit', version 4, not 'ld3.fit'" in capsys.readouterr().err


def test_json_holds_everything() -> None:
    fit = saved_fit(SD, "unipc_bh2_2", own_levels=True, coefficients=learned_weights(4, True))
    content = json.loads(TARGETS["json"](fit, Path("fit.json")))
    x = content["factors"]["x"]
    assert x["schedule"] == "VPSteps"
    assert x["network"]["half_log_snr"] == pytest.approx(fit.grid.network["x"].tolist())
    assert x["solver"]["half_log_snr"] == pytest.approx(fit.grid.solver["x"].tolist())
    t = torch.tensor(x["solver"]["t"], dtype=F64)
    assert x["solver"]["alpha"] == pytest.approx(SD.alpha(t).tolist())
    assert content["coefficients"] == learned_weights(4, True).to_dict()


REFUSED = [
    ("k-diffusion", saved_fit(SD, "ddim", own_levels=True), "separate ones"),
    ("k-diffusion", saved_fit(SD, "unipc_bh2_3"), "only of ddim, heun, dpmpp_2m"),
    ("k-diffusion", saved_fit(RectifiedFlow(), "dpmpp_2m"), "straight paths"),
    ("comfyui", saved_fit(SD, "dpmpp_2m", coefficients=learned_weights(4, False)), "learned solver coefficients"),
    ("comfyui", saved_fit(VE(0.1, 5.0), "ddim", factors=("a", "b")), "factors a, b"),
    ("diffusers", saved_fit(SD, "ddim", score_scale=2.0), "score multiplied by 2"),
    ("diffusers", saved_fit(EDM(), "ddim"), "samples the path EDM"),
    ("diffusers-unconditional", saved_fit(EDM(), "ddim"), "samples the path EDM"),
]


@pytest.mark.parametrize(("target", "fit", "why"), REFUSED, ids=lambda v: v if isinstance(v, str) else "")
def test_what_a_target_cannot_say_is_refused(target: str, fit: FitResult, why: str) -> None:
    with pytest.raises(ValueError, match=why) as info:
        TARGETS[target](fit, Path("fit.json"))
    assert "\n" not in str(info.value)


def test_command_exports_shows_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "fit.json"
    fit = saved_fit(SD, "ddim")
    fit.save(path)
    assert main(["export", str(path), "--to", "comfyui"]) == 0
    assert capsys.readouterr().out == TARGETS["comfyui"](fit, path)
    assert main(["show", str(path)]) == 0
    assert fit.grid.describe() in capsys.readouterr().out
    lost = FinalTest(80, "edm", "not better", Comparison(0.1, 0.2, -0.1, -0.3, 0.1))
    for test, words in ((None, "none was made"), (lost, "edm, made by hand, comes back")):
        dataclasses.replace(fit, test=test).save(path)
        assert main(["show", str(path)]) == 0
        said = capsys.readouterr().out
        assert "validation: learned 0.1, 0.2 by hand (edm)" in said
        assert words in said
    saved_fit(SD, "ddim", own_levels=True).save(path)
    assert main(["export", str(path), "--to", "k-diffusion"]) == 2
    path.write_text("{}")
    assert main(["export", str(path), "--to", "json"]) == 2
    lines = capsys.readouterr().err.strip().split("\n")
    assert len(lines) == 2
    assert all(line.startswith("error: ") for line in lines)
