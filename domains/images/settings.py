"""The defaults of sampling and fitting for images, in one place."""

from __future__ import annotations

from typing import Final

from ld3.learn import FitConfig, Teacher

SOLVER: Final = "unipc_bh1_3"
"""Of the students."""

TEACHER: Final = Teacher(solver="unipc_bh1_3", grid="edm", nfe=60, tolerance=1e-5, checked=32)
"""Tolerance: of the mean squared difference between images in [-1, 1]."""

FIT: Final = FitConfig(steps=150, batch=128)

FIT_PAIRS: Final = 640
"""Teacher pairs of a fit, one in five of them to choose the best grid by."""

BATCH: Final = 128
"""Images side by side."""
