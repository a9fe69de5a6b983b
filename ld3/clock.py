"""One noise schedule per factor, and the number by which a flow multiplies the score."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ld3.schedules import Schedule
from ld3.state import Levels


@final
@dataclass(frozen=True)
class Clock:
    """Turns levels into times and noise levels, factor by factor. A level is the half log-SNR λ = log(α/σ) of the path.

    The score scale c changes none of these. A flow with c ≠ 1 follows its ODE with the score of the *noised* density
    multiplied by c, dx̂ = c ε dσ̂. With the clean prediction held still that shrinks x̂ - x̂₀ as σ̂^c: the plain flow in
    λ' = c λ, which is where solvers take their steps (:func:`ld3.solvers.solve`).

    With c > 1 it seeks modes. It does not sample p^c, whose noised score is another one: on EDM's path N(0, 1) ends at
    c = 4 with a standard deviation of 80/6401² = 2e-6, where p^4 has 0.5; and of two modes of weights 0.8 and 0.2 no
    sample ends in the lighter one at c = 2, where p^2 has 6% of them.

    Attributes:
        schedules: factor -> its noise schedule.
        score_scale: c > 0; 1 samples the model's distribution p.
        clean_end: a grid's last step goes on past λ at t_min, to no noise at all (:class:`ld3.grids.Grid`).

    Raises:
        ValueError: if there is no factor or the score scale is not positive and finite.
    """

    schedules: Mapping[str, Schedule]
    score_scale: float = 1.0
    clean_end: bool = False

    def __post_init__(self) -> None:
        if not self.schedules:
            raise ValueError("schedules must name at least one factor, got none")
        if not (self.score_scale > 0 and math.isfinite(self.score_scale)):
            raise ValueError(f"score_scale must be positive and finite, got {self.score_scale}")

    @property
    def bounds(self) -> Mapping[str, tuple[float, float]]:
        """Factor -> (λ at t_max, λ at t_min): from noise to data."""
        return {
            name: (_level(schedule, schedule.t_max), _level(schedule, schedule.t_min))
            for name, schedule in self.schedules.items()
        }

    def levels(self, times: Tensor | Mapping[str, Tensor]) -> Levels:
        """λ at `times`, any shape; a tensor is a time that all factors share. The inverse of `time`."""
        return {
            name: schedule.half_log_snr(times if isinstance(times, Tensor) else times[name])
            for name, schedule in self.schedules.items()
        }

    def time(self, levels: Levels) -> Mapping[str, Tensor]:
        """Factor -> the time of its level."""
        return {name: schedule.time(levels[name]) for name, schedule in self.schedules.items()}

    def sigma(self, levels: Levels) -> Mapping[str, Tensor]:
        """Factor -> the noise level σ̂ = σ/α = exp(-λ)."""
        return {name: torch.exp(-levels[name]) for name in self.schedules}


def _level(schedule: Schedule, time: float) -> float:
    return schedule.half_log_snr(torch.tensor(time, dtype=torch.float64)).item()
