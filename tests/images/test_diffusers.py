"""Adapters to diffusers, against the real library: models of every kind, and its own schedulers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("diffusers")

import diffusers_models as tiny
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DModel,
    UniPCMultistepScheduler,
)
from diffusers_models import load_diffusers

from benchmarks.images.__main__ import main as benchmark
from domains.errors import InputError
from domains.images.conditioned import Conditioned
from domains.images.diffusers.flow import DiffusersFlow
from domains.images.diffusers.load import pipeline_flow
from domains.images.diffusers.networks import from_patches, to_patches
from domains.images.diffusers.pipeline import load_pipeline, published_table
from domains.images.metrics.distances import Distance, mean_squared
from domains.images.models.options import ModelOptions
from domains.images.settings import TEACHER
from domains.seeds import seed_of
from ld3 import HAND_MADE, Grid, RectifiedFlow, Schedule, VPSteps, get_solver, integrate
from ld3.grids import ays
from ld3.schedules import Betas
from ld3.testing import check_flow
from ld3_diffusers.config_options import Component
from ld3_diffusers.schedule import read_path

# numpy's, about a keyword that diffusers' schedulers do not know yet.
pytestmark = pytest.mark.filterwarnings("ignore:.*__array__.*:DeprecationWarning")

F64 = torch.float64
PROMPTS = ("a cat", "two dogs")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def unconditional(models: Path) -> DiffusersFlow:
    return load_diffusers(tiny.save_unconditional(models / "ddpm"), ModelOptions(precision=F64))


@pytest.fixture(scope="module")
def stable_diffusion(models: Path) -> Path:
    return tiny.save_stable_diffusion(models / "sd", prediction_type="v_prediction")


@pytest.fixture(scope="module")
def sd3(models: Path) -> Path:
    return tiny.save_sd3(models / "sd3")


@pytest.fixture(scope="module")
def flux(models: Path) -> Path:
    return tiny.save_flux(models / "flux")


def prompted(folder: Path, scale: float = 3.0, resolution: int | None = None) -> DiffusersFlow:
    options = ModelOptions(prompts=PROMPTS, guidance=scale, resolution=resolution, precision=F64)
    return load_diffusers(folder, options)


def noise(flow: DiffusersFlow, n: int = 3) -> Tensor:
    return torch.randn(n, *flow.shape, generator=torch.Generator().manual_seed(1), dtype=F64)


def answer(flow: DiffusersFlow, x_t: Tensor, time: Tensor) -> Tensor:
    """The network as a pipeline calls it."""
    condition = torch.arange(len(x_t)) % flow.conditions
    return flow._network(x_t, time.to(F64), condition)


@torch.no_grad()
def by_diffusers(
    flow: DiffusersFlow, scheduler: Component, x_t: Tensor, n: int | None = None, **times: list[float]
) -> Tensor:
    """A pipeline's loop, from unit noise."""
    scheduler.set_timesteps(n, **times)
    x_t = x_t * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x_t, t) if hasattr(scheduler, "scale_model_input") else x_t
        x_t = scheduler.step(answer(flow, scaled, t), t, x_t).prev_sample
    return x_t


@torch.no_grad()
def by_us(flow: DiffusersFlow, solver: str, times: Tensor, x_t: Tensor, end: float = torch.inf) -> Tensor:
    """Our loop over these times and on to λ = `end`, by default no noise at all, from x_t at the first of them."""
    levels = torch.cat([flow.schedule.half_log_snr(times), torch.tensor([end], dtype=F64)])
    grid = Grid({"x": levels}, {"x": levels[:-1]})
    x = x_t / flow.schedule.alpha(times[0])
    return integrate(flow, Conditioned(x, torch.arange(len(x)) % flow.conditions), grid, get_solver(solver)).x


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    """Equal to `tolerance` of the largest value, but not trivially."""
    assert b.std() > 0.05
    return bool((a - b).abs().max() <= tolerance * b.abs().max())


