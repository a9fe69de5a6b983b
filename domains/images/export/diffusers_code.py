"""Export as Python for diffusers: with a scheduler of its own where one takes these steps, ours where none does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final

from domains.images.export.expressible import (
    call_options,
    heading,
    last_levels,
    noise_levels,
    numbers,
    tells_other_levels,
)
from ld3.learn.result import FitResult
from ld3.path_points import FactorPath
from ld3.single_path import STRAIGHT, single_path, unit_is_close

KEEPS_ITS_ORDER: Final = 15
"""From this many steps on, DPMSolverMultistepScheduler does not lower its order before the last."""

# Pipelines come with configs that set other values; each would change the levels or the steps on them.
_PLAIN: Final[Mapping[str, object]] = {
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
}
_STRAIGHT_EULER: Final[Mapping[str, object]] = {
    "shift": 1.0,
    "use_dynamic_shifting": False,
    "shift_terminal": None,
    "invert_sigmas": False,
    "stochastic_sampling": False,
}
_EULER: Final[Mapping[str, object]] = {
    "timestep_spacing": "trailing",
    "timestep_type": "discrete",
    "interpolation_type": "linear",
}
_DPM_SOLVER: Final[Mapping[str, object]] = {
    "algorithm_type": "dpmsolver++",
    "solver_type": "midpoint",
    "lower_order_final": True,
    "euler_at_final": False,
    "use_lu_lambdas": False,
    "use_flow_sigmas": False,
    "thresholding": False,
    "lambda_min_clipped": -math.inf,
}


def diffusers_code(fit: FitResult, path: Path) -> str:
    """Lines that give a pipeline `pipe` the scheduler, and call it.

    Raises:
        ValueError: in one line, if no pipeline samples this path.
    """
    noise_path = _pipelines_path(fit)
    lines = None if fit.coefficients is not None or tells_other_levels(fit) else _published(fit, noise_path)
    return "\n".join([*heading(fit, "# "), *(lines or _ours(fit, path)), ""])


def unconditional_code(fit: FitResult, path: Path) -> str:
    """The same for a pipeline that takes no prompt; such pipelines take no list of levels either.

    Raises:
        ValueError: in one line, if no pipeline samples this path.
    """
    _pipelines_path(fit)
    lines = [
        *extra_call(fit),
        *_our_scheduler(path),
        f"image = pipe(num_inference_steps={fit.grid.n_steps}).images[0]",
    ]
    return "\n".join([*heading(fit, "# "), *lines, ""])


def _pipelines_path(fit: FitResult) -> FactorPath:
    path = single_path(fit, "diffusers")
    if path.schedule not in ("VPSteps", *STRAIGHT):
        raise ValueError(f"no pipeline of diffusers samples the path {path.schedule}, only VPSteps and straight ones")
    return path


def _published(fit: FitResult, path: FactorPath) -> list[str] | None:
    """With a scheduler of diffusers; None where none takes these steps."""
    more = call_options(fit.about)
    if path.schedule in STRAIGHT:
        if fit.solver != "ddim":
            return None
        if not fit.grid.clean_end:  # its scheduler always goes on to 0
            return None
        call = f"pipe(prompt, sigmas={numbers(list(path.solver.sigma[:-1]))}, num_inference_steps={fit.nfe}{more})"
        return [*_scheduler("FlowMatchEulerDiscreteScheduler", _STRAIGHT_EULER), f"image = {call}.images[0]"]
    if fit.solver == "ddim":
        call = f"pipe(prompt, sigmas={numbers(last_levels(fit, noise_levels(path.solver)))}{more})"
        return [*_scheduler("EulerDiscreteScheduler", _EULER), f"image = {call}.images[0]"]
    if fit.solver in ("dpmpp_2m", "dpmpp_3m") and fit.grid.n_steps < KEEPS_ITS_ORDER:
        return _dpm_solver(fit, path)
    return None


def _dpm_solver(fit: FitResult, path: FactorPath) -> list[str] | None:
    """Its scheduler takes whole step numbers only."""
    times = path.solver.t[:-1]
    whole = [round(t) for t in times]
    if whole[-1] < 1 or any(a <= b for a, b in pairwise(whole)):
        return None
    settings = {
        **_DPM_SOLVER,
        "solver_order": 2 if fit.solver == "dpmpp_2m" else 3,
        "final_sigmas_type": "zero" if fit.grid.clean_end else "sigma_min",
    }
    off = max(abs(t - n) for t, n in zip(times, whole, strict=True))
    return [
        f"# rounded to whole steps, by up to {off:.2f}, which LearnedScheduler would not be",
        *_scheduler("DPMSolverMultistepScheduler", settings),
        f"image = pipe(prompt, timesteps={whole}{call_options(fit.about)}).images[0]",
    ]


def _ours(fit: FitResult, path: Path) -> list[str]:
    """With the scheduler that carries all that a fit can learn."""
    call = f"pipe(prompt, num_inference_steps={fit.grid.n_steps}{call_options(fit.about)})"
    return [*extra_call(fit), *_our_scheduler(path), f"image = {call}.images[0]"]


def extra_call(fit: FitResult) -> list[str]:
    """That the network is called once more than was learned, where it is."""
    if unit_is_close(single_path(fit, "diffusers")):
        return []
    calls = f"# {fit.nfe} calls of the network were learned; pipelines that do not scale their noise"
    return [f"{calls} (Stable Diffusion 3, Flux, DDPM) make {fit.nfe + 1}"]


def _our_scheduler(path: Path) -> list[str]:
    return [
        "from ld3_diffusers.learned_scheduler import LearnedScheduler",
        "",
        f"pipe.scheduler = LearnedScheduler.from_fit({str(path)!r}, pipe)",
    ]


def _scheduler(kind: str, settings: Mapping[str, object]) -> list[str]:
    """The constructor's call, on top of the config that the pipeline came with."""
    changed = {**_PLAIN, **settings}
    arguments = "".join(f", {name}={_written(value)}" for name, value in changed.items())
    return [
        f"from diffusers import {kind}",
        "",
        f"pipe.scheduler = {kind}.from_config(pipe.scheduler.config{arguments})",
    ]


def _written(value: object) -> str:
    return 'float("-inf")' if value == -math.inf else repr(value)
