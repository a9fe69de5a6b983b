"""Settings of a fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ld3.learn.student import Phase

Optimiser = Literal["adam", "bfgs", "gauss-newton"]


def check_numbers(
    settings: object,
    *,
    whole: Sequence[str] = (),
    whole_or_zero: Sequence[str] = (),
    above_zero: Sequence[str] = (),
    limits: Sequence[str] = (),
) -> None:
    """Raise a ValueError that names the first setting out of its range.

    Args:
        settings: whose attributes they are.
        whole: whole numbers from 1 on.
        whole_or_zero: whole numbers from 0 on.
        above_zero: finite numbers above 0.
        limits: numbers above 0, which may be infinite or None.
    """
    for names, least in ((whole, 1), (whole_or_zero, 0)):
        for name in names:
            value = getattr(settings, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} must be at least {least} and a whole number, got {value!r}")
    for name in above_zero:
        if not 0 < getattr(settings, name) < math.inf:
            raise ValueError(f"{name} must be above 0 and finite, got {getattr(settings, name)!r}")
    for name in limits:
        if (value := getattr(settings, name)) is not None and not value > 0:
            raise ValueError(f"{name} must be above 0, or None, got {value!r}")


@dataclass(frozen=True)
class FitConfig:
    """Settings of a fit.

    Attributes:
        initial_grid: name of a grid to start from, or "best": the one with the lowest validation loss.
        shared_clock: one clock for all factors, or one per factor.
        phases: what is learned, in order: "times" of the solver alone, "joint" with the levels the network is given,
            "coefficients" of the solver alone, or "all" that there is to learn. Which for what: docs/defaults.md.
        optimiser: "adam", a new batch a step; or "bfgs" (quasi-Newton), which builds up the curvature of the loss
            of one batch and needs far fewer steps where that loss is smooth; or "gauss-newton", which computes that
            curvature from the Jacobian of what the distance squares (`ProbabilityFlow.residual`): fewer evaluations
            still and a lower end, for P directions of forward derivatives a step, P numbers being learned.
        steps: gradients per phase, at most.
        batch: pairs per gradient; 0 = all. BFGS and Gauss-Newton draw their batch once a phase.
        first_batch: pairs of a search that comes first in every phase, of BFGS, with whose curvature the one on the
            batch goes on, or of Gauss-Newton; 0 = no such search.
        first_steps: gradients of that search, at most.
        curvature_batch: pairs of a search of Gauss-Newton that its Jacobian is taken on; 0 = all of its batch.
        chunk: pairs whose activations are held at once.
        learning_rate: Adam's, on log-gaps and offsets.
        coefficient_rate: that of the solver's coefficients, as a share of learning_rate; for BFGS, the unit in which
            they are measured.
        coefficient_depth: nodes that they weigh; 0 = the solver's order, the number of steps or more = all there are.
        clip: Adam's gradients longer than this are shortened to it.
        validate_every: Adam's steps, or iterations of the other two, between validations.
        patience: validations without improvement before Adam's learning rate falls, or the others end the phase.
        decay: by what factor it falls.
        anneal: instead, lower the learning rate linearly to zero over the second half of each phase.
        min_learning_rate: below this the phase ends.
        radius: of the ball, in standard deviations of the prior: one number, or one per factor; 0 = plain loss. Adam's
            only: the loss that the others minimise must not change under them.
        shift_rate: length of a shift's first step, as a share of the radius.
        scale: of the bounded distance, in the units of the flow's distance before squaring; None = unbounded.
        checkpoint: recompute activations in the backward pass instead of keeping them.
        max_evaluations: end before the fit has spent more forward evaluations of the network; None = no limit. The
            choice of the initial grid, and runs again without samples that broke, are counted but not foreseen.
        seconds: stop after this much wall time; None = no limit.
        seed: of the batches.

    Raises:
        ValueError: naming the setting, if it is out of its range, the optimiser or a phase is unknown, or the optimiser
            cannot move the ball that is asked for.
    """

    initial_grid: str = "best"
    shared_clock: bool = False
    phases: tuple[Phase, ...] = ("all",)
    optimiser: Optimiser = "bfgs"
    steps: int = 200
    batch: int = 0
    first_batch: int = 0
    first_steps: int = 40
    curvature_batch: int = 0
    chunk: int = 64
    learning_rate: float = 0.05
    coefficient_rate: float = 0.3
    coefficient_depth: int = 0
    clip: float = 1.0
    validate_every: int = 5
    patience: int = 8
    decay: float = 0.5
    anneal: bool = False
    min_learning_rate: float = 0.005
    radius: float | Mapping[str, float] = 0.0
    shift_rate: float = 0.3
    scale: float | None = None
    checkpoint: bool = False
    max_evaluations: int | None = None
    seconds: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.optimiser not in get_args(Optimiser):
            raise ValueError(f"optimiser must be one of {', '.join(get_args(Optimiser))}, got {self.optimiser!r}")
        if unknown := [phase for phase in self.phases if phase not in get_args(Phase)]:
            raise ValueError(f"phases must be of {', '.join(get_args(Phase))}, got {unknown[0]!r}")
        if not self.phases:
            raise ValueError("phases must name at least one phase, got none")
        check_numbers(
            self,
            whole=("chunk", "first_steps", "validate_every", "patience"),
            whole_or_zero=("steps", "batch", "first_batch", "curvature_batch", "coefficient_depth", "seed"),
            above_zero=("learning_rate", "coefficient_rate", "clip", "decay", "shift_rate"),
            limits=("scale", "max_evaluations", "seconds"),
        )
        if self.decay >= 1:
            raise ValueError(f"decay must be below 1, got {self.decay}")
        if not self.min_learning_rate >= 0:
            raise ValueError(f"min_learning_rate must be at least 0, got {self.min_learning_rate}")
        if self.optimiser == "adam" and self.first_batch:
            raise ValueError(f"first_batch must be 0 with optimiser 'adam', got {self.first_batch}")
        if self.optimiser != "gauss-newton" and self.curvature_batch:
            raise ValueError(f"curvature_batch must be 0 with optimiser {self.optimiser!r}, got {self.curvature_batch}")
        radii = self.radius.values() if isinstance(self.radius, Mapping) else (self.radius,)
        if not all(0 <= radius < math.inf for radius in radii):
            raise ValueError(f"radius must be a finite number from 0 on, or one per factor, got {self.radius}")
        if self.optimiser != "adam" and any(radii):
            raise ValueError(
                f"radius must be 0 with optimiser {self.optimiser!r}, got {self.radius}; use 'adam' for a ball"
            )