SOLVERS = [
    ("ddim", DDIMScheduler, {"clip_sample": False, "timestep_spacing": "trailing"}),
    ("dpmpp_2m", DPMSolverMultistepScheduler, {"solver_order": 2}),
    ("dpmpp_3m", DPMSolverMultistepScheduler, {"solver_order": 3, "timestep_spacing": "trailing"}),
    (
        "unipc_bh1_2",
        UniPCMultistepScheduler,
        {"solver_type": "bh1", "solver_order": 2, "final_sigmas_type": "sigma_min"},
    ),
    ("unipc_bh2_2", UniPCMultistepScheduler, {"solver_type": "bh2", "solver_order": 2}),
    (
        "unipc_bh1_3",
        UniPCMultistepScheduler,
        {"solver_type": "bh1", "solver_order": 3, "final_sigmas_type": "sigma_min"},
    ),
    ("unipc_bh2_3", UniPCMultistepScheduler, {"solver_type": "bh2", "solver_order": 3}),
    ("ddim", EulerDiscreteScheduler, {}),
]


@pytest.mark.parametrize("n", [4, 8])
@pytest.mark.parametrize(("solver", "kind", "settings"), SOLVERS)
def test_solvers_are_those_of_diffusers(
    unconditional: DiffusersFlow, solver: str, kind: Component, settings: dict[str, Any], n: int
) -> None:
    scheduler = kind(**settings)
    start = noise(unconditional)
    theirs = by_diffusers(unconditional, scheduler, start, n)
    times = scheduler.timesteps.double()
    # Euler's scheduler holds x̂ and starts it at σ̂; rounds to float32 there.
    first = unconditional.schedule.alpha(times[0]) if kind is EulerDiscreteScheduler else 1.0
    start = first * start * scheduler.init_noise_sigma
    if settings.get("final_sigmas_type") == "sigma_min":  # their bh1 cannot end without noise
        end = unconditional.clock.bounds["x"][1]
        last = unconditional.schedule.alpha(torch.tensor(0.0))
        assert close(last * by_us(unconditional, solver, times, start, end), theirs)
    else:
        assert close(by_us(unconditional, solver, times, start), theirs)


def test_heun_is_that_of_diffusers(unconditional: DiffusersFlow) -> None:
    scheduler = HeunDiscreteScheduler(beta_start=1e-4, beta_end=0.02)
    start = noise(unconditional)
    times = torch.tensor([900, 700, 400, 100], dtype=F64)
    theirs = by_diffusers(unconditional, scheduler, start, timesteps=times.tolist())
    levels = unconditional.schedule.half_log_snr(times)
    x = Conditioned(start * scheduler.init_noise_sigma, torch.zeros(len(start), dtype=torch.long))
    with torch.no_grad():
        heun = integrate(unconditional, x, Grid({"x": levels}, {"x": levels[:-1]}), get_solver("heun"))
    # Its last step, to no noise, is Euler's.
    assert close(by_us(unconditional, "ddim", times[-1:], unconditional.schedule.alpha(times[-1]) * heun.x), theirs)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_every_prediction_type_means_what_diffusers_says(models: Path, prediction: str) -> None:
    settings = {"prediction_type": prediction, "beta_schedule": "squaredcos_cap_v2"}
    flow = load_diffusers(tiny.save_unconditional(models / prediction, **settings), ModelOptions(precision=F64))
    scheduler = DPMSolverMultistepScheduler(timestep_spacing="trailing", **settings)
    start = noise(flow)
    # α is 1e-4 at the last step of the cosine: begin a little below.
    theirs = by_diffusers(flow, scheduler, start, timesteps=[900, 600, 300, 100])
    assert close(by_us(flow, "dpmpp_2m", scheduler.timesteps.double(), start), theirs)


def test_zero_terminal_snr_begins_where_unipc_begins(models: Path) -> None:
    settings = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"} | tiny.STABLE_DIFFUSION
    flow = load_diffusers(tiny.save_unconditional(models / "zero", **settings), ModelOptions(precision=F64))
    scheduler = UniPCMultistepScheduler(timestep_spacing="trailing", **settings)
    start = noise(flow)
    theirs = by_diffusers(flow, scheduler, start, 5)
    assert scheduler.timesteps[0] == 999
    assert close(by_us(flow, "unipc_bh2_2", scheduler.timesteps.double(), start), theirs, 1e-4)


