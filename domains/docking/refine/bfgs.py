"""Minimises many small functions side by side with BFGS (Nocedal & Wright 2006, algorithm 6.1).

Each problem has a Hessian of its own and its own step length; scipy would take them one after the other, and an
evaluation costs as much for one pose as for ten.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

_SUFFICIENT: Final = 1e-4
_HALVINGS: Final = 8


def minimise(
    energy: Callable[[Tensor, Tensor], Tensor], start: Tensor, steps: int, largest: Tensor, tolerance: float = 1e-3
) -> Tensor:
    """Where `energy` is low, (B, n), from `start`; never higher than there.

    Args:
        energy: (b, n) points and (b,) the problems that they are of -> (b,), each by itself, differentiable. Problems
            that have ended are not asked for any more.
        start: (B, n).
        steps: at most.
        largest: (n,) the most that a coordinate moves in one step.
        tolerance: a problem has ended when a step lowers its energy by less.
    """
    found = start.detach().clone()
    left = torch.arange(len(found))
    x = found
    value, gradient = _evaluated(energy, x, left)
    inverse = torch.eye(x.shape[1], dtype=x.dtype).expand(len(x), -1, -1)
    for _ in range(steps):
        new_x, new_value, new_gradient = _lower(energy, left, x, value, gradient, inverse, largest)
        found[left] = new_x
        going = value - new_value > tolerance
        if not going.any():
            break
        inverse = _updated(inverse[going], (new_x - x)[going], (new_gradient - gradient)[going])
        left, x, value, gradient = left[going], new_x[going], new_value[going], new_gradient[going]
    return found


def _lower(
    energy: Callable[[Tensor, Tensor], Tensor],
    problems: Tensor,
    x: Tensor,
    value: Tensor,
    gradient: Tensor,
    inverse: Tensor,
    largest: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Point, energy and gradient after one step of each problem, by backtracking; as they were where none is lower."""
    direction = -(inverse @ gradient.unsqueeze(-1)).squeeze(-1)
    slope = (direction * gradient).sum(1)
    uphill = slope >= 0
    direction = torch.where(uphill[:, None], -gradient, direction)
    slope = torch.where(uphill, -gradient.square().sum(1), slope)
    length = 1 / (direction.abs() / largest).amax(1).clamp(min=1.0)
    new_x, new_value, new_gradient = x.clone(), value.clone(), gradient.clone()
    waiting = torch.arange(len(x))
    for _ in range(_HALVINGS):
        trial = x[waiting] + length[waiting, None] * direction[waiting]
        trial_value, trial_gradient = _evaluated(energy, trial, problems[waiting])
        good = trial_value <= value[waiting] + _SUFFICIENT * length[waiting] * slope[waiting]
        ended = waiting[good]
        new_x[ended], new_value[ended], new_gradient[ended] = trial[good], trial_value[good], trial_gradient[good]
        waiting = waiting[~good]
        if not len(waiting):
            break
        length[waiting] *= 0.4
    return new_x, new_value, new_gradient


def _updated(inverse: Tensor, s: Tensor, y: Tensor) -> Tensor:
    """The BFGS update of the inverse Hessians (B, n, n), where the curvature s·y is positive."""
    curvature = (s * y).sum(1)
    rho = torch.where(curvature > 1e-10, 1 / curvature.clamp(min=1e-10), torch.zeros_like(curvature))[:, None, None]
    left = torch.eye(s.shape[1], dtype=s.dtype) - rho * s.unsqueeze(2) * y.unsqueeze(1)
    return left @ inverse @ left.transpose(1, 2) + rho * s.unsqueeze(2) * s.unsqueeze(1)


def _evaluated(energy: Callable[[Tensor, Tensor], Tensor], x: Tensor, problems: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        value = energy(x, problems)
        (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient
