"""The defaults of sampling and fitting for docking, in one place."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import torch

from ld3.learn import FitConfig, Teacher

_ON_CPU: Final = 16  # with more, the activations of a step with gradients no longer fit the caches
_ON_GPU: Final = 512


def poses_at_once(device: torch.device) -> int:
    """How many poses side by side cost least."""
    return _ON_CPU if device.type == "cpu" else _ON_GPU


SOLVER: Final = "dpmpp_2m"
"""Of the students. Second order is what SO(3) carries without commutator terms."""

TEACHER: Final = Teacher(solver="dpmpp_2m", grid="edm", nfe=48, chunk=_ON_CPU)

FIT: Final = FitConfig(
    optimiser="adam",
    scale=2.0,
    shared_clock=False,
    phases=("joint",),
    steps=50,
    learning_rate=0.1,
    anneal=True,
    validate_every=20,
    chunk=_ON_CPU,
)
"""scale: in Å. A small change of the times sends some poses to another binding mode, many Å away and with no gradient
worth following; distances are bounded so that such a pose counts as one miss and the others decide. What else
was tried is in docs/docking_fits.md."""

FIT_POSES: Final = 400
"""Teacher pairs of a fit, one in five of them to choose the best grid by, and one in five for the final test."""

_STEP_EVALUATIONS: Final = 160


def fit_config(nfe: int) -> FitConfig:
    """The fit for a budget of `nfe`: every gradient step costs the same, whatever the budget."""
    return replace(FIT, batch=max(8, _STEP_EVALUATIONS // nfe))
