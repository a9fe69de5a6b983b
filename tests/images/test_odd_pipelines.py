"""Pipelines as people have them: sampled as diffusers samples them, or refused by the name of the option."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("diffusers")

import diffusers_models as tiny
from diffusers import (
    AutoencoderKL,
    DDPMPipeline,
    DDPMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UNet2DModel,
    UniPCMultistepScheduler,
)
from diffusers_models import load_diffusers
from fits import SD, saved_fit

from benchmarks.images.__main__ import main as benchmark
from domains.errors import InputError
from domains.images.conditioned import Conditioned
from domains.images.diffusers.flow import DiffusersFlow
from domains.images.export import TARGETS
from domains.images.fits import learn_grid
from domains.images.models.options import ModelOptions
from ld3 import HAND_MADE, Grid, RectifiedFlow, get_solver, integrate
from ld3.learn import FitResult, Teacher
from ld3_diffusers.config_options import Component

pytestmark = pytest.mark.filterwarnings("ignore:.*__array__.*:DeprecationWarning")

F64 = torch.float64
PROMPTS = ("a cat", "two dogs")


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_stable_diffusion(tmp_path_factory.mktemp("models") / "sd")


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_sdxl(tmp_path_factory.mktemp("models") / "sdxl")


@pytest.fixture(scope="module")
def sd3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_sd3(tmp_path_factory.mktemp("models") / "sd3")


def changed(folder: Path, out: Path, **parts: Component) -> Path:
    """The pipeline saved again with other parts."""
    pipe = DiffusionPipeline.from_pretrained(folder)
    for name, part in parts.items():
        setattr(pipe, name, part)
    pipe.save_pretrained(out)
    return out


def remade(folder: Path, part: str, kind: Component, **options: object) -> Component:
    """A part with random weights and other options."""
    torch.manual_seed(1)
    return kind.from_config(kind.load_config(folder / part), **options)


def pipeline(kind: Component, folder: Path, **settings: object) -> Component:
    pipe = kind.from_pretrained(folder, **({"dtype": F64} | settings))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def flow_of(folder: Path, **options: Any) -> DiffusersFlow:  # noqa: ANN401
    settings: dict[str, Any] = {"prompts": PROMPTS, "precision": F64} | options
    return load_diffusers(folder, ModelOptions(**settings))


def noise(flow: DiffusersFlow, n: int = 2) -> Tensor:
    return torch.randn(n, *flow.shape, generator=torch.Generator().manual_seed(1), dtype=F64)


@torch.no_grad()
def dpm_solver(flow: DiffusersFlow, pipe: Component, x_t: Tensor) -> Tensor:
    """Images by our 2M at the times of the pipeline's scheduler, to no noise, as DPMSolverMultistepScheduler takes."""
    levels = flow.schedule.half_log_snr(pipe.scheduler.timesteps.double())
    levels = torch.cat([levels, torch.full((1,), torch.inf, dtype=F64)])
    condition = torch.arange(len(x_t)) % flow.conditions
    x = x_t.to(flow.dtype) / flow.schedule.alpha(pipe.scheduler.timesteps[0].double())
    end = integrate(flow, Conditioned(x, condition), Grid.coupled({"x": levels}), get_solver("dpmpp_2m"))
    return (flow.decode(end) / 2 + 0.5).clamp(0, 1)


def by_dpm_solver(pipe: Component, latents: Tensor, **settings: object) -> Tensor:
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    given = {"latents": latents, "num_inference_steps": 4, "output_type": "pt"} | settings
    images: Tensor = pipe(list(PROMPTS), **given).images
    return images


def apart(a: Tensor, b: Tensor) -> float:
    """Largest difference of images that are neither black nor white."""
    assert ((b > 0.01) & (b < 0.99)).double().mean() > 0.5
    return float((a - b).abs().max())


SIZE = {"height": 16, "width": 16}
MEAN, STD = [-0.4, 0.3, 0.5, -0.2], [1.6, 0.7, 1.2, 0.9]


def test_latents_of_a_mean_and_a_standard_deviation(sdxl: Path, tmp_path: Path) -> None:
    vae = remade(sdxl, "vae", AutoencoderKL, latents_mean=MEAN, latents_std=STD, scaling_factor=0.5)
    folder = changed(sdxl, tmp_path / "mean", vae=vae)
    flow, pipe = flow_of(folder, guidance=3.0), pipeline(StableDiffusionXLPipeline, folder, add_watermarker=False)
    latents = noise(flow)
    theirs = by_dpm_solver(pipe, latents, guidance_scale=3.0, **SIZE)
    assert apart(dpm_solver(flow, pipe, latents), theirs) < 1e-5


