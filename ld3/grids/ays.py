"""Published grids of Align Your Steps (Sabour et al., arXiv 2404.14507), for the models that they were found for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import torch

from ld3.clock import Clock
from ld3.grids.grid import Grid

# fmt: off
NOISE_LEVELS: Mapping[str, tuple[float, ...]] = {
    "sd15": (14.6146412293, 6.4745760956, 3.8636745985, 2.6946151520, 1.8841921177, 1.3943805092,
             0.9642583904, 0.6523686016, 0.3977456272, 0.1515232662, 0.0291671582),
    "sdxl": (14.6146412293, 6.3184485287, 3.7681790315, 2.1811480769, 1.3405244945, 0.8620721141,
             0.5550693289, 0.3798540708, 0.2332364134, 0.1114188177, 0.0291671582),
    "svd": (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002),
}
# fmt: on
"""Model -> σ̂ = σ/α at the eleven nodes of ten steps: Stable Diffusion 1.5, SDXL, Stable Video Diffusion.

The values are those of the authors' guide (research.nvidia.com/labs/toronto-ai/AlignYourSteps/howto.html). Tools that
end in no noise put 0 for the last one.
"""

SAME = 0.01
"""How far a clock's noise range may be from the table's, as a share."""


def ays(clock: Clock, n: int, model: str) -> Grid:
    """`n` steps of the published grid of `model`; other numbers than ten are interpolated in log σ̂, as the authors do.

    Raises:
        ValueError: if there is no table for `model`, or the clock's noise range is not that model's.
    """
    if model not in NOISE_LEVELS:
        raise ValueError(f"model must be one of {', '.join(NOISE_LEVELS)}, got {model!r}")
    if n < 1:
        raise ValueError(f"n must be at least 1 step, got {n}")
    table = NOISE_LEVELS[model]
    levels = {}
    for factor, (start, end) in clock.bounds.items():
        ends = [math.exp(-lam) for lam in (start, end)]
        if any(abs(own / published - 1) > SAME for own, published in zip(ends, (table[0], table[-1]), strict=True)):
            raise ValueError(
                f"clock must be that of {model}, with noise levels from {table[0]:g} to {table[-1]:g}, "
                f"got {ends[0]:.4g} to {ends[1]:.4g} for {factor!r}; use a grid that fits any clock"
            )
        inner = [-_log_noise(table, k / n) for k in range(1, n)]
        levels[factor] = torch.tensor([start, *inner, end], dtype=torch.float64)
    return Grid.coupled(levels, f"ays_{model}", clock.score_scale, clock.clean_end)


def _log_noise(table: tuple[float, ...], share: float) -> float:
    """log σ̂ at this share of the way through the table, linear between its entries."""
    pairs = [(math.log(before), math.log(after)) for before, after in pairwise(table)]
    position = share * len(pairs)
    k = min(int(position), len(pairs) - 1)
    before, after = pairs[k]
    return before + (position - k) * (after - before)
