"""One noise schedule per factor, and the score scale that all of them share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ld3.schedules.schedule import Schedule
from ld3.state import Levels


@final
@dataclass(frozen=True)
class Clock:
    """Turns levels into times and noise levels, factor by factor.

    A score scale c > 1 follows p^c instead of p. That multiplies the score by c, and dx = c ε dσ̂ is the plain flow
    dx = ε dσ̂ seen at λ = c log(α/σ): the denoiser stays as it is and solvers see nothing but λ.

    Attributes:
        schedules: factor -> its noise schedule.
        score_scale: c > 0; 1 samples p itself.

    Raises:
        ValueError: if there is no factor or the score scale is not positive and finite.
    """

    schedules: Mapping[str, Schedule]
    score_scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.schedules:
            raise ValueError("schedules must name at least one factor, got none")
        if not (self.score_scale > 0 and math.isfinite(self.score_scale)):
            raise ValueError(f"score scale must be positive and finite, got {self.score_scale}")

    @property
    def bounds(self) -> Mapping[str, tuple[float, float]]:
        """Factor -> (λ at t_max, λ at t_min): from noise to data."""
        return {
            name: (self._level(schedule, schedule.t_max), self._level(schedule, schedule.t_min))
            for name, schedule in self.schedules.items()
        }

    def levels(self, times: Tensor | Mapping[str, Tensor]) -> Levels:
        """λ at `times`, any shape; a tensor is a time that all factors share. The inverse of `time`."""
        return {
            name: self.score_scale * schedule.half_log_snr(times if isinstance(times, Tensor) else times[name])
            for name, schedule in self.schedules.items()
        }

    def time(self, levels: Levels) -> Mapping[str, Tensor]:
        """Factor -> the time of its level."""
        return {name: schedule.time(levels[name] / self.score_scale) for name, schedule in self.schedules.items()}

    def sigma(self, levels: Levels) -> Mapping[str, Tensor]:
        """Factor -> the noise level σ̂ = σ/α = exp(-λ/c) that the network was trained at."""
        return {name: torch.exp(-levels[name] / self.score_scale) for name in self.schedules}

    def _level(self, schedule: Schedule, time: float) -> float:
        return self.score_scale * schedule.half_log_snr(torch.tensor(time, dtype=torch.float64)).item()