def overflowing(folder: Path, out: Path, **options: object) -> Path:
    """A pipeline whose VAE has values beyond float16 on the way to its images."""
    vae = remade(folder, "vae", AutoencoderKL, **options)
    with torch.no_grad():
        vae.decoder.conv_in.weight.mul_(3e4)
    return changed(folder, out, vae=vae)


@pytest.mark.filterwarnings("ignore:.*upcast_vae.*:FutureWarning")
def test_vaes_that_overflow_in_half_precision_decode_in_float32(sdxl: Path, tmp_path: Path) -> None:
    folder = overflowing(sdxl, tmp_path / "upcast", force_upcast=True)
    flow = flow_of(folder, guidance=3.0, precision=torch.float16)
    assert flow.dtype == torch.float32
    pipe = pipeline(StableDiffusionXLPipeline, folder, add_watermarker=False, dtype=torch.float16)
    latents = noise(flow).half()
    theirs = by_dpm_solver(pipe, latents, guidance_scale=3.0, **SIZE).float()
    # Their latents are rounded to float16 at every step, ours are not.
    assert apart(dpm_solver(flow, pipe, latents).float(), theirs) < 0.02


def test_a_teacher_that_is_not_finite_is_an_error(
    sdxl: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = overflowing(sdxl, tmp_path / "nan", force_upcast=False)
    asked = ["--model", str(folder), "--prompts", "a cat", "--precision", "float16", "--nfe", "3", "--samples", "2"]
    out = tmp_path / "out"
    assert benchmark([*asked, "--fit-pairs", "4", "--teacher-nfe", "4", "--out", str(out)]) == 2
    (line,) = (row for row in capsys.readouterr().err.split("\n") if row.startswith("error"))
    assert "none of the teacher's images is finite with --precision float16" in line
    assert "--precision float32" in line
    assert not list(out.glob("**/*.json"))
    with pytest.raises(ValueError, match=r"none of the first 4 samples of the teacher is finite.*float16"):
        learn_grid(flow_of(folder, precision=torch.float16), 3, pairs=4, teacher=Teacher(nfe=4))


@pytest.mark.parametrize("solver", ["ddim", "unipc_bh2_2"])
@pytest.mark.parametrize("steps", [100, 1000])
def test_straight_paths_in_other_units_of_time(sd3: Path, tmp_path: Path, steps: int, solver: str) -> None:
    """And whatever else the scheduler's config says that changes the steps that it is given."""
    odd = {"shift": 3.0, "stochastic_sampling": True, "use_karras_sigmas": True, "shift_terminal": 0.1}
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=steps, **odd)
    folder = changed(sd3, tmp_path / "flow", scheduler=scheduler)
    flow = flow_of(folder, guidance=3.0)
    assert flow.clock.clean_end
    fit = saved_fit(RectifiedFlow(), solver, clean_end=True, own_levels=solver != "ddim")
    ours = by_fit(flow, fit)
    assert apart(ours, exported(pipeline(StableDiffusion3Pipeline, folder), fit, tmp_path, 0.999)) < 1e-4


@torch.no_grad()
def by_fit(flow: DiffusersFlow, fit: FitResult) -> Tensor:
    unit = noise(flow)
    x = Conditioned(flow.prior_scale["x"] * unit, torch.arange(len(unit)) % flow.conditions)
    return (flow.decode(integrate(flow, x, fit.grid, fit.student())) / 2 + 0.5).clamp(0, 1)


def exported(pipe: Component, fit: FitResult, folder: Path, scale: float = 1.0) -> Tensor:
    """The images of the exported lines; their noise at 0.999 of its scale where the network is shown it as x_t."""
    fit.save(folder / "fit.json")
    lines = TARGETS["diffusers"](fit, folder / "fit.json")
    ours = "LearnedScheduler" in lines
    unit = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1), dtype=F64)
    latents = unit if ours else scale * unit
    call = "latents=latents, guidance_scale=3.0, height=16, width=16, output_type='pt', "
    scope: dict[str, Any] = {"pipe": pipe, "prompt": list(PROMPTS), "latents": latents}
    exec(lines.replace("pipe(prompt, ", f"pipe(prompt, {call}").replace(".images[0]", ".images"), scope)
    images: Tensor = scope["image"]
    return images


