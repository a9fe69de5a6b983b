"""`ld3 fit` and fits of pipelines in memory, with what they remember and hand on."""

from __future__ import annotations

import shutil
import warnings
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
    DiffusionPipeline,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    HeunDiscreteScheduler,
    PNDMScheduler,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
)
from diffusers_models import load_diffusers
from fits import saved_fit
from safetensors.torch import save_file
from single_files import save_single_file

from domains.command import main
from domains.images.conditioned import Conditioned
from domains.images.diffusers.flow import DiffusersFlow
from domains.images.diffusers.own_sampler import own_images
from domains.images.diffusers.pipeline_fit import PipelineFit
from domains.images.export import TARGETS
from domains.images.fit_sheet import Row, own_is_nearer
from domains.images.models.options import ModelOptions
from ld3 import RectifiedFlow
from ld3.learn import FitConfig, FitResult, Teacher
from ld3_diffusers import LearnedScheduler, fit_pipeline
from ld3_diffusers.config_options import Component

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*__array__.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:the teacher is .* from twice its steps"),
]

F64 = torch.float64
PROMPTS = ("a cat", "two dogs")
QUICK = FitConfig(optimiser="bfgs", phases=("joint",), steps=3)


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_stable_diffusion(tmp_path_factory.mktemp("models") / "sd")


@pytest.fixture(scope="module")
def sd3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_sd3(tmp_path_factory.mktemp("models") / "sd3")


def quiet(kind: Component, folder: Path) -> Component:
    pipe = kind.from_pretrained(folder, dtype=F64)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def noise(flow: DiffusersFlow) -> Tensor:
    return torch.randn(2, *flow.shape, generator=torch.Generator().manual_seed(1), dtype=F64)


OWN = [
    (DDIMScheduler, {"clip_sample": False, "steps_offset": 1}, 4),
    (EulerDiscreteScheduler, {"use_karras_sigmas": True, "steps_offset": 1}, 4),
    (PNDMScheduler, {"skip_prk_steps": True, "steps_offset": 1}, 4),
    (HeunDiscreteScheduler, {"steps_offset": 1}, 3),
]


