"""Flows on images of which each has a condition: a class, or a prompt."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from domains.images.metrics.distances import Distance
from ld3.clock import Clock
from ld3.flow import ProbabilityFlow
from ld3.schedules.schedule import Schedule
from ld3.state import Levels, Tangent


class Conditioned(NamedTuple):
    """B images on their way, and what each is to show.

    Attributes:
        x: x̂ = x/α, shape (B, C, H, W).
        condition: number of its condition, int64, shape (B,).
    """

    x: Tensor
    condition: Tensor


class ConditionedFlow(ProbabilityFlow[Conditioned]):
    """A flow on images, one factor called "x", for which a subclass writes `noise`, `image` and `fingerprint`.

    Args:
        schedule: the path x_t = α x_0 + σ z that the network was trained on.
        shape: (C, H, W) of what is noised: pixels or latents.
        conditions: how many there are; the prior takes them in turn.
        distance: of decoded images.
        dtype: floating type of the states.
    """

    def __init__(
        self, schedule: Schedule, shape: tuple[int, int, int], conditions: int, distance: Distance, dtype: torch.dtype
    ) -> None:
        self.schedule = schedule
        self.shape = shape
        self.conditions = conditions
        self.measure = distance
        self.dtype = dtype
        self.clock = Clock({"x": schedule})
        self.prior_scale = {"x": math.exp(-self.clock.bounds["x"][0])}

    @property
    def published_table(self) -> str | None:
        """The table of `ld3.grids.ays` that was published for this model, if any was."""
        return None

    @abstractmethod
    def noise(self, x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """The predicted noise ε̂, shape (B, C, H, W), in x_t = α x_0 + σ z at time `t`, shape (), float64."""

    @abstractmethod
    def image(self, x_0: Tensor) -> Tensor:
        """Images in [-1, 1], (B, C', H', W'), from what was noised; differentiable."""

    def decode(self, state: Conditioned) -> Tensor:
        """Images in [-1, 1] from the state where a grid ends."""
        return self.image(self.schedule.alpha(torch.tensor(self.schedule.t_min, dtype=torch.float64)) * state.x)

    def prior(self, n: int, generator: torch.Generator) -> Conditioned:
        device = generator.device
        unit = torch.randn(n, *self.shape, generator=generator, device=device, dtype=self.dtype)
        return Conditioned(self.prior_scale["x"] * unit, torch.arange(n, device=device) % self.conditions)

    def displacement(self, x: Conditioned, levels: Levels) -> Tangent:
        t = self.clock.time(levels)["x"]
        sigma = self.clock.sigma(levels)["x"]
        return {"x": -sigma * self.noise(self.schedule.alpha(t) * x.x, t, x.condition)}

    def retract(self, x: Conditioned, v: Tangent) -> Conditioned:
        return Conditioned(x.x + v["x"], x.condition)

    def zero_tangent(self, x: Conditioned) -> Tangent:
        return {"x": torch.zeros_like(x.x)}

    def distance(self, x: Conditioned, target: Conditioned) -> Tensor:
        return self.measure.measure(self.decode(x), self.decode(target))

    def norm(self, v: Tangent) -> Mapping[str, Tensor]:
        return {"x": torch.linalg.vector_norm(v["x"].flatten(1), dim=1)}