@pytest.mark.parametrize("solver", ["ddim", "unipc_bh1_3", "ipndm_3"])
@pytest.mark.parametrize("end", ["clean", "level"])
def test_exports_end_as_the_fit_does(sd: Path, tmp_path: Path, solver: str, end: str) -> None:
    flow = flow_of(sd, guidance=3.0, end=end)
    fit = saved_fit(SD, solver, clean_end=end == "clean")
    theirs = exported(pipeline(StableDiffusionPipeline, sd), fit, tmp_path)
    ours = by_fit(flow, fit)
    if solver == "ddim" and end == "level":  # their Euler holds x̂, and does not scale it at the end
        ours = (flow.image(by_fit_state(flow, fit)) / 2 + 0.5).clamp(0, 1)
    assert apart(ours, theirs) < 1e-4
    other = by_fit(
        flow_of(sd, guidance=3.0, end="level" if end == "clean" else "clean"),
        saved_fit(SD, solver, clean_end=end != "clean"),
    )
    assert apart(other, theirs) > 1e-4


@torch.no_grad()
def by_fit_state(flow: DiffusersFlow, fit: FitResult) -> Tensor:
    unit = noise(flow)
    x = Conditioned(flow.prior_scale["x"] * unit, torch.arange(len(unit)) % flow.conditions)
    return integrate(flow, x, fit.grid, fit.student()).x


def test_exported_dpm_solver_ends_clean(sd: Path, tmp_path: Path) -> None:
    fit = saved_fit(SD, "dpmpp_2m", n=5, clean_end=True)
    pipe = pipeline(StableDiffusionPipeline, sd)
    exported(pipe, fit, tmp_path)
    assert type(pipe.scheduler) is DPMSolverMultistepScheduler
    assert pipe.scheduler.sigmas[-1] == 0


def test_ends_are_said_and_can_be_chosen(sd: Path) -> None:
    flow = flow_of(sd)
    assert flow.clock.clean_end
    assert any("end at no noise, as its DDIMScheduler with set_alpha_to_one = True" in line for line in flow.remarks)
    other = flow_of(sd, end="level")
    assert not other.clock.clean_end
    assert any("noise of 0.0292 left, as asked for" in line for line in other.remarks)
    assert other.fingerprint() != flow.fingerprint()
    with pytest.raises(InputError, match="--end"):
        load_digits()


def load_digits() -> None:
    from domains.images.models.load import load

    load("digits", ModelOptions(end="clean"))


def test_clipping_is_left_out_and_said(tmp_path: Path) -> None:
    flow = load_diffusers(tiny.save_unconditional(tmp_path / "ddpm"), ModelOptions())
    assert any("without clip_sample of its DDPMScheduler" in line for line in flow.remarks)
    flow = load_diffusers(tiny.save_unconditional(tmp_path / "free", clip_sample=False), ModelOptions())
    assert len(flow.remarks) == 1


@pytest.mark.parametrize("scale", [1.0, 6.0])
def test_networks_that_were_distilled_with_guidance_are_told_it(sd: Path, tmp_path: Path, scale: float) -> None:
    folder = changed(sd, tmp_path / "lcm", unet=remade(sd, "unet", UNet2DConditionModel, time_cond_proj_dim=9))
    flow, pipe = flow_of(folder, guidance=scale), pipeline(StableDiffusionPipeline, folder)
    latents = noise(flow)
    theirs = by_dpm_solver(pipe, latents, guidance_scale=scale)
    assert apart(dpm_solver(flow, pipe, latents), theirs) < 1e-5
    assert apart(dpm_solver(flow_of(folder, guidance=2.0), pipe, latents), theirs) > 1e-4
    with pytest.raises(InputError, match="no use to a network that is told its guidance"):
        flow_of(folder, guidance=6.0, negative_prompt="a dog")


@torch.no_grad()
def test_classes_are_given_as_labels(tmp_path: Path) -> None:
    folder = tiny.save_unconditional(tmp_path / "plain")
    unet = remade(folder, "unet", UNet2DModel, num_class_embeds=5)
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path / "classes")
    flow = load_diffusers(tmp_path / "classes", ModelOptions(labels=(3, 1), precision=F64))
    assert flow.conditions == 2
    x, t = noise(flow), torch.tensor(400.0, dtype=F64)
    expected = unet.double().eval()(x, t, class_labels=torch.tensor([3, 1])).sample
    torch.testing.assert_close(flow.noise(x, t, torch.tensor([0, 1])), expected)
    assert load_diffusers(tmp_path / "classes", ModelOptions()).conditions == 5
    for labels in ((5,), (None,)):
        with pytest.raises(InputError, match="labels must be from 0 to 4"):
            load_diffusers(tmp_path / "classes", ModelOptions(labels=labels))


