"""How far a fit has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from ld3.learn.final_test import FinalTest
from ld3.learn.gauss_newton import FIRST_DAMPING
from ld3.learn.result import Point
from ld3.learn.variables import Answer


@dataclass
class Progress:
    """The part of a fit that a checkpoint holds besides its optimiser.

    Attributes:
        tried: grid -> validation loss, of all that the fit could start from.
        initial_grid: the one that it starts from.
        best, best_loss: parameters with the lowest validation loss so far.
        curve: validations so far.
        finished: phases that have ended.
        step, phase_steps: gradients in all, and in this phase.
        rate: learning rate of Adam.
        worse: validations without improvement.
        origin, rows, answers: of a phase of BFGS: the parameters that it started from, its batch, and the losses and
            gradients that the minimiser was given; of one of Gauss-Newton, those after its steps.
        damping: of Gauss-Newton.
        curvature: inverse Hessian that the last search of BFGS leaves to the next.
        test: what the final test found.
    """

    tried: dict[str, float] = field(default_factory=dict)
    initial_grid: str = ""
    best: dict[str, Tensor] = field(default_factory=dict)
    best_loss: float = float("inf")
    curve: list[Point] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    step: int = 0
    phase_steps: int = 0
    rate: float = 0.0
    worse: int = 0
    origin: dict[str, Tensor] = field(default_factory=dict)
    rows: list[int] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    damping: float = FIRST_DAMPING
    curvature: list[list[float]] = field(default_factory=list)
    test: FinalTest | None = None

    def state(self) -> dict[str, Any]:
        """For a checkpoint, in plain types and tensors."""
        test = None if self.test is None else self.test.to_dict()
        return {**vars(self), "curve": [asdict(point) for point in self.curve], "test": test}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Progress:
        """From a checkpoint."""
        test = None if state["test"] is None else FinalTest.from_dict(state["test"])
        return cls(**{**state, "curve": [Point(**row) for row in state["curve"]], "test": test})
