"""What exports share: which fits a sampler with one list of noise levels can follow, and the lists."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from ld3.learn.result import FitResult
from ld3.path_points import PathPoints

LEARNED: Final = "export it --to diffusers or json, which can say this"


def check_published(fit: FitResult, target: str) -> None:
    """Do nothing if the fit is the published solver with one list of levels.

    Raises:
        ValueError: if it learned coefficients, or gives the network levels of its own.
    """
    if fit.coefficients is not None:
        raise ValueError(f"{target} cannot take learned solver coefficients; {LEARNED}")
    if tells_other_levels(fit):
        raise ValueError(
            f"{target} gives the network the solver's own levels, this fit learned separate ones; {LEARNED}, "
            "or learn the times alone (benchmarks.images --learn times)"
        )


def tells_other_levels(fit: FitResult) -> bool:
    """Whether the network is given other levels than the solver's."""
    return any(not (fit.grid.network[f] == fit.grid.solver[f][:-1]).all() for f in fit.grid.solver)


def noise_levels(points: PathPoints) -> list[float]:
    """σ̂ = σ/α."""
    return [sigma / alpha for sigma, alpha in zip(points.sigma, points.alpha, strict=True)]


def last_levels(fit: FitResult, levels: list[float]) -> list[float]:
    """Noise levels at the nodes, with 0 for the last one where the fit ends clean."""
    return [*levels[:-1], 0.0] if fit.grid.clean_end else levels


def ending(fit: FitResult) -> str:
    """Where the last step leads, in words."""
    if fit.grid.clean_end:
        return "the last step goes on to no noise"
    left = ", ".join(f"{math.exp(-float(levels[-1])):.4g}" for levels in fit.grid.solver.values())
    return f"the last step ends at a noise level of {left}"


def heading(fit: FitResult, mark: str) -> list[str]:
    """Lines that say what was exported, each after a comment mark."""
    return [f"{mark}{line}" for line in (*fit.describe().splitlines(), ending(fit), *described(fit.about))]


def described(about: Mapping[str, object]) -> list[str]:
    """What a fit was learned on, in words; nothing where it does not say."""
    if "model" not in about:
        return []
    parts = [f"learned on {about['model']} ({about.get('network')})"]
    if "prompts" in about:
        negative = "" if about.get("negative_prompt") is None else f", away from {about['negative_prompt']!r}"
        parts.append(
            f"{about['prompts']} prompts ({about.get('prompts_hash')}), guidance {about['guidance']:g}{negative}"
        )
    if "resolution" in about:
        parts.append(f"{about['resolution']} x {about['resolution']} pixels")
    if "schedule_hash" in about:
        parts.append(f"noise schedule {about['schedule_hash']}; {about['network_calls']} calls of the network")
    return ["; ".join(parts)]


def call_options(about: Mapping[str, object]) -> str:
    """Arguments of a pipeline with prompts, so that it is called as the fit was learned; each begins with a comma."""
    if "guidance" not in about:
        return ""
    size = f", height={about['resolution']}, width={about['resolution']}"
    negative = "" if about.get("negative_prompt") is None else f", negative_prompt={about['negative_prompt']!r}"
    return f", guidance_scale={about['guidance']!r}{negative}{size}"


def numbers(values: list[float]) -> str:
    """A Python list that float32 reads back without loss."""
    return "[" + ", ".join(f"{value:.9g}" for value in values) + "]"
