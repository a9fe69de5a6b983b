"""Grids made by hand: a formula that turns a clock and a number of steps into levels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ld3.clock import Clock
from ld3.grids.dmn import MOST, dmn
from ld3.grids.grid import Grid
from ld3.state import Levels


def uniform_t(clock: Clock, n: int) -> Grid:
    """`n` steps of equal length in the time of each factor, from t_max to t_min."""
    times = {name: _ramp(schedule.t_max, schedule.t_min, n) for name, schedule in clock.schedules.items()}
    return _grid(clock, clock.levels(times), "uniform_t")


def quadratic_t(clock: Clock, n: int) -> Grid:
    """`n` steps of equal length in √t, from t_max to t_min."""
    roots = {
        name: _ramp(math.sqrt(schedule.t_max), math.sqrt(schedule.t_min), n)
        for name, schedule in clock.schedules.items()
    }
    return _grid(clock, clock.levels({name: root.square() for name, root in roots.items()}), "quadratic_t")


def uniform_log_snr(clock: Clock, n: int) -> Grid:
    """`n` steps of equal length in the log-SNR, hence in λ."""
    return _grid(clock, {name: _ramp(*bounds, n) for name, bounds in clock.bounds.items()}, "uniform_log_snr")


def edm(clock: Clock, n: int, rho: float = 7.0) -> Grid:
    """`n` steps of equal length in σ̂^(1/ρ) (Karras et al., arXiv 2206.00364, eq. 5)."""
    levels = {
        name: -rho * torch.log(_ramp(math.exp(-start / rho), math.exp(-end / rho), n))  # σ̂^(1/ρ) = exp(-λ/ρ)
        for name, (start, end) in clock.bounds.items()
    }
    return _grid(clock, levels, "edm" if rho == 7.0 else f"edm(rho={rho:g})")


def from_times(clock: Clock, times: Sequence[float], name: str = "times") -> Grid:
    """A grid through a list of N+1 decreasing times that all factors share."""
    return _grid(clock, clock.levels(torch.tensor(times, dtype=torch.float64)), name)


HAND_MADE: Mapping[str, Callable[[Clock, int], Grid]] = {
    "uniform_t": uniform_t,
    "quadratic_t": quadratic_t,
    "uniform_log_snr": uniform_log_snr,
    "edm": edm,
    "dmn": dmn,
}
"""Name -> (clock, number of steps) -> grid."""


def hand_made(clock: Clock, n: int) -> dict[str, Grid]:
    """Name -> grid of `n` steps: all of them, but beyond `ld3.grids.dmn.MOST` steps without "dmn"."""
    return {name: make(clock, n) for name, make in HAND_MADE.items() if name != "dmn" or n <= MOST}


def _grid(clock: Clock, levels: Levels, name: str) -> Grid:
    return Grid.coupled(levels, name, clock.score_scale, clock.clean_end)


def _ramp(start: float, end: float, n: int) -> Tensor:
    if n < 1:
        raise ValueError(f"n must be at least 1 step, got {n}")
    return torch.linspace(start, end, n + 1, dtype=torch.float64)