@pytest.mark.parametrize(("kind", "settings", "calls"), OWN)
def test_the_own_schedulers_row_is_the_pipeline(
    sd: Path, tmp_path: Path, kind: Component, settings: dict[str, Any], calls: int
) -> None:
    pipe = quiet(StableDiffusionPipeline, sd)
    pipe.scheduler = kind(**settings, **tiny.STABLE_DIFFUSION)
    pipe.save_pretrained(tmp_path / "own")
    flow = load_diffusers(tmp_path / "own", ModelOptions(prompts=PROMPTS, guidance=3.0, precision=F64))
    unit = noise(flow)
    start = Conditioned(flow.prior_scale["x"] * unit, torch.arange(2))
    ours, made = own_images(flow, start, 4)
    assert made == calls
    steps = {PNDMScheduler: 3, HeunDiscreteScheduler: 2}.get(kind, 4)
    theirs = pipe(list(PROMPTS), latents=unit, num_inference_steps=steps, guidance_scale=3.0, output_type="pt").images
    assert ((ours / 2 + 0.5).clamp(0, 1) - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("kind", [StableDiffusion3Pipeline, FluxPipeline])
def test_the_own_schedulers_row_is_the_pipeline_on_straight_paths(sd3: Path, tmp_path: Path, kind: Component) -> None:
    folder = sd3 if kind is StableDiffusion3Pipeline else tiny.save_flux(tmp_path / "flux")
    flow = load_diffusers(folder, ModelOptions(prompts=PROMPTS, guidance=3.0, resolution=16, precision=F64))
    start = Conditioned(flow.prior_scale["x"] * noise(flow), torch.arange(2))
    ours, made = own_images(flow, start, 4)
    assert made == 4
    theirs = quiet(kind, folder)(
        list(PROMPTS),
        generator=torch.Generator().manual_seed(1),
        num_inference_steps=4,
        guidance_scale=3.0,
        height=16,
        width=16,
        output_type="pt",
    ).images
    assert ((ours / 2 + 0.5).clamp(0, 1) - theirs).abs().max() < 1e-5


def test_a_fit_that_the_own_scheduler_beats_says_so() -> None:
    none = torch.zeros(1)

    def rows(own: float) -> list[Row]:
        made = [Row("teacher", 40, none, 0.0), Row("this fit (ddim)", 4, none, 0.5), Row("edm (ddim)", 4, none, 0.6)]
        return [*made, Row("its own DDIMScheduler", 3, none, own)]

    assert own_is_nearer(rows(0.7)) is None
    assert own_is_nearer(rows(0.7)[:3]) is None
    said = own_is_nearer(rows(0.25))
    assert said is not None and "its own DDIMScheduler is nearer to the teacher at 3 calls, 0.25 for 0.5" in said


def test_a_pipeline_in_memory_and_back(sd: Path, tmp_path: Path) -> None:
    """Weights that no folder has are what is fitted; the scheduler goes into the pipeline that they are in."""
    pipe = quiet(StableDiffusionPipeline, sd)
    with torch.no_grad():
        pipe.unet.conv_out.weight.mul_(0.5)
    fit = fit_pipeline(
        pipe, PROMPTS, 3, guidance=3.0, negative_prompt="a dog", learn=QUICK, pairs=8, teacher=Teacher(nfe=6)
    )
    assert isinstance(fit, PipelineFit)
    of_folder = load_diffusers(sd, ModelOptions(prompts=PROMPTS, guidance=3.0, negative_prompt="a dog", precision=F64))
    assert fit.flow != of_folder.fingerprint()
    assert fit.about["guidance"] == 3.0
    assert fit.about["negative_prompt"] == "a dog"
    assert fit.about["resolution"] == 16
    assert fit.about["prompts"] == 2
    assert fit.about["network"] != of_folder.about["network"]
    pipe.scheduler = fit.scheduler(pipe)
    call = {"num_inference_steps": 3, "output_type": "pt", "negative_prompt": ["a dog"] * 2}
    latents = torch.randn(2, 4, 8, 8, dtype=F64)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        pipe(list(PROMPTS), guidance_scale=3.0, latents=latents, **call)
    with pytest.warns(UserWarning, match=r"learned at guidance 3, the pipeline is called at 7\.5"):
        pipe(list(PROMPTS), latents=latents, **call)
    with pytest.warns(UserWarning, match="learned at resolution 16, the pipeline is called at 24"):
        pipe(list(PROMPTS), guidance_scale=3.0, height=24, width=24, **call)
    named = replace(fit, about={**fit.about, "model": "another/model"})
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        named.scheduler(pipe)  # the same weights under another name
    with torch.no_grad():
        pipe.unet.conv_out.weight.mul_(2.0)
    with pytest.warns(UserWarning, match=r"learned on another/model \(.*with other weights"):
        named.scheduler(pipe)
    # A second fit reads the scheduler that was there before the first.
    assert fit_pipeline(pipe, PROMPTS, 2, learn=QUICK, pairs=4, teacher=Teacher(nfe=4)).grid.clean_end

    fit.save(tmp_path / "fit.json")
    again = FitResult.load(tmp_path / "fit.json")
    assert again.about == fit.about
    lines = TARGETS["diffusers"](again, tmp_path / "fit.json")
    assert "guidance_scale=3.0, negative_prompt='a dog', height=16, width=16" in lines
    assert f"2 prompts ({fit.about['prompts_hash']}), guidance 3, away from 'a dog'" in lines


def test_files_without_the_words_are_read(tmp_path: Path) -> None:
    fit = saved_fit(RectifiedFlow(), "ddim")
    fit.save(tmp_path / "fit.json")
    assert FitResult.load(tmp_path / "fit.json").about == {}


def test_exports_say_when_a_call_is_thrown_away() -> None:
    lines = TARGETS["diffusers"](saved_fit(RectifiedFlow(), "unipc_bh2_2", own_levels=True), Path("fit.json"))
    assert "# 4 calls of the network were learned" in lines
    assert "make 5" in lines
    lines = TARGETS["diffusers"](saved_fit(RectifiedFlow(), "unipc_bh2_2"), Path("fit.json"))
    assert "thrown" not in lines
    assert "make 5" not in lines


SHIFTS: list[dict[str, Any]] = [
    {"shift": 3.0},
    {"use_dynamic_shifting": True},
    {"use_dynamic_shifting": True, "time_shift_type": "linear"},
    {"shift_terminal": 0.1},
    {"use_karras_sigmas": True},
    {"use_exponential_sigmas": True},
    {"use_beta_sigmas": True},
    {"stochastic_sampling": True},
]


@pytest.mark.parametrize("shift", SHIFTS, ids=str)
def test_exported_straight_levels_are_taken_as_they_are(sd3: Path, shift: dict[str, Any]) -> None:
    """Whatever shift the pipeline's Euler came with: its levels are the fit's, and nothing is drawn on the way."""
    pipe = quiet(StableDiffusion3Pipeline, sd3)
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(**shift)
    fit = saved_fit(RectifiedFlow(), "ddim", clean_end=True)
    lines = TARGETS["diffusers"](fit, Path("fit.json"))
    call = "pipe(prompt, height=16, width=16, generator=drawn, output_type='pt', "
    images = []
    for _ in range(2):
        scope = {"pipe": pipe, "prompt": "a cat", "drawn": torch.Generator().manual_seed(1)}
        exec(lines.replace("pipe(prompt, ", call), scope)
        images.append(scope["image"])
    expected = torch.tensor([*fit.path["x"].solver.sigma[:-1], 0.0])
    torch.testing.assert_close(pipe.scheduler.sigmas.cpu(), expected, rtol=1e-6, atol=1e-7)
    assert torch.equal(*images)
    assert not pipe.scheduler.config.stochastic_sampling


def test_a_saved_pipeline_is_loaded_again(sd3: Path, tmp_path: Path) -> None:
    pipe = quiet(StableDiffusion3Pipeline, sd3)
    pipe.scheduler = LearnedScheduler.from_fit(saved_fit(RectifiedFlow(), "unipc_bh2_2", clean_end=True), pipe)
    pipe.save_pretrained(tmp_path / "learned")
    again = DiffusionPipeline.from_pretrained(tmp_path / "learned")
    assert type(again.scheduler) is LearnedScheduler
    assert again.scheduler.grid.clean_end
    assert FlowMatchEulerDiscreteScheduler.from_config(again.scheduler.config).config.shift == 3.0


def fit_options(model: Path, folder: Path, *more: str) -> list[str]:
    prompts = folder / "prompts.txt"
    prompts.write_text("a cat\n\n two dogs \n")
    small = ["--nfe", "3", "--pairs", "40", "--steps", "2", "--teacher-nfe", "6", "--samples", "1", "--batch", "40"]
    asked = ["--model", str(model), "--prompts", str(prompts), "--guidance", "3"]
    return ["fit", *asked, *small, "--out", str(folder / "fit.json"), *more]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["diffusers", "comfyui", "k-diffusion"])
