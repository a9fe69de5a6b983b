"""The node for ComfyUI, in a stand-in for ComfyUI: what it reads is what `ld3 export --to comfyui` prints."""

from __future__ import annotations

import importlib.util
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import comfyui_api
import pytest
import torch
from fits import F64, SD, learned_weights, saved_fit
from torch import Tensor

from domains.images.export import TARGETS
from domains.images.export.sigma_lists import COMFYUI
from ld3 import RectifiedFlow, VPSteps
from ld3.learn import FitResult
from ld3.learn.result import SCHEMA, VERSION
from ld3.schedules import Schedule

FILE = Path(__file__).parents[2] / "comfyui" / "ld3_grid.py"


@pytest.fixture(scope="module")
def node() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        comfyui_api.install(patch)
        spec = importlib.util.spec_from_file_location("ld3_grid", FILE)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield comfyui_api.nodes(module)["LD3Grid"]


class Model:
    """A model as ComfyUI hands it to nodes: σ of a step, between steps even in log σ."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def get_model_object(self, name: str) -> types.SimpleNamespace:
        assert name == "model_sampling"
        return types.SimpleNamespace(sigma=self.sigma, sigma_max=torch.tensor(14.6 if self.steps else 1.0))

    @property
    def steps(self) -> bool:
        return isinstance(self.schedule, VPSteps)

    def sigma(self, t: Tensor) -> Tensor:
        steps = torch.arange(1000, dtype=F64)
        logs = -self.schedule.half_log_snr(steps)
        low = t.double().floor().clamp(max=998).long()
        return torch.lerp(logs[low], logs[low + 1], t.double() - low).exp().float()


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("solver", COMFYUI)
def test_the_node_gives_what_the_export_prints(node: Any, tmp_path: Path, solver: str, clean: bool) -> None:  # noqa: ANN401
    if clean and solver == "heun":
        pytest.skip("Heun cannot end clean")
    fit = saved_fit(SD, solver, clean_end=clean)
    fit.save(tmp_path / "fit.json")
    text = TARGETS["comfyui"](fit, tmp_path / "fit.json")
    sigmas, sampler, about = comfyui_api.run(node, file=str(tmp_path / "fit.json"), model=Model(SD))
    assert isinstance(sigmas, Tensor)
    assert sigmas.dtype == torch.float32
    printed = torch.tensor([float(word) for word in text.split("\n")[0].split(",")])
    torch.testing.assert_close(sigmas, printed, rtol=1e-6, atol=0)
    assert sampler == ("sampler", COMFYUI[solver])
    assert f"KSamplerSelect: {COMFYUI[solver]}" in text
    assert "nearest whole step" in str(about)


def test_straight_paths(node: Any, tmp_path: Path) -> None:  # noqa: ANN401
    fit = saved_fit(RectifiedFlow(), "ddim", clean_end=True)
    fit.save(tmp_path / "fit.json")
    sigmas, sampler, about = comfyui_api.run(node, file=str(tmp_path / "fit.json"), model=Model(RectifiedFlow()))
    assert isinstance(sigmas, Tensor)
    torch.testing.assert_close(sigmas[:-1], torch.tensor(fit.path["x"].solver.sigma[:-1]), rtol=1e-6, atol=0)
    assert sigmas[-1] == 0
    assert sampler == ("sampler", "euler")
    assert "whole step" not in str(about)
    with pytest.raises(ValueError, match=r"straight path, whose σ ends at 1; this model's ends at 14\.6"):
        comfyui_api.run(node, file=str(tmp_path / "fit.json"), model=Model(SD))


REFUSED: list[tuple[Callable[[], FitResult], str]] = [
    (lambda: saved_fit(SD, "ddim", own_levels=True), "other levels than the solver's"),
    (lambda: saved_fit(SD, "dpmpp_2m", coefficients=learned_weights(4, False)), "learned coefficients"),
    (lambda: saved_fit(SD, "unipc_bh2_3"), "is for unipc_bh2_3"),
    (lambda: saved_fit(RectifiedFlow(), "dpmpp_2m"), "straight paths"),
    (lambda: saved_fit(SD, "ddim", score_scale=2.0), "no fit of an image model"),
    (lambda: saved_fit(VPSteps("linear"), "ddim"), "other noise levels than this model's: at step"),
]


@pytest.mark.parametrize(("make", "why"), REFUSED, ids=[why for _, why in REFUSED])
def test_the_node_refuses_in_one_line(node: Any, tmp_path: Path, make: Callable[[], FitResult], why: str) -> None:  # noqa: ANN401
    make().save(tmp_path / "fit.json")
    with pytest.raises(ValueError, match=why) as info:
        comfyui_api.run(node, file=str(tmp_path / "fit.json"), model=Model(SD))
    assert "\n" not in str(info.value)


def test_what_is_no_fit_is_refused(node: Any, tmp_path: Path) -> None:  # noqa: ANN401
    path = tmp_path / "fit.json"
    contents = {"{}": "no fit of ld3", "no json": "cannot be read", '{"schema": "ld3.fit"}': "of version None"}
    for content, why in contents.items():
        path.write_text(content)
        with pytest.raises(ValueError, match=why):
            comfyui_api.run(node, file=str(path))


def test_the_node_reads_the_version_that_fits_are_saved_in(node: Any) -> None:  # noqa: ANN401
    scope = node.execute.__func__.__globals__
    assert scope["SCHEMA"] == SCHEMA
    assert VERSION in scope["VERSIONS"]
