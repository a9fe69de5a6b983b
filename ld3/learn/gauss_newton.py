"""Gauss-Newton steps with Levenberg's and Marquardt's damping (Nocedal & Wright 2006, section 10.3).

A mean of squares has a curvature that can be computed, 2 JᵀJ/n with J the Jacobian of what is squared, where BFGS has
to find it out gradient by gradient. A few dozen parameters, each of which moves everything that comes after it, make a
long and bent valley: there that is the difference between ten steps and hundreds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from ld3.learn.variables import Answer, Variable, Variables

FIRST_DAMPING = 1e-3
"""Share of the curvature of each parameter that is added to it in the first step."""

_LEAST_DAMPING, _MOST_DAMPING = 1e-7, 1e6
_EASE, _TIGHTEN = 1 / 4, 5.0
_LEAST = 1e-9  # curvature of a parameter, as a share of the largest
_FLAT = 1e-3  # a step that lowers the loss by less than this share is the last


@final
class GaussNewton:
    """One minimisation; all of its state is in the parameters and in two attributes, and can be saved between steps.

    Args:
        variables: what to move, from where they are.
        answer: loss and gradient there, where an earlier run left them; None = not known.
        damping: that an earlier run left.

    Attributes:
        answer: loss and gradient at the parameters.
        damping: for the next step.
    """

    def __init__(
        self, variables: Sequence[Variable], answer: Answer | None = None, damping: float = FIRST_DAMPING
    ) -> None:
        self.variables = Variables(variables)
        self.answer, self.damping = answer, damping

    def run(
        self,
        evaluate: Callable[[], float],
        curvature: Callable[[Variables], NDArray[np.float64]],
        over: Callable[[], bool],
        on_iteration: Callable[[Answer], None],
    ) -> None:
        """Minimise, and leave the parameters at the lowest loss. A parameter at its bound stays there while the loss
        falls beyond it.

        Args:
            evaluate: the loss at the present parameters, with its gradient left in them.
            curvature: JᵀJ there, (P, P), times what makes it half of the loss's second derivative.
            over: whether to stop now, asked before every evaluation.
            on_iteration: called at the parameters of every step, with their loss and gradient.
        """
        low, point = self.variables.lowest, self.variables.point()
        while not over():
            if self.answer is None:
                self.answer = (evaluate(), self.variables.gradient())
                continue
            loss, slope = self.answer[0], np.array(self.answer[1])
            if not math.isfinite(loss):
                return
            matrix = 2 * curvature(self.variables)
            free = ~((point <= low) & (slope > 0))
            scale = np.diag(matrix).copy()
            scale = np.maximum(scale, _LEAST * scale.max() or 1.0)
            while True:
                if over() or self.damping > _MOST_DAMPING:
                    self.variables.move(point)
                    return
                damped = (matrix + np.diag(self.damping * scale))[np.ix_(free, free)]
                trial = point.copy()
                trial[free] -= np.linalg.solve(damped, slope[free])
                trial = np.maximum(trial, low)
                self.variables.move(trial)
                answer = (evaluate(), self.variables.gradient())
                if answer[0] < loss and np.isfinite(answer[1]).all():
                    break
                self.damping *= _TIGHTEN
            point, self.answer = self.variables.point(), answer  # as a search that goes on from here reads it
            self.damping = max(self.damping * _EASE, _LEAST_DAMPING)
            on_iteration(answer)
            if answer[0] > (1 - _FLAT) * loss:
                return
