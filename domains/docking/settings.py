"""The defaults of sampling and fitting for docking, in one place. They were chosen on the validation split."""

from __future__ import annotations

from typing import Final

from ld3.learn import FitConfig, Teacher

SOLVER: Final = "dpmpp_2m"
"""Of the students. Second order is what SO(3) carries without commutator terms."""

TEACHER: Final = Teacher(solver="dpmpp_2m", grid="uniform_log_snr", nfe=64)

FIT: Final = FitConfig(scale=2.0, seconds=50.0)
"""scale: in Å. A small change of the times sends some poses to another binding mode, many Å away and with no gradient
worth following; distances are bounded so that such a pose counts as one miss and the others decide."""

FIT_POSES: Final = 256
"""Teacher pairs of a fit: one half to learn from, the other to choose the best grid by."""
