"""Flows on images of which each has a condition: a class, or a prompt."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from domains.images.metrics.distances import Distance
from ld3.flow import ArrayFlow
from ld3.schedules import Schedule


class Conditioned(NamedTuple):
    """B images on their way, and what each is to show.

    Attributes:
        x: x̂ = x/α, shape (B, C, H, W).
        condition: number of its condition, int64, shape (B,).
    """

    x: Tensor
    condition: Tensor


class ConditionedFlow(ArrayFlow[Conditioned]):
    """A flow on images, for which a subclass writes `noise`, `image` and `fingerprint`.

    Args:
        schedule: the path x_t = α x_0 + σ z that the network was trained on.
        shape: (C, H, W) of what is noised: pixels or latents.
        conditions: how many there are; the prior takes them in turn.
        distance: of decoded images.
        dtype: floating type of the states.
        device: where the model runs.
        clean_end: whether grids go on to no noise (`ld3.Clock`).
    """

    def __init__(
        self,
        schedule: Schedule,
        shape: tuple[int, int, int],
        conditions: int,
        distance: Distance,
        dtype: torch.dtype,
        device: torch.device,
        clean_end: bool = False,
    ) -> None:
        super().__init__(schedule, shape, dtype=dtype, clean_end=clean_end)
        self.device = device
        self.conditions = conditions
        self.measure = distance

    @property
    def published_table(self) -> str | None:
        """The table of `ld3.grids.ays` that was published for this model, if any was."""
        return None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know about how the model is sampled, a line each."""
        return ()

    @property
    def scales_noise(self) -> bool:
        """Whether those who sample the model can show its network their noise at another scale than one."""
        return True

    @property
    def about(self) -> dict[str, object]:
        """What a fit is to say that it was learned on, as JSON has it."""
        return {}

    @abstractmethod
    def noise(self, x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """The predicted noise ε̂, shape (B, C, H, W), in x_t = α x_0 + σ z at time `t`, shape (), float64."""

    @abstractmethod
    def image(self, x_0: Tensor) -> Tensor:
        """Images in [-1, 1], (B, C', H', W'), from what was noised; differentiable."""

    @abstractmethod
    def fingerprint(self) -> str: ...

    def state(self, x: Tensor) -> Conditioned:
        return Conditioned(x, torch.arange(len(x), device=x.device) % self.conditions)

    def starts(self, n: int, seed: int) -> Conditioned:
        """`n` samples of the prior on the model's device, the same on every device."""
        x, condition = self.prior(n, torch.Generator().manual_seed(seed))
        return Conditioned(x.to(self.device), condition.to(self.device))

    def predicted_noise(self, state: Conditioned, x_t: Tensor, t: Tensor) -> Tensor:
        return self.noise(x_t, t, state.condition)

    def decode(self, x: Conditioned) -> Tensor:
        """Images in [-1, 1] from the state where a grid ends."""
        return self.image(super().decode(x))

    def distance(self, x: Conditioned, target: Conditioned) -> Tensor:
        return self.measure.measure(self.decode(x), self.decode(target))


def guided(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance (Ho & Salimans, arXiv 2207.12598): u + w (c - u); w = 1 is the conditional answer c."""
    return unconditional + scale * (conditional - unconditional)