def test_the_refiner_is_refused(sdxl: Path, tmp_path: Path) -> None:
    """By its own index; and where the index does not say it, by the numbers that its network takes."""
    folder = changed(
        sdxl,
        tmp_path / "five",
        unet=remade(sdxl, "unet", UNet2DConditionModel, projection_class_embeddings_input_dim=56),
    )
    with pytest.raises(InputError, match="projection_class_embeddings_input_dim is 56, where six sizes"):
        flow_of(folder)


def test_weights_of_a_variant(sd: Path, tmp_path: Path) -> None:
    pipe = DiffusionPipeline.from_pretrained(sd)
    pipe.save_pretrained(tmp_path / "half", variant="fp16")
    assert flow_of(tmp_path / "half", variant="fp16").fingerprint() == flow_of(sd).fingerprint()
    with pytest.raises(InputError, match="those of another variant: give --variant fp16"):
        flow_of(tmp_path / "half")


def test_parts_that_were_saved_as_nothing(sd3: Path, tmp_path: Path) -> None:
    """SD3 without its largest text encoder, as many have it."""
    pipe = StableDiffusion3Pipeline.from_pretrained(sd3, text_encoder_3=None, tokenizer_3=None)
    pipe.save_pretrained(tmp_path / "small")
    assert json.loads((tmp_path / "small" / "model_index.json").read_text())["text_encoder_3"] == [None, None]
    flow = flow_of(tmp_path / "small", guidance=3.0)
    pipe = pipeline(StableDiffusion3Pipeline, tmp_path / "small", text_encoder_3=None, tokenizer_3=None)
    latents = noise(flow)
    given = {"sigmas": [0.9, 0.6, 0.2], "num_inference_steps": 3, "guidance_scale": 3.0, "output_type": "pt", **SIZE}
    images = pipe(list(PROMPTS), latents=latents, **given).images
    times = pipe.scheduler.sigmas[:-1].double()
    levels = torch.cat([flow.schedule.half_log_snr(times), torch.full((1,), torch.inf, dtype=F64)])
    x = Conditioned(latents / flow.schedule.alpha(times[0]), torch.arange(2))
    with torch.no_grad():
        ours = flow.image(integrate(flow, x, Grid.coupled({"x": levels}), get_solver("ddim")).x)
    assert apart((ours / 2 + 0.5).clamp(0, 1), images) < 1e-4


def test_resolutions_beyond_the_position_table_are_refused(sd3: Path) -> None:
    with pytest.raises(InputError, match=r"at most 32 \(pos_embed_max_size\), got 64"):
        flow_of(sd3, resolution=64)


def test_networks_without_guidance_refuse_it(tmp_path: Path) -> None:
    from diffusers import FluxTransformer2DModel

    folder = tiny.save_flux(tmp_path / "flux")
    plain = remade(folder, "transformer", FluxTransformer2DModel, guidance_embeds=False)
    folder = changed(folder, tmp_path / "schnell", transformer=plain)
    flow_of(folder, resolution=16)
    with pytest.raises(InputError, match=r"guidance 4 is of no use to a network without guidance_embeds"):
        flow_of(folder, resolution=16, guidance=4.0)


def test_the_original_scheduler_comes_back(sd: Path, tmp_path: Path) -> None:
    """Another scheduler made from a LearnedScheduler's config is what it was from the pipeline's own."""
    pipe = pipeline(StableDiffusionPipeline, sd)
    before = UniPCMultistepScheduler.from_config(pipe.scheduler.config).config
    fit = saved_fit(SD, "unipc_bh2_2", clean_end=True)
    exported(pipe, fit, tmp_path)
    assert type(pipe.scheduler).__name__ == "LearnedScheduler"
    after = UniPCMultistepScheduler.from_config(pipe.scheduler.config).config
    taken = {name for name in before if not name.startswith("_")}
    assert {name: after[name] for name in taken} == {name: before[name] for name in taken}
    # And a second fit may follow the first.
    again = exported(pipe, fit, tmp_path)
    assert apart(by_fit(flow_of(sd, guidance=3.0), fit), again) < 1e-4


def test_grids_made_by_hand_end_so_too(sd: Path) -> None:
    for name, make in HAND_MADE.items():
        assert make(flow_of(sd).clock, 3).clean_end, name
