"""The defaults of sampling and fitting for docking, in one place."""

from __future__ import annotations

from typing import Final

import torch

from ld3.learn import FitConfig, Teacher

_ON_CPU: Final = 16  # a step with gradients costs half of what it costs with 64, which no longer fit the caches
_ON_GPU: Final = 512


def poses_at_once(device: torch.device) -> int:
    """How many poses side by side cost least."""
    return _ON_CPU if device.type == "cpu" else _ON_GPU


SOLVER: Final = "dpmpp_2m"
"""Of the students. Second order is what SO(3) carries without commutator terms."""

TEACHER: Final = Teacher(solver="dpmpp_2m", grid="uniform_log_snr", nfe=64, chunk=_ON_CPU)

FIT: Final = FitConfig(scale=2.0, seconds=50.0, chunk=_ON_CPU)
"""scale: in Å. A small change of the times sends some poses to another binding mode, many Å away and with no gradient
worth following; distances are bounded so that such a pose counts as one miss and the others decide."""

FIT_POSES: Final = 256
"""Teacher pairs of a fit: one half to learn from, the other to choose the best grid by."""
