"""Where the levels of a grid lie on the noise path of each factor: as other people's samplers take them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from torch import Tensor

from ld3.clock import Clock
from ld3.grids.grid import Grid
from ld3.schedules import Schedule


@final
@dataclass(frozen=True)
class PathPoints:
    """Points on a path x_t = α x_0 + σ z.

    Attributes:
        t: times, in the units of the schedule.
        alpha: scale of the data at each.
        sigma: standard deviation of the noise at each.
    """

    t: tuple[float, ...]
    alpha: tuple[float, ...]
    sigma: tuple[float, ...]


@final
@dataclass(frozen=True)
class FactorPath:
    """One factor's part of a grid, on its path.

    Attributes:
        schedule: class name of the noise schedule.
        solver: at the N+1 nodes.
        network: at the N levels that the network is given.
    """

    schedule: str
    solver: PathPoints
    network: PathPoints

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> FactorPath:
        """The path that `dataclasses.asdict` wrote.

        Raises:
            KeyError, TypeError, ValueError: if `content` is anything else: α and σ are positive, all numbers finite.
        """
        if not isinstance(content["schedule"], str):
            raise TypeError(f"schedule must be text, got {content['schedule']!r}")
        return cls(content["schedule"], _points(content["solver"]), _points(content["network"]))


def trace(clock: Clock, grid: Grid) -> Mapping[str, FactorPath]:
    """Factor -> the points of `grid` on the path of `clock`; its levels must be finite."""
    return {
        factor: FactorPath(
            type(schedule).__name__,
            _at(schedule, grid.solver[factor]),
            _at(schedule, grid.network[factor]),
        )
        for factor, schedule in clock.schedules.items()
    }


def _at(schedule: Schedule, half_log_snr: Tensor) -> PathPoints:
    t = schedule.time(half_log_snr)
    return PathPoints(*(tuple(values.tolist()) for values in (t, schedule.alpha(t), schedule.sigma(t))))


def _points(content: object) -> PathPoints:
    if not isinstance(content, dict):
        raise TypeError(f"points must be an object, got {type(content).__name__}")
    points = PathPoints(*(tuple(float(value) for value in content[name]) for name in ("t", "alpha", "sigma")))
    if not len(points.t) == len(points.alpha) == len(points.sigma):
        raise ValueError("t, alpha and sigma must be of one length")
    if not all(map(math.isfinite, (*points.t, *points.alpha, *points.sigma))):
        raise ValueError("t, alpha and sigma must be finite")
    for name, values in (("alpha", points.alpha), ("sigma", points.sigma)):
        if not all(value > 0 for value in values):
            raise ValueError(f"{name} must be positive, got {min(values)}")
    return points
