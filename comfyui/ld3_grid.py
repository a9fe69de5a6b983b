"""A node for ComfyUI that reads a fit of ld3: its noise levels and its sampler. Copy this file to custom_nodes/.

It stands alone: it needs ComfyUI and the file that `ld3 fit --for comfyui` has written, and nothing of ld3.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import comfy.samplers
import torch
from comfy_api.latest import ComfyExtension, io
from typing_extensions import override

SCHEMA, VERSIONS = "ld3.fit", (5,)
SAMPLERS = {"ddim": "euler", "heun": "heun", "dpmpp_2m": "dpmpp_2m", "ipndm_4": "ipndm"}
"""Solver of the fit -> the sampler of ComfyUI that takes the same steps."""

STRAIGHT = "RectifiedFlow"
_SAME = 1e-3  # relative, of noise levels: ComfyUI keeps them in float32


class LD3Grid(io.ComfyNode):  # type: ignore[misc]
    """Noise levels and sampler of a fit, for SamplerCustom and SamplerCustomAdvanced."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """What ComfyUI shows of the node."""
        return io.Schema(
            node_id="LD3Grid",
            display_name="Learned grid (ld3)",
            category="sampling/custom_sampling/schedulers",
            description="Noise levels that ld3 has learned for a model, and the sampler that they were learned for.",
            inputs=[
                io.String.Input("file", tooltip="fit.json, as ld3 fit --for comfyui writes it"),
                io.Model.Input("model", optional=True, tooltip="to check that the levels are this model's"),
            ],
            outputs=[
                io.Sigmas.Output(display_name="sigmas"),
                io.Sampler.Output(display_name="sampler"),
                io.String.Output(display_name="about"),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str, model: Any = None) -> str:  # noqa: ANN401
        """Changes when the file does."""
        status = os.stat(file)
        return f"{status.st_mtime_ns} {status.st_size}"

    @classmethod
    def execute(cls, file: str, model: Any = None) -> io.NodeOutput:  # noqa: ANN401
        """Levels, sampler, and what to know about them.

        Raises:
            ValueError: in one line, if the file is no fit, one that no sampler of ComfyUI can follow, or one for other
                noise levels than the model's.
        """
        fit = read_fit(file)
        sampler, sigmas = sampler_and_levels(file, fit)
        if model is not None:
            check_model(file, fit["path"]["x"], model.get_model_object("model_sampling"))
        return io.NodeOutput(torch.tensor(sigmas), comfy.samplers.sampler_object(sampler), about(fit, sampler))


def read_fit(file: str) -> dict[str, Any]:
    """The content of a fit's file."""
    try:
        with open(file, encoding="utf-8") as text:
            fit = json.load(text)
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read as a fit of ld3: {error}") from error
    if not isinstance(fit, dict) or fit.get("schema") != SCHEMA:
        raise ValueError(f"{file} is no fit of ld3: give the file that ld3 fit --out has written")
    if fit.get("version") not in VERSIONS:
        raise ValueError(f"{file} is of version {fit.get('version')}, this node reads {VERSIONS}: copy the node again")
    return fit


def sampler_and_levels(file: str, fit: Mapping[str, Any]) -> tuple[str, list[float]]:
    """ComfyUI's name of the sampler, and σ at the nodes as ComfyUI counts it."""
    grid, solver = fit["grid"], fit["solver"]
    remedy = "learn it with ld3 fit --for comfyui"
    if list(fit["path"]) != ["x"] or grid.get("score_scale", 1.0) != 1.0:
        raise ValueError(f"{file} is no fit of an image model")
    if fit["coefficients"] is not None:
        raise ValueError(f"{file} has learned coefficients, which no sampler of ComfyUI takes; {remedy}")
    if grid["network"]["x"] != grid["solver"]["x"][:-1]:
        raise ValueError(f"{file} gives the network other levels than the solver's, ComfyUI cannot; {remedy}")
    if solver not in SAMPLERS:
        raise ValueError(f"{file} is for {solver}, ComfyUI has the steps of {', '.join(SAMPLERS)}; {remedy}")
    path = fit["path"]["x"]
    points = path["solver"]
    if path["schedule"] == STRAIGHT:
        if solver != "ddim":
            raise ValueError(f"{file} is for {solver}, on straight paths ComfyUI has the steps of ddim alone; {remedy}")
        levels = list(points["sigma"])
    else:
        levels = [sigma / alpha for sigma, alpha in zip(points["sigma"], points["alpha"], strict=True)]
    # The last step of dpmpp_2m is of first order only where it ends without noise.
    ends_clean = grid.get("clean_end", False) or solver == "dpmpp_2m"
    return SAMPLERS[solver], [*levels[:-1], 0.0 if ends_clean else levels[-1]]


def check_model(file: str, path: Mapping[str, Any], sampling: Any) -> None:  # noqa: ANN401
    """ValueError unless the fit's levels are those of the model at the same times."""
    points = path["solver"]
    if path["schedule"] == STRAIGHT:
        most = float(sampling.sigma_max)
        if not math.isclose(most, 1.0, rel_tol=0.01):
            raise ValueError(f"{file} is for a straight path, whose σ ends at 1; this model's ends at {most:.4g}")
        return
    for t, sigma, alpha in zip(points["t"], points["sigma"], points["alpha"], strict=True):
        own = float(sampling.sigma(torch.tensor(t)))
        if not math.isclose(own, sigma / alpha, rel_tol=_SAME):
            raise ValueError(
                f"{file} is for other noise levels than this model's: at step {t:.4g} it has σ = {sigma / alpha:.4g}, "
                f"the model {own:.4g}"
            )


def about(fit: Mapping[str, Any], sampler: str) -> str:
    """What the fit was learned on, and what ComfyUI does in its own way."""
    known = fit.get("about", {})
    lines = [f"{fit['nfe']} network evaluations, sampler {sampler}"]
    lines += [f"{name}: {known[name]}" for name in sorted(known)]
    if fit["path"]["x"]["schedule"] != STRAIGHT:
        lines.append("ComfyUI gives the network the nearest whole step for each level")
        lines.append("at the model's largest level, ComfyUI starts from noise times √(1 + σ²)")
    return "\n".join(lines)


class LD3Extension(ComfyExtension):  # type: ignore[misc]
    """What this file adds to ComfyUI."""

    @override
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [LD3Grid]


async def comfy_entrypoint() -> LD3Extension:
    """Called by ComfyUI when it starts."""
    return LD3Extension()
