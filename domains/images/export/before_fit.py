"""What a target cannot be told is refused before a fit, by what the fit may change."""

from __future__ import annotations

from typing import Final

from domains.images.export.sigma_lists import COMFYUI, SAMPLERS
from ld3.learn import FitConfig
from ld3.solvers import Solver

_LISTS: Final = {"comfyui": COMFYUI, "k-diffusion": SAMPLERS}


def check_target(target: str, solver: Solver, config: FitConfig, *, straight: bool) -> None:
    """Do nothing if `target` can take whatever a fit with these settings may learn.

    Args:
        target: a key of `TARGETS`.
        solver: of the fit.
        config: its settings.
        straight: whether the model is on straight paths.

    Raises:
        ValueError: naming the setting to change.
    """
    if target == "json":
        return
    if solver.data_mean is not None:
        raise ValueError(
            f"{target} asks the network in every step, so that a fit for it cannot take its first one with the mean of "
            "the data: give a solver without data_mean, or --for json"
        )
    if target not in _LISTS:
        return
    for phase in config.phases:
        if phase != "times":
            what = "coefficients" if phase == "coefficients" else "levels of the network's own"
            raise ValueError(f"{target} takes a list of levels and no {what}: learn 'times' for it, not {phase!r}")
    samplers = {"ddim": "euler"} if straight else _LISTS[target]
    if solver.name not in samplers:
        path = " on straight paths" if straight else ""
        raise ValueError(
            f"{target} has no sampler that takes the steps of {solver.name}{path}: give solver one of "
            f"{', '.join(samplers)}"
        )
