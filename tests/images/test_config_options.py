"""Every option of the pinned diffusers' configs is honoured, or refused; a new one makes this fail."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("diffusers")

import diffusers
import diffusers_models as tiny
from diffusers_models import load_diffusers

from domains.errors import InputError
from domains.images.diffusers.checks import PIPELINES
from domains.images.models.options import ModelOptions
from ld3_diffusers.config_options import OPTIONS, Honoured, Only, Sampling, check_options, own_options
from ld3_diffusers.schedule import FLOWS, STEPS, read_path

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*__array__.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*__array_wrap__.*:DeprecationWarning"),
]

CLASSES = [kind for kind in OPTIONS if kind != "pipeline"]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_option_of_a_class_has_a_role(kind: str) -> None:
    """In both directions for networks and VAEs; schedulers share one table."""
    taken = set(inspect.signature(getattr(diffusers, kind).__init__).parameters) - {"self"}
    assert taken <= set(OPTIONS[kind])
    if kind not in STEPS + FLOWS:
        assert set(OPTIONS[kind]) == taken


def test_the_table_of_schedulers_has_nothing_that_none_takes() -> None:
    taken = {name for kind in STEPS + FLOWS for name in inspect.signature(getattr(diffusers, kind).__init__).parameters}
    assert set(OPTIONS["DDIMScheduler"]) <= taken
    assert {*STEPS, *FLOWS, *PIPELINES, "AutoencoderKL", "AutoencoderTiny", "VQModel"} == set(CLASSES)


@pytest.mark.parametrize("kind", [name for names in PIPELINES.values() for name in names])
def test_every_option_of_a_pipeline_has_a_role(kind: str) -> None:
    """What its constructor takes beside parts, and writes to its config."""
    parameters = inspect.signature(getattr(diffusers, kind).__init__).parameters.values()
    options = {p.name for p in parameters if isinstance(p.default, bool)} | {
        p.name for p in parameters if p.annotation in (bool, bool | None, int, float, str)
    }
    assert options - {"add_watermarker"} <= set(OPTIONS["pipeline"])  # which marks an image when it is finished


def test_an_option_that_nobody_has_thought_of_is_refused() -> None:
    with pytest.raises(ValueError, match=r"DDIMScheduler has an option that is not known here: magic = 3"):
        check_options("DDIMScheduler", {"magic": 3})


REFUSED = [(kind, option, role) for kind in OPTIONS for option, role in OPTIONS[kind].items() if isinstance(role, Only)]


@pytest.mark.parametrize(("kind", "option", "role"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_other_values_are_refused_by_name(kind: str, option: str, role: Only) -> None:
    for value in role.values:
        check_options(kind, {option: value})
    with pytest.raises(ValueError, match=rf"{kind} with {option} = 'something else' is not supported") as info:
        check_options(kind, {option: "something else"})
    assert "\n" not in str(info.value)


PATH_CHANGES: Mapping[str, Any] = {
    "num_train_timesteps": 500,
    "beta_start": 0.001,
    "beta_end": 0.01,
    "beta_schedule": "linear",
    "prediction_type": "sample",
    "rescale_betas_zero_snr": True,
    "use_flow_sigmas": True,
}


def config_of(kind: str, **changes: object) -> dict[str, Any]:
    start = {"prediction_type": "v_prediction", "beta_schedule": "scaled_linear"}
    taken = inspect.signature(getattr(diffusers, kind).__init__).parameters
    return own_options(getattr(diffusers, kind)(**{k: v for k, v in (start | changes).items() if k in taken}))


@pytest.mark.parametrize("kind", STEPS)
def test_what_is_honoured_of_a_scheduler_changes_the_path(kind: str) -> None:
    own = config_of(kind)
    for option, role in OPTIONS[kind].items():
        if option in own and isinstance(role, Honoured) and role.where == "the noise path":
            changes = {option: PATH_CHANGES[option]}
            if option == "use_flow_sigmas":
                changes["prediction_type"] = "flow_prediction"
            assert read_path(kind, config_of(kind, **changes)) != read_path(kind, own), option


@pytest.mark.parametrize("kind", STEPS + FLOWS)
def test_what_is_of_the_sampler_changes_nothing(kind: str) -> None:
    own = config_of(kind)
    for option, role in OPTIONS[kind].items():
        if option in own and isinstance(role, Sampling):
            assert read_path(kind, own | {option: "something else"}) == read_path(kind, own), option


@pytest.mark.parametrize("kind", STEPS)
@pytest.mark.parametrize("changed", [False, True])
def test_ends_are_those_of_the_schedulers(kind: str, changed: bool) -> None:
    """One step of each scheduler from its last time; what is left of the noise says where it ends."""
    taken = inspect.signature(getattr(diffusers, kind).__init__).parameters
    changes: dict[str, Any] = {"prediction_type": "epsilon"}
    if "set_alpha_to_one" in taken:
        changes["set_alpha_to_one"] = changed
    if "final_sigmas_type" in taken:
        changes["final_sigmas_type"] = "zero" if changed else "sigma_min"
    path = read_path(kind, config_of(kind, **changes))
    extra: dict[str, Any] = {"clip_sample": False} if "clip_sample" in taken else {}
    extra |= {"skip_prk_steps": True} if kind == "PNDMScheduler" else {}
    extra |= {"solver_order": 1} if "solver_order" in taken else {}
    scheduler = getattr(diffusers, kind)(**changes | extra, beta_schedule="scaled_linear")
    scheduler.set_timesteps(20)
    # Pure noise and a network that knows it: where a scheduler ends clean, nothing is left.
    unit = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    x_t = unit * scheduler.init_noise_sigma
    torch.manual_seed(0)
    for t in scheduler.timesteps:
        seen = scheduler.scale_model_input(x_t, t)
        alpha, sigma = path.schedule.alpha(t.double()), path.schedule.sigma(t.double())
        assert alpha**2 + sigma**2 == pytest.approx(1.0)
        x_t = scheduler.step(seen / sigma, t, x_t).prev_sample
    assert (abs(x_t.item()) < 1e-3) == path.clean_end
    assert kind in path.ends


def test_flows_end_clean() -> None:
    for kind in FLOWS:
        scheduler = getattr(diffusers, kind)()
        scheduler.set_timesteps(4)
        assert scheduler.sigmas[-1] == 0
        assert read_path(kind, own_options(scheduler)).clean_end


CONTRADICTIONS = [
    ("DDIMScheduler", {"rescale_betas_zero_snr": True, "prediction_type": "epsilon"}, "rescale_betas_zero_snr needs"),
    ("UniPCMultistepScheduler", {"use_flow_sigmas": True, "prediction_type": "epsilon"}, "use_flow_sigmas needs"),
    ("UniPCMultistepScheduler", {"prediction_type": "flow_prediction"}, "prediction_type must be one of"),
]


@pytest.mark.parametrize(("kind", "changes", "why"), CONTRADICTIONS)
def test_options_that_contradict_each_other_are_refused(kind: str, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_path(kind, config_of(kind, **changes))


def test_options_of_other_classes_are_passed_over_as_diffusers_does() -> None:
    """What a config holds for schedulers that it was saved with changes nothing in its own."""
    scheduler = diffusers.PNDMScheduler.from_config({"rescale_betas_zero_snr": True, "beta_start": 1e-3})
    assert scheduler.config["rescale_betas_zero_snr"]
    assert "rescale_betas_zero_snr" not in own_options(scheduler)
    assert own_options(scheduler)["beta_start"] == 1e-3


def altered(folder: Path, part: str, **options: object) -> Path:
    """The pipeline, with other options in the config of a part."""
    path = folder / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | options))
    return folder


SILENT = [
    ("vae", {"latents_mean": [1.0, 2.0, 3.0, 4.0]}, r"latents_mean without latents_std"),
    ("vae", {"latents_mean": [0.1] * 4, "latents_std": [2.0] * 4}, r"latents_mean = .*StableDiffusionPipeline decodes"),
    ("vae", {"shift_factor": 0.1}, r"shift_factor = 0\.1: StableDiffusionPipeline decodes without it"),
    ("scheduler", {"rescale_betas_zero_snr": True}, r"rescale_betas_zero_snr needs"),
    ("scheduler", {"thresholding": True}, r"thresholding = True"),
]


@pytest.mark.parametrize(("part", "options", "why"), SILENT)
def test_folders_with_such_an_option_are_refused(
    tmp_path: Path, part: str, options: dict[str, object], why: str
) -> None:
    folder = altered(tiny.save_stable_diffusion(tmp_path / "sd"), part, **options)
    with pytest.raises(InputError, match=why) as info:
        load_diffusers(folder, ModelOptions(prompts=("a cat",)))
    assert "\n" not in str(info.value)


def test_pipelines_of_other_classes_and_parts_are_refused(tmp_path: Path) -> None:
    folder = tiny.save_stable_diffusion(tmp_path / "sd")
    index = json.loads((folder / "model_index.json").read_text())
    for change, why in (
        ({"_class_name": "StableDiffusionControlNetPipeline"}, "got StableDiffusionControlNetPipeline"),
        (
            {"controlnet": ["diffusers", "ControlNetModel"]},
            r"a part that is not supported, controlnet \(ControlNetModel\)",
        ),
        ({"requires_aesthetics_score": True}, "requires_aesthetics_score = True"),
        ({"is_turbo": True}, "an option that is not known here: is_turbo"),
    ):
        (folder / "model_index.json").write_text(json.dumps(index | change))
        with pytest.raises(InputError, match=why):
            load_diffusers(folder, ModelOptions(prompts=("a cat",)))


def test_the_page_says_which_lists_a_scheduler_takes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "image_models.md").read_text()
    for kind in STEPS + FLOWS:
        taken = inspect.signature(getattr(diffusers, kind).set_timesteps).parameters
        row = " | ".join("yes" if name in taken else "no" for name in ("timesteps", "sigmas"))
        assert f"| {kind} | {row} |" in page
