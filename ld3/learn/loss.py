"""How far a student lands from its teacher, and the ball in which its start may move."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ld3.flow import ProbabilityFlow
from ld3.grids.grid import Grid
from ld3.solvers.integrate import integrate
from ld3.solvers.sde import recorded
from ld3.solvers.solver import Solver
from ld3.state import State, Tangent


def bounded(distance: Tensor, scale: float | None) -> Tensor:
    """d/(d + s²) of squared distances d, or d itself without a scale (Geman & McClure 1985).

    On a multimodal target a small change of the grid sends some samples to another mode, far away and without any
    gradient worth following; bounded, such a sample counts as one miss and the others decide.
    """
    return distance if scale is None else distance / (distance + scale**2)


def soft_loss(
    flow: ProbabilityFlow[State],
    start: State,
    shift: Tangent | None,
    target: State,
    grid: Grid,
    solver: Solver,
    *,
    scale: float | None = None,
    checkpoint: bool = False,
    noise: Tangent | None = None,
) -> Tensor:
    """LD3's surrogate loss (arXiv 2405.15506, section 4.2), shape (B,).

    The student starts at start ⊕ shift, where `shift` is kept in a ball (:func:`project_to_ball`), and is compared
    with what the teacher reached from `start` itself: a grid of few numbers cannot hit every end point, and need only
    hit one that a nearby start leads to. No shift is the plain loss. A stochastic student adds the same `noise`, factor
    -> (B, N - 1, ...), every time, which makes it as differentiable as any other.
    """
    x = start if shift is None else flow.retract(start, shift)
    fixed = None if noise is None else recorded(noise)
    end = integrate(flow, x, grid, solver, checkpoint=checkpoint, noise=fixed)
    return bounded(flow.distance(end, target), scale)


def project_to_ball(flow: ProbabilityFlow[State], shift: Tangent, radius: Mapping[str, float]) -> dict[str, Tensor]:
    """Each factor's shift, shortened where it is longer than radius[factor] standard deviations of the prior."""
    out = {}
    for factor, length in flow.norm(shift).items():
        limit = radius[factor] * flow.prior_scale[factor]
        factor_scale = torch.where(length > limit, limit / length, 1.0)
        out[factor] = shift[factor] * factor_scale.reshape(-1, *(1,) * (shift[factor].ndim - 1))
    return out