def test_stable_diffusion_with_guidance_is_the_pipeline(stable_diffusion: Path) -> None:
    flow = prompted(stable_diffusion)
    pipe = StableDiffusionPipeline.from_pretrained(stable_diffusion, dtype=F64)
    pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    latents = noise(flow, 2)
    images = pipe(list(PROMPTS), latents=latents, num_inference_steps=5, guidance_scale=3.0, output_type="pt").images
    ours = flow.image(by_us(flow, "unipc_bh2_2", pipe.scheduler.timesteps.double(), latents))
    assert close((ours / 2 + 0.5).clamp(0, 1), images)
    unguided = flow.image(
        by_us(prompted(stable_diffusion, 1.0), "unipc_bh2_2", pipe.scheduler.timesteps.double(), latents)
    )
    assert not close((unguided / 2 + 0.5).clamp(0, 1), images, 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_sdxl_is_the_pipeline(models: Path, scale: float) -> None:
    folder = models / f"sdxl-{scale}"
    flow = prompted(tiny.save_sdxl(folder), scale)
    pipe = StableDiffusionXLPipeline.from_pretrained(folder, dtype=F64, add_watermarker=False)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    latents = noise(flow, 2)
    images = pipe(
        list(PROMPTS),
        latents=latents,
        num_inference_steps=5,
        guidance_scale=scale,
        height=16,
        width=16,
        output_type="pt",
    ).images
    ours = flow.image(by_us(flow, "dpmpp_2m", pipe.scheduler.timesteps.double(), latents))
    assert close((ours / 2 + 0.5).clamp(0, 1), images)


def test_sd3_with_guidance_is_the_pipeline(sd3: Path) -> None:
    flow = prompted(sd3)
    pipe = StableDiffusion3Pipeline.from_pretrained(sd3, dtype=F64)
    pipe.set_progress_bar_config(disable=True)
    latents = noise(flow, 2)
    sigmas = [0.9, 0.7, 0.4, 0.1]
    images = pipe(
        list(PROMPTS),
        latents=latents,
        sigmas=sigmas,
        num_inference_steps=4,
        height=16,
        width=16,
        guidance_scale=3.0,
        output_type="pt",
    ).images
    times = pipe.scheduler.sigmas[:-1].double()  # shifted, of which our flow knows nothing
    assert times[1] > 0.8
    ours = flow.image(by_us(flow, "ddim", times, latents))
    assert close((ours / 2 + 0.5).clamp(0, 1), images)


def test_flux_is_its_transformer_under_flow_matching(flux: Path) -> None:
    flow = prompted(flux, resolution=16)
    scheduler = FlowMatchEulerDiscreteScheduler()
    start = noise(flow)
    x_t = start.clone()
    scheduler.set_timesteps(sigmas=[0.95, 0.6, 0.3])
    with torch.no_grad():
        for t in scheduler.timesteps:
            x_t = scheduler.step(answer(flow, x_t, t), t, x_t).prev_sample
    assert close(by_us(flow, "ddim", scheduler.sigmas[:-1].double(), start), x_t)


def test_flux_packs_latents_as_its_pipeline_does() -> None:
    from diffusers import FluxPipeline

    x = torch.randn(2, 3, 6, 8)
    assert torch.equal(to_patches(x), FluxPipeline._pack_latents(x, 2, 3, 6, 8))
    assert torch.equal(from_patches(to_patches(x), 3, 4), x)


def test_latents_are_decoded_before_they_are_compared(models: Path) -> None:
    flow = load_diffusers(tiny.save_latent(models / "latent"), ModelOptions(precision=F64))
    x, y = (flow.prior(2, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    with torch.no_grad():
        images = flow.decode(x), flow.decode(y)
        assert images[0].shape == (2, 3, 8, 8)
        torch.testing.assert_close(flow.distance(x, y), (images[0] - images[1]).square().mean((1, 2, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unconditional", "stable_diffusion", "sd3"])
def test_flows_keep_the_laws(request: pytest.FixtureRequest, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # diffusers embeds times in float32, whatever the type of the network; small differences would see its steps.
    monkeypatch.setattr(torch.Tensor, "float", lambda x: x if x.dtype == F64 else x.to(torch.float32))
    model = request.getfixturevalue(kind)
    check_flow(model if kind == "unconditional" else prompted(model), torch.Generator().manual_seed(0), trained=False)


@pytest.mark.slow
def test_fingerprint_follows_prompts_guidance_and_weights(stable_diffusion: Path) -> None:
    base = ModelOptions(prompts=PROMPTS, guidance=3.0)
    flows = [
        load_diffusers(stable_diffusion, options)
        for options in (
            base,
            ModelOptions(prompts=PROMPTS, guidance=2.0),
            ModelOptions(prompts=("a cat", "a dog"), guidance=3.0),
            ModelOptions(prompts=PROMPTS, guidance=3.0, negative_prompt="a dog"),
            ModelOptions(prompts=PROMPTS, guidance=3.0, distance="pseudo_huber"),
        )
    ]
    assert len({flow.fingerprint() for flow in flows}) == 5
    assert load_diffusers(stable_diffusion, base).fingerprint() == flows[0].fingerprint()


def one_line(info: pytest.ExceptionInfo[InputError]) -> str:
    assert "\n" not in str(info.value)
    return str(info.value)


def test_bad_folders_are_refused_in_one_line(models: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no folder of a diffusers pipeline: it has no model_index\.json") as info:
        load_diffusers(tmp_path, ModelOptions())
    one_line(info)
    with pytest.raises(InputError, match="neither a folder nor the id") as info:
        load_diffusers("no/such/folder", ModelOptions())
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "DDPMPipeline"}))
    with pytest.raises(InputError, match="cannot be loaded by diffusers") as info:
        load_diffusers(tmp_path, ModelOptions())
    one_line(info)


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("no_hub")
def test_a_hub_that_cannot_be_reached_is_one_line() -> None:
    with pytest.raises(InputError, match="nobody/nothing cannot be loaded by diffusers") as info:
        load_diffusers("nobody/nothing", ModelOptions())
    one_line(info)


def test_options_that_do_not_fit_are_refused(
    unconditional: DiffusersFlow, stable_diffusion: Path, models: Path
) -> None:
    ddpm, sd = models / "ddpm", stable_diffusion
    with pytest.raises(InputError, match=r"unconditional.*guidance 7\.5"):
        load_diffusers(ddpm, ModelOptions(guidance=7.5))
    with pytest.raises(InputError, match=r"unconditional.*'a cat'"):
        load_diffusers(ddpm, ModelOptions(prompts=("a cat",)))
    with pytest.raises(InputError, match="at least one prompt"):
        load_diffusers(sd, ModelOptions())
    with pytest.raises(InputError, match="multiple of 4, got 15"):
        load_diffusers(sd, ModelOptions(prompts=PROMPTS, resolution=15))


def test_negative_prompts_need_guidance(
    unconditional: DiffusersFlow, stable_diffusion: Path, flux: Path, models: Path
) -> None:
    weak = ModelOptions(prompts=PROMPTS, negative_prompt="a dog", guidance=1.0, resolution=16)
    for model in (models / "ddpm", stable_diffusion, flux):
        with pytest.raises(InputError, match="negative_prompt 'a dog' needs a model with guidance"):
            load_diffusers(model, weak)
    with pytest.raises(InputError, match="negative_prompt 'a dog' needs a model with guidance"):
        load_diffusers(flux, replace(weak, guidance=3.5))


@torch.no_grad()
def test_guidance_leads_away_from_the_negative_prompt(stable_diffusion: Path) -> None:
    """u + s (c - u), with u the answer to the negative prompt."""

    def flow(*prompts: str, guidance: float, negative: str | None = None) -> DiffusersFlow:
        wanted = ModelOptions(
            prompts=prompts, guidance=guidance, negative_prompt=negative, resolution=24, precision=F64
        )
        return load_diffusers(stable_diffusion, wanted)

    time = torch.tensor(400.0, dtype=F64)
    away = flow("a cat", guidance=4.0, negative="two dogs")
    assert away.shape == (4, 12, 12)
    x_t = noise(away)
    with_prompt, without = (answer(flow(text, guidance=1.0), x_t, time) for text in ("a cat", "two dogs"))
    torch.testing.assert_close(answer(away, x_t, time), without + 4.0 * (with_prompt - without))


STEPS = VPSteps("scaled_linear", 0.00085, 0.012)


@pytest.mark.parametrize(
    ("kind", "config", "schedule", "table"),
    [
        ("UNet2DConditionModel", {"cross_attention_dim": 768}, STEPS, "sd15"),
        ("UNet2DConditionModel", {"cross_attention_dim": 2048, "addition_embed_type": "text_time"}, STEPS, "sdxl"),
        ("UNet2DConditionModel", {"cross_attention_dim": 1024}, STEPS, None),
        ("UNet2DConditionModel", {"cross_attention_dim": 1280, "addition_embed_type": "text_time"}, STEPS, None),
        ("UNet2DConditionModel", {"cross_attention_dim": 768}, VPSteps("linear", 0.00085, 0.012), None),
        ("UNet2DConditionModel", {"cross_attention_dim": 768}, replace(STEPS, zero_terminal_snr=True), None),
        ("UNet2DModel", {}, STEPS, None),
        ("SD3Transformer2DModel", {"joint_attention_dim": 4096}, RectifiedFlow(), None),
    ],
)
def test_tables_are_those_of_the_models_that_they_were_published_for(
    kind: str, config: dict[str, object], schedule: Schedule, table: str | None
) -> None:
    assert published_table(kind, config, schedule) == table


@pytest.mark.slow
def test_ays_has_rows_where_a_table_is_published(models: Path, tmp_path: Path) -> None:
    """A small network with the prompts and the path of Stable Diffusion 1; its row is that of the published table."""
    folder = tiny.save_stable_diffusion(models / "sd1", width=768)
    quick = ["--samples", "3", "--nfe", "4", "--teacher-nfe", "8", "--fit-pairs", "4", "--learn", "times"]
    asked = ["--model", str(folder), "--prompts", "a cat", "--guidance", "2", "--solver", "ddim"]
    assert benchmark([*asked, *quick, "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    (row,) = (row for row in results["rows"] if row["method"] == "ays")
    flow = load_diffusers(folder, ModelOptions(prompts=("a cat",), guidance=2.0))
    start = flow.prior(3, torch.Generator().manual_seed(seed_of(0, "evaluate")))
    ends = [
        integrate(flow, start, grid, get_solver(solver))
        for grid, solver in (
            (ays(flow.clock, 4, "sd15"), "ddim"),
            (HAND_MADE[TEACHER.grid](flow.clock, 8), TEACHER.solver),
        )
    ]
    assert row["distance"] == pytest.approx(flow.distance(*ends).mean().item(), rel=1e-3)
    assert results["baselines"]["ays"] == 0


def test_channels_that_do_not_fit_are_refused(models: Path, tmp_path: Path) -> None:
    tiny.save_stable_diffusion(tmp_path / "inpainting", channels=9)
    with pytest.raises(InputError, match="takes 9 channels"):
        load_diffusers(tmp_path / "inpainting", ModelOptions(prompts=PROMPTS))


def test_models_are_found_by_name(unconditional: DiffusersFlow, stable_diffusion: Path, models: Path) -> None:
    flow = load_diffusers(models / "ddpm", ModelOptions(precision=F64))
    assert flow.fingerprint() == unconditional.fingerprint()
    # Nothing said is what the pipeline takes by default.
    flow = load_diffusers(stable_diffusion, ModelOptions(prompts=PROMPTS, precision=F64))
    assert flow.fingerprint() == prompted(stable_diffusion, 7.5).fingerprint()


def test_lpips_looks_at_images_not_latents(stable_diffusion: Path, models: Path) -> None:
    """Latents of 8 x 8 in 4 channels, images of 16 x 16 in 3, which are enough; pixels of 8 x 8 are not."""
    named = Distance("lpips", mean_squared)
    for folder, options in ((stable_diffusion, ModelOptions(prompts=PROMPTS)), (models / "ddpm", ModelOptions())):
        pipeline = load_pipeline(str(folder), torch.device("cpu"), torch.float32)
        if folder == stable_diffusion:
            assert pipeline_flow(pipeline, options, named).measure is named
        else:
            with pytest.raises(ValueError, match="at least 16 pixels a side, got 3 x 8 x 8"):
                pipeline_flow(pipeline, options, named)


@torch.no_grad()
def test_precision_is_that_of_the_weights(models: Path) -> None:
    """And not of the states."""
    folder = tiny.save_unconditional(models / "precision")
    weights = UNet2DModel.from_pretrained(folder / "unet")
    for precision in (None, torch.bfloat16):
        flow = load_diffusers(folder, ModelOptions(precision=precision))
        assert flow.dtype == torch.float32
        x = torch.randn(2, *flow.shape, generator=torch.Generator().manual_seed(0))
        network = weights.to(precision or torch.float32)
        time = torch.tensor(500.0, dtype=F64)
        expected = network(x.to(network.dtype), time.float()).sample.float()
        torch.testing.assert_close(flow.noise(x, time, torch.zeros(2, dtype=torch.long)), expected)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--model", "{models}"], "it has no model_index.json"),
        (["--model", "{models}/ddpm", "--guidance", "7.5"], "unconditional model"),
        (["--model", "{models}/ddpm", "--label", "3"], "no class labels"),
        (["--model", "{models}/sd", "--prompts", "a", "--label", "3"], "takes prompts, not class labels"),
        (["--model", "{models}/sd"], "at least one prompt"),
        (["--model", "{models}/sd", "--prompts", "a", "--resolution", "15"], "multiple of 4, got 15"),
        (["--model", "{models}/ddpm", "--negative-prompt", "a dog"], "needs a model with guidance"),
    ],
)
@pytest.mark.usefixtures("unconditional", "stable_diffusion")
def test_the_command_line_refuses_in_one_line(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], why: str
) -> None:
    filled = [argument.format(models=models) for argument in arguments]
    assert benchmark([*filled, "--out", str(tmp_path)]) == 2
    lines = [line for line in capsys.readouterr().err.split("\n") if line.startswith("error")]
    assert len(lines) == 1
    assert why in lines[0]


def test_schedulers_that_are_not_supported_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one of DDIMScheduler, .*FlowMatch.*, got ScoreSdeVeScheduler"):
        read_path("ScoreSdeVeScheduler", {})
    config = dict(DDIMScheduler().config)
    with pytest.raises(ValueError, match=r"beta_schedule must be one of .*scaled_linear.*, got 'sigmoid'"):
        read_path("DDPMScheduler", config | {"beta_schedule": "sigmoid"})
    with pytest.raises(ValueError, match=r"trained_betas = \[0\.1\]"):
        read_path("DDPMScheduler", config | {"trained_betas": [0.1]})
    with pytest.raises(ValueError, match=r"prediction_type must be one of .*, got 'score'"):
        read_path("DDPMScheduler", config | {"prediction_type": "score"})


@pytest.mark.parametrize("betas", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("zero_snr", [False, True])
def test_the_table_of_alphas_is_that_of_diffusers(betas: Betas, zero_snr: bool) -> None:
    theirs = UniPCMultistepScheduler(beta_schedule=betas, rescale_betas_zero_snr=zero_snr).alphas_cumprod.double()
    ours = VPSteps(betas, zero_terminal_snr=zero_snr).alpha(torch.arange(1000.0)).square()
    torch.testing.assert_close(ours, theirs, rtol=2e-4 if zero_snr else 1e-7, atol=1e-9)
