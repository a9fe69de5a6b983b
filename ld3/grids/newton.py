"""Newton's method on a function that becomes the wanted one while a weight falls: kinks and walls come in gradually.

With much weight the function is smooth and has one minimum; each minimum is the start for the next, lower weight
(Nocedal & Wright, Numerical Optimization, chapter 19: barrier methods).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

Array = NDArray[np.float64]

_FALL = 0.3  # of the weight, from minimum to minimum
_NEAR, _ARRIVED = 1e-2, 1e-9  # lengths of the steps that end a search, on the way and at the last weight
_MAX_STEPS, _MAX_HALVINGS = 100, 40
_SUFFICIENT = 1e-4  # part of the decrease that the slope promises
_ROUNDING = 1e-14
_FLATTEST = 1e-3  # least of what is added to curvatures, in weights
_MORE = 4.0


class Objective(ABC):
    """A function of x (k,) with a weight in it."""

    @abstractmethod
    def value(self, x: Array, weight: float) -> float:
        """The function; infinite where it has no value."""

    @abstractmethod
    def derivatives(self, x: Array, weight: float) -> tuple[Array, Array]:
        """Gradient (k,) and Hessian (k, k), where the function has a value."""


def follow_minimum(objective: Objective, start: Array, last: float) -> Array:
    """The minimum at weight `last`, followed from the one at weight 1 that lies below `start`."""
    x, weight = start, 1.0
    while weight > last:
        x = _descend(objective, x, weight, _NEAR)
        weight *= _FALL
    return _descend(objective, x, last, _ARRIVED)


def _descend(objective: Objective, x: Array, weight: float, tolerance: float) -> Array:
    for _ in range(_MAX_STEPS):
        gradient, hessian = objective.derivatives(x, weight)
        step = _downhill(gradient, hessian, _FLATTEST * weight)
        share = _share(objective, x, step, float(gradient @ step), weight)
        x = x + share * step
        if share == 0 or np.abs(step).max() < tolerance:
            break
    return x


def _downhill(gradient: Array, hessian: Array, flattest: float) -> Array:
    """Newton's step, with as much added to all curvatures as makes them positive (ibid., algorithm 3.3)."""
    added = 0.0
    while True:
        try:
            return -cho_solve(cho_factor(hessian + added * np.eye(len(gradient))), gradient)
        except LinAlgError:
            added = max(_MORE * added, flattest)


def _share(objective: Objective, x: Array, step: Array, slope: float, weight: float) -> float:
    """The first of 1, 1/2, ... of the step that leads down enough; 0 if none does before rounding."""
    here = objective.value(x, weight)
    for share in 0.5 ** np.arange(_MAX_HALVINGS):
        limit = here + _SUFFICIENT * share * slope + _ROUNDING * abs(here)
        if objective.value(x + share * step, weight) <= limit:
            return float(share)
    return 0.0
