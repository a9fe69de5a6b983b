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
    energy: Callable[[Tensor], Tensor], start: Tensor, steps: int, largest: Tensor, tolerance: float = 1e-3
) -> Tensor:
    """Where `energy` (B, n) -> (B,) is low, (B, n), from `start`; never higher than there.

    Args:
        energy: of each problem by itself, differentiable.
        start: (B, n).
        steps: at most.
        largest: (n,) the most that a coordinate moves in one step.
        tolerance: a problem has ended when a step lowers its energy by less.
    """
    x = start.detach()
    value, gradient = _evaluated(energy, x)
    inverse = torch.eye(x.shape[1], dtype=x.dtype).expand(len(x), -1, -1).clone()
    active = torch.ones(len(x), dtype=torch.bool)
    for _ in range(steps):
        direction = -(inverse @ gradient.unsqueeze(-1)).squeeze(-1)
        slope = (direction * gradient).sum(1)
        uphill = slope >= 0
        direction = torch.where(uphill[:, None], -gradient, direction)
        slope = torch.where(uphill, -gradient.square().sum(1), slope)
        excess = (direction.abs() / largest).amax(1).clamp(min=1.0)
        length = 1 / excess
        new_x, new_value, new_gradient = x, value, gradient
        waiting = active.clone()
        for _ in range(_HALVINGS):
            trial = torch.where(waiting[:, None], x + length[:, None] * direction, new_x)
            trial_value, trial_gradient = _evaluated(energy, trial)
            good = waiting & (trial_value <= value + _SUFFICIENT * length * slope)
            new_x = torch.where(good[:, None], trial, new_x)
            new_value = torch.where(good, trial_value, new_value)
            new_gradient = torch.where(good[:, None], trial_gradient, new_gradient)
            waiting = waiting & ~good
            if not waiting.any():
                break
            length = torch.where(waiting, 0.4 * length, length)
        active = active & ~waiting & (value - new_value > tolerance)
        inverse = _updated(inverse, new_x - x, new_gradient - gradient)
        x, value, gradient = new_x, new_value, new_gradient
        if not active.any():
            break
    return x


def _updated(inverse: Tensor, s: Tensor, y: Tensor) -> Tensor:
    """The BFGS update of the inverse Hessians (B, n, n), where the curvature s·y is positive."""
    curvature = (s * y).sum(1)
    rho = torch.where(curvature > 1e-10, 1 / curvature.clamp(min=1e-10), torch.zeros_like(curvature))[:, None, None]
    left = torch.eye(s.shape[1], dtype=s.dtype) - rho * s.unsqueeze(2) * y.unsqueeze(1)
    return left @ inverse @ left.transpose(1, 2) + rho * s.unsqueeze(2) * s.unsqueeze(1)


def _evaluated(energy: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        value = energy(x)
        (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient
