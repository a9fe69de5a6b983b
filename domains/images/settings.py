"""The defaults of sampling and fitting for images, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

from ld3.learn import FitConfig, Teacher

SOLVER: Final = "unipc_bh1_3"
"""Of the students."""

TEACHER: Final = Teacher(solver="unipc_bh1_3", grid="edm", nfe=40, tolerance=1e-5, checked=32)
"""Tolerance: of the mean squared difference between images in [-1, 1]."""

FIT: Final = FitConfig(optimiser="bfgs", phases=("joint",), steps=60, patience=3)
"""Times and levels at once, by quasi-Newton steps on all training pairs. When validation stopped improving is in the
curve of a saved fit."""

_PATIENCE: Final = 8
"""With coefficients: validation wavers for longer before it improves again."""

Learn = Literal["times", "joint", "coefficients", "all"]

FITS: Final[Mapping[Learn, FitConfig]] = {
    "times": replace(FIT, phases=("times",)),
    "joint": FIT,
    "coefficients": replace(FIT, phases=("coefficients",), patience=_PATIENCE),
    "all": replace(FIT, phases=("joint", "all"), patience=_PATIENCE),
}
"""What is learned -> the fit. Coefficients are several times as many as times and levels. They come second, so that the
fit does not end farther from the teacher than without them on the pairs to choose by; in docs/coefficients.md, moving
all from the first gradient on was better for some solvers and worse for others."""

FIT_PAIRS: Final = 400
"""Teacher pairs of a fit, one in five of them to choose the best grid by, and one in five for the final test."""

BATCH: Final = 128
"""Images side by side."""
