"""Levels at which the network's errors add up to the least (Xue et al., arXiv 2402.17376: "DMN").

The bound (:mod:`ld3.grids.dmn_bound`) has kinks where a sum changes its sign, and hardly depends on the early levels of
a flow with a large score scale. It is minimised with roots √(|·|² + μ²) in place of absolute values, and with -μ Σ log
of the steps' room above the shortest that is allowed, while μ falls. The logarithms also decide where the bound does
not: for steps of equal length.
"""

from __future__ import annotations

import math
from typing import Final, final

import numpy as np
import torch

from ld3.clock import Clock
from ld3.grids.dmn_bound import ORDER, Array, Numbers, error_bound, groups, mixing, step_errors, steps_of
from ld3.grids.grid import Grid
from ld3.grids.newton import follow_minimum

NARROWEST = 0.1
"""No step is shorter than this share of the mean one: the bound knows nothing of discretisation, and with many steps
would put nodes on top of each other."""

MOST: Final = 128
"""Steps. The minimisation takes Hessians of that size, seconds at 256, or minutes where many threads share the sums."""

_LAST = 1e-7  # μ, as a share of the bound of equal steps
_TINY, _NUDGE = 1e-30, 1e-8  # of the derivatives, imaginary and real, in mean steps


def dmn(clock: Clock, n: int, power: float = 1.0) -> Grid:
    """`n` steps at which the errors σ^power/α of clean predictions add up to the least.

    The published powers are 1 for pixels and 2 for latents. At 1 nothing depends on the scale of the data.

    Raises:
        ValueError: if there is no step, or more than `MOST`.
    """
    if n > MOST:
        raise ValueError(f"n must be at most {MOST} steps for dmn, got {n}; take another grid")
    c = clock.score_scale  # the solver's weights are those of steps in cλ
    found = {(a, b): least_error_levels(c * a, c * b, n, c, power) / c for a, b in {*clock.bounds.values()}}
    levels = {factor: torch.from_numpy(found[bounds]) for factor, bounds in clock.bounds.items()}
    return Grid.coupled(levels, "dmn" if power == 1.0 else f"dmn(power={power:g})", c, clock.clean_end)


def least_error_levels(start: float, end: float, n: int, score_scale: float = 1.0, power: float = 1.0) -> Array:
    """cλ at the n + 1 nodes from `start` to `end` with the least `error_bound`.

    The authors' code lets the errors of the first steps cancel when there are more than seven; the bound is then least
    where the first step vanishes, which their solver does not reach. Keeping the first three apart at every n leaves
    one minimum, the same from every start that we tried.

    Raises:
        ValueError: if there is no step, or `start` is not below `end`.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1 step, got {n}")
    if not start < end:
        raise ValueError(f"start must be below end, got {start} and {end}")
    uniform = np.linspace(start, end, n + 1)
    if n == 1:
        return uniform
    bound = SmoothBound(uniform, score_scale, power)
    inner = follow_minimum(bound.value, bound.derivatives, np.arange(1.0, n), _LAST)
    return np.concatenate([[start], start + (end - start) / n * inner, [end]])


@final
class SmoothBound:
    """The bound without its kinks, as a share of that of equal steps, with a barrier before steps too short.

    A function of the levels between the ends, counted in mean steps from the start (n - 1,).

    Args:
        uniform: levels of equal steps (n + 1,).
        score_scale: of the flow.
        power: of the assumed error.
    """

    def __init__(self, uniform: Array, score_scale: float, power: float) -> None:
        self._start, self._end, self._n = uniform[0], uniform[-1], len(uniform) - 1
        self._score_scale, self._power = score_scale, power
        self._mean = (self._end - self._start) / self._n
        self._scale = error_bound(uniform, score_scale, power)
        self._mixing, self._groups = mixing(self._n), groups(self._n)
        self._gaps = np.diff(np.eye(self._n + 1), axis=0)[:, 1:-1]
        self._columns = np.arange(self._n)[:, None] + np.arange(ORDER + 1)  # levels of a step among those of all
        # Every level of a step moved along the imaginary axis, with none and with each moved along the real one.
        real = _NUDGE * np.concatenate([np.zeros((1, ORDER + 1)), np.eye(ORDER + 1)])
        self._moves = self._mean * (real[:, None, None, :] + 1j * _TINY * np.eye(ORDER + 1)[:, None, :])

    def value(self, x: Array, weight: float) -> float:
        """The bound and the barrier; infinite where a step is too short."""
        room = self._room(x)
        if room.min() <= 0:
            return math.inf
        part = self._mixing @ self._errors(self._steps(x)).ravel()
        return float(self._root(part, weight).sum() - weight * np.log(room).sum())

    def derivatives(self, x: Array, weight: float) -> tuple[Array, Array]:
        """Gradient (n - 1,) and Hessian (n - 1, n - 1)."""
        error, slope, curvature = self._local(x)
        part, part_slope = self._mixing @ error, self._mixing @ slope
        root = self._root(part, weight)
        each = self._groups.T @ root  # its root, for every part
        pull = part / each  # ∂root/∂part
        along = self._groups @ (pull[:, None] * part_slope)
        hessian = np.einsum("pi,pj->ij", part_slope, part_slope / each[:, None])
        hessian -= np.einsum("gi,gj->ij", along, along / root[:, None])
        bent = np.einsum("ijsb,sb->sij", curvature, (self._mixing.T @ pull).reshape(self._n, ORDER))
        np.add.at(hessian, (self._columns[:, :, None], self._columns[:, None, :]), bent)
        inner, room = slice(ORDER, -1), self._room(x)
        barrier_hessian = self._gaps.T @ (self._gaps / room[:, None] ** 2)
        return (
            (pull @ part_slope)[inner] - weight / room @ self._gaps,
            hessian[inner, inner] + weight * barrier_hessian,
        )

    def _room(self, x: Array) -> Array:
        return np.diff(x, prepend=0.0, append=self._n) - NARROWEST

    def _steps(self, x: Array) -> Array:
        return steps_of(np.concatenate([[self._start], self._start + self._mean * x, [self._end]]))

    def _errors(self, steps: Numbers) -> Numbers:
        return step_errors(steps, self._end, self._score_scale, self._power) / self._scale

    def _root(self, part: Array, weight: float) -> Array:
        return np.sqrt(self._groups @ part**2 + weight**2)

    def _local(self, x: Array) -> tuple[Array, Array, Array]:
        """The step errors (n ORDER,), their derivatives by all levels (n ORDER, ORDER + n), made-up ones first, and the
        second ones by the levels of their step (ORDER + 1, ORDER + 1, n, ORDER).

        First ones as Im f(λ + iτ)/τ, which cancels no digits (Squire & Trapp 1998), second ones as their difference.
        """
        moved = self._errors(self._steps(x) + self._moves)
        slope = moved.imag / _TINY
        by_level = np.zeros((self._n, ORDER, ORDER + self._n))
        step, error = np.indices((self._n, ORDER))
        by_level[step[..., None], error[..., None], self._columns[:, None, :]] = np.moveaxis(slope[0], 0, -1)
        curvature = (slope[1:] - slope[0]) / _NUDGE
        return moved[0, 0].real.ravel(), by_level.reshape(-1, ORDER + self._n), curvature
