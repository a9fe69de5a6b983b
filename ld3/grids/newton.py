"""Newton's method on a function whose kinks and walls come in slowly, while a weight falls.

With much weight the function is smooth and has one minimum; each minimum is the start for the next, lower weight
(Nocedal & Wright, Numerical Optimization, chapter 19: barrier methods).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

Array = NDArray[np.float64]
Value = Callable[[Array, float], float]
"""(x (k,), weight) -> the function; infinite where it has no value."""
Derivatives = Callable[[Array, float], tuple[Array, Array]]
"""(x (k,), weight) -> gradient (k,) and Hessian (k, k), where the function has a value."""

_FALL = 0.3  # of the weight, from minimum to minimum
_NEAR, _ARRIVED = 1e-2, 1e-9  # lengths of the steps that end a search, on the way and at the last weight
_MAX_STEPS, _MAX_HALVINGS = 100, 40
_SUFFICIENT = 1e-4  # part of the decrease that the slope promises
_ROUNDING = 1e-14
_FLATTEST, _MORE = 1e-3, 4.0  # what is added to curvatures: first, in weights, and by what factor it grows


def follow_minimum(value: Value, derivatives: Derivatives, start: Array, last: float) -> Array:
    """The minimum at weight `last`, followed from the one at weight 1 that lies below `start`."""
    x, weight = start, 1.0
    while True:
        for _ in range(_MAX_STEPS):
            gradient, hessian = derivatives(x, weight)
            step = _downhill(gradient, hessian, _FLATTEST * weight)
            here, slope = value(x, weight), float(gradient @ step)
            shares = 0.5 ** np.arange(_MAX_HALVINGS)
            limits = here + _SUFFICIENT * shares * slope + _ROUNDING * abs(here)
            share = next((s for s, top in zip(shares, limits, strict=True) if value(x + s * step, weight) <= top), 0.0)
            x = x + share * step
            if share == 0 or np.abs(step).max() < (_ARRIVED if weight == last else _NEAR):
                break
        if weight == last:
            return x
        weight = max(_FALL * weight, last)


def _downhill(gradient: Array, hessian: Array, flattest: float) -> Array:
    """Newton's step, with as much added to all curvatures as makes them positive (ibid., algorithm 3.3)."""
    added = 0.0
    while True:
        try:
            return -cho_solve(cho_factor(hessian + added * np.eye(len(gradient))), gradient)
        except LinAlgError:
            added = max(_MORE * added, flattest)
