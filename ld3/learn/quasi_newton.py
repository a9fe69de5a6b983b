"""Quasi-Newton steps with BFGS (Nocedal & Wright 2006, section 6.1), of scipy, in a form that can be interrupted.

With all of the curvature rather than L-BFGS's last few steps of it: there are some ten to a hundred parameters, and an
evaluation costs a whole batch through the solver.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, minimize

from ld3.learn.variables import Answer, Variable, Variables

_FLAT = 1e-7  # the minimiser stops when an iteration lowers the loss by less than this share of the scale
_BROKEN = 1e6  # what an infinite loss counts, in units of the scale: the search along a line interpolates
_ENDLESS = 10**9
_LEAST = 1e-10  # eigenvalue of an inverse Hessian, as a share of the largest


class _Over(Exception):
    """The caller wants no more."""


class _Outside(Exception):
    """A step has overstepped a bound, and there is no slope that leads back."""


@final
class QuasiNewton:
    """One minimisation.

    The minimiser's state cannot be saved, but it is deterministic: given the same answers, a new one is soon where the
    old one was, at no evaluation of the loss.

    Args:
        variables: what to move, from where they are.
        answers: those that an earlier run was given from there.
        scale: by what the minimiser divides the losses; None = the first of them.
        curvature: inverse Hessian to begin with, as another search of the same variables left it; empty = none.

    Attributes:
        answers: all that were given.
        lowest: the lowest loss among them.
        curvature: the inverse Hessian that the search has built up.
    """

    def __init__(
        self,
        variables: Sequence[Variable],
        answers: Sequence[Answer] = (),
        scale: float | None = None,
        curvature: Sequence[Sequence[float]] = (),
    ) -> None:
        self.variables = Variables(variables)
        self.scale = scale
        self.answers = list(answers)
        self.lowest = math.inf
        self.curvature = np.array(curvature, dtype=np.float64)

    def run(self, evaluate: Callable[[], float], over: Callable[[], bool], on_iteration: Callable[[int], None]) -> None:
        """Minimise, and leave the parameters at the lowest loss that was seen.

        Where a step has led beyond a bound from which the loss falls inwards, a new search starts on the bound. The
        last one ends where no step lowers the loss; a gradient that is another function's, as where samples break,
        can bring that on.

        Args:
            evaluate: the loss at the present parameters, with its gradient left in them.
            over: whether to stop now, asked before every evaluation.
            on_iteration: called with 1, 2, ... at the parameters of every iteration; not again for those of an
                earlier run.
        """
        known, asked, iteration = len(self.answers), 0, 0
        start = best = self.variables.point()
        low = self.variables.lowest
        inside, slope = np.full_like(start, math.nan), start
        before = math.inf
        last: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

        def answer(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            """The loss at the nearest point within the bounds; it is flat beyond them."""
            nonlocal asked, best, inside, slope
            if not np.array_equal(inside, np.maximum(point, low)):
                inside = np.maximum(point, low)
                self.variables.move(inside)
                if asked == len(self.answers):
                    if over():
                        raise _Over
                    self.answers.append((evaluate(), self.variables.gradient()))
                asked += 1
            loss, gradient = self.answers[asked - 1]
            slope = np.array(gradient) / self._scale
            if loss < self.lowest:
                self.lowest, best = loss, inside
            flat = (point < low) | ((point == low) & (slope > 0))
            return min(loss / self._scale, _BROKEN), np.where(flat, 0.0, slope)

        def accepted(intermediate_result: OptimizeResult) -> None:
            nonlocal iteration, before, last
            iteration += 1
            x = intermediate_result.x
            if np.array_equal(inside, x):
                if last is not None:
                    self._learn_curvature(x - last[0], slope - last[1])
                last = x.copy(), slope
            if asked > known:
                self.variables.move(np.maximum(x, low))
                on_iteration(iteration)
            if before - intermediate_result.fun < _FLAT:
                raise _Over
            before = intermediate_result.fun
            if np.array_equal(inside, np.maximum(x, low)) and ((x < low) & (slope < 0)).any():
                raise _Outside

        options: dict[str, object] = {"maxiter": _ENDLESS, "gtol": 0.0}
        with suppress(_Over):
            if self.curvature.size:
                answer(start)  # the first loss is the scale
                options["hess_inv0"] = _positive(self.curvature) * self._scale
            while True:
                try:
                    minimize(answer, start, jac=True, method="BFGS", callback=accepted, options=options)
                    break
                except _Outside:
                    start = inside
                    options.pop("hess_inv0", None)
        self.variables.move(best)

    def _learn_curvature(self, step: NDArray[np.float64], change: NDArray[np.float64]) -> None:
        """The update of BFGS with a step and the change of slope along it (Nocedal & Wright, eq. 6.17)."""
        along = float(step @ change)
        if along <= 0:
            return
        if not self.curvature.size:
            self.curvature = np.eye(len(step)) * along / float(change @ change) / self._scale
        turn = np.eye(len(step)) - np.outer(step, change) / along
        self.curvature = turn @ self.curvature @ turn.T + np.outer(step, step) / along / self._scale

    @property
    def _scale(self) -> float:
        """Of the losses."""
        first = self.answers[0][0] if self.scale is None else self.scale
        return first if 0 < first < math.inf else 1.0


def _positive(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric matrix, with what rounding has made of its smallest eigenvalues put right."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    found = (vectors * np.maximum(values, _LEAST * values.max())) @ vectors.T
    return np.asarray((found + found.T) / 2)  # equal to the last bit, as the minimiser wants it
