"""The searches of a fit, in order, and the most evaluations that they can take."""

from __future__ import annotations

from typing import NamedTuple

from ld3.grids.hand_made import HAND_MADE
from ld3.learn.config import FitConfig
from ld3.learn.student import Phase


class Part(NamedTuple):
    """A phase, or the first search of one: how many pairs a gradient has, and how many gradients there are at most."""

    phase: Phase
    batch: int
    steps: int
    first: bool = False


def parts_of(config: FitConfig, n_train: int) -> list[Part]:
    """What is done, in order."""
    parts = []
    for phase in config.phases:
        if config.first_batch:
            parts.append(Part(phase, min(config.first_batch, n_train), config.first_steps, first=True))
        parts.append(Part(phase, min(config.batch, n_train) or n_train, config.steps))
    return parts


def most_evaluations(config: FitConfig, n_train: int, n_valid: int, nfe: int, n_given: int = 0, n_test: int = 0) -> int:
    """The most network evaluations, per sample, that a fit can make, for progress bars; without runs that are repeated
    because a sample broke.

    Args:
        config: of the fit.
        n_train: pairs to learn from.
        n_valid: pairs to choose by.
        nfe: evaluations that a sample costs.
        n_given: grids to start from besides the hand-made ones.
        n_test: pairs of the final test.
    """
    parts = parts_of(config, n_train)
    validations = len(HAND_MADE) + n_given + sum(-(-part.steps // config.validate_every) for part in parts)
    trained = sum(part.steps * (part.batch + curvature_pairs(config, part.batch)) for part in parts)
    return nfe * (validations * n_valid + trained + 2 * n_test)


def curvature_pairs(config: FitConfig, batch: int) -> int:
    """Of a batch, how many a Jacobian is taken on in a step; none where no optimiser asks for it."""
    if config.optimiser != "gauss-newton":
        return 0
    return min(config.curvature_batch, batch) or batch