def test_the_command_fits_for_every_target(
    sd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    assert main(fit_options(sd, tmp_path, "--for", target)) == 0
    out, err = capsys.readouterr()
    assert "network evaluations of 40 pairs" in err
    assert "end at no noise, as its DDIMScheduler" in err
    assert "its own DDIMScheduler" in out
    assert "final test" in out
    fit = FitResult.load(tmp_path / "fit.json")
    assert fit.about["prompts"] == 2
    assert TARGETS[target](fit, tmp_path / "fit.json") in out
    assert (tmp_path / "fit.png").is_file()
    before = fit.network_evaluations
    assert main(fit_options(sd, tmp_path, "--for", target)) == 0  # what is there is not computed again
    assert FitResult.load(tmp_path / "fit.json").network_evaluations == before


def test_the_command_refuses_in_one_line(sd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty, other = tmp_path / "empty.txt", tmp_path / "other.txt"
    empty.write_text("\n \n")
    other.write_bytes("größer".encode("utf-16"))
    checkpoint = tmp_path / "sd15.safetensors"
    save_file({"model.diffusion_model.out.2.bias": torch.zeros(4)}, checkpoint)
    cases = [
        (["--prompts", str(empty)], "holds no prompt"),
        (["--prompts", str(other)], "no UTF-8 text"),
        (["--prompts", str(tmp_path / "none.txt")], "cannot be read"),
        (["--nfe", "0"], "--nfe: got 0"),
        (["--minutes", "0"], "--minutes must be above 0"),
        (["--minutes", "1e-9"], "--minutes must be at least"),
        (["--out", str(tmp_path / "fit.txt")], "--out: got"),
        (["--model", str(checkpoint)], "give --config FOLDER"),
        (["--model", str(checkpoint), "--config", str(sd)], "cannot be loaded by diffusers with the configs of"),
        (["--model", str(checkpoint), "--config", str(tmp_path)], "it has no model_index.json"),
        (["--config", str(sd)], "is no .safetensors file"),
    ]
    for more, why in cases:
        assert main(fit_options(sd, tmp_path, *more)) == 2, more
        lines = [line for line in capsys.readouterr().err.split("\n") if line.startswith("error")]
        assert len(lines) == 1
        assert why in lines[0]
    assert not (tmp_path / "fit.json").exists()


def test_a_single_file_with_configs_is_the_pipeline(sd: Path, tmp_path: Path) -> None:
    """As diffusers reads it offline: the weights from the file, all else from a folder without weights."""
    configs = tmp_path / "configs"
    shutil.copytree(sd, configs, ignore=shutil.ignore_patterns("*.safetensors"))
    path = save_single_file(sd, tmp_path / "sd15.safetensors")
    options = ModelOptions(prompts=PROMPTS, guidance=3.0, precision=F64)
    of_folder, of_file = load_diffusers(sd, options), load_diffusers(path, replace(options, config=str(configs)))
    assert of_file.about["network"] == of_folder.about["network"]
    assert of_file.about["model"] == str(path)
    assert of_file.path == of_folder.path
    assert of_file.fingerprint() == of_folder.fingerprint()  # the VAE and the encoded prompts with it
