"""The loss of a student over teacher pairs, its gradient, and what both have cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, jvp, vmap

from ld3.flow import ProbabilityFlow
from ld3.grids.grid import Grid
from ld3.learn.ball import Ball
from ld3.learn.config import FitConfig
from ld3.learn.loss import soft_loss
from ld3.learn.teacher import Pairs
from ld3.learn.variables import Variables
from ld3.solvers.integrate import integrate
from ld3.solvers.sde import recorded
from ld3.solvers.solver import Solver
from ld3.state import State

_DIRECTIONS = 16  # of forward derivatives, side by side


@dataclass
class Cost:
    """Network evaluations per sample, those of them that were differentiated, those in Jacobians times the directions
    of these, and samples that broke in training."""

    evaluations: int = 0
    gradients: int = 0
    directions: int = 0
    failed: int = 0


class Learner(Protocol):
    """A grid and the solver on it, both with parameters."""

    def __call__(self) -> tuple[Grid, Solver]: ...

    def zero_grad(self) -> None: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...


@final
class Objective(Generic[State]):
    """Losses over pairs.

    Args:
        flow: whose starts and ends the pairs are.
        train: pairs that are differentiated, from starts that move in the ball.
        valid: pairs that are only evaluated.
        nfe: evaluations that the student spends on a sample.
        config: for the ball, the bounded distance, and what is held in memory.
    """

    def __init__(
        self, flow: ProbabilityFlow[State], train: Pairs[State], valid: Pairs[State], nfe: int, config: FitConfig
    ) -> None:
        self.flow, self.train, self.valid, self.nfe, self.config = flow, train, valid, nfe, config
        self.ball = Ball(flow, train.start, config.radius, config.shift_rate)
        self.cost = Cost()

    def validate(self, grid: Grid, solver: Solver) -> float:
        """Mean plain loss on the validation pairs."""
        return float(self.losses(self.valid, grid, solver).mean())

    @torch.no_grad()
    def losses(self, pairs: Pairs[State], grid: Grid, solver: Solver) -> Tensor:
        """Plain loss of each of n pairs, (n,); infinite where a sample broke, or 1 where the distance is bounded."""
        found = []
        for rows in torch.arange(len(pairs)).split(self.config.chunk):
            part = pairs.take(rows)
            scale, noise = self.config.scale, part.noise
            found.append(soft_loss(self.flow, part.start, None, part.end, grid, solver, scale=scale, noise=noise))
        self.cost.evaluations += self.nfe * len(pairs)
        loss = torch.cat(found)
        miss = math.inf if self.config.scale is None else 1.0  # the bounded distance of a sample at infinity
        return torch.where(loss.isfinite(), loss, miss)

    def differentiate(self, student: Learner, rows: Tensor) -> Tensor:
        """The gradient of the mean loss of these training pairs, left in the student's parameters; their losses.

        A sample that the student throws out of the numbers, it or its gradient, would through the shared grid spoil
        everybody's: it has no loss either, is counted, and the others are run again.
        """
        student.zero_grad()
        return torch.cat([self._add_gradient(student, part, len(rows)) for part in rows.split(self.config.chunk)])

    @torch.no_grad()
    def curvature(self, student: nn.Module, rows: Tensor, variables: Variables) -> NDArray[np.float64]:
        """JᵀJ/n over n training pairs, (P, P): half of what Gauss and Newton take for the second derivative of their
        mean loss, J being the Jacobian of the flow's residual in the variables. Samples that break are left out.
        """
        total = torch.zeros(len(variables), len(variables), dtype=torch.float64)
        for part in rows.split(max(1, self.config.chunk // _DIRECTIONS)):
            jacobian = self._jacobian(student, self.train.take(part), variables)
            total += jacobian @ jacobian.T
        self.cost.evaluations += self.nfe * len(rows)
        self.cost.gradients += self.nfe * len(rows)
        self.cost.directions += self.nfe * len(rows) * len(variables)
        return np.asarray(total / len(rows))

    def _jacobian(self, student: nn.Module, pairs: Pairs[State], variables: Variables) -> Tensor:
        """(P, entries of all residuals), float64, by forward derivatives, some directions side by side."""
        names = {id(parameter): name for name, parameter in student.named_parameters()}
        keys = [names[id(parameter)] for parameter in variables.parameters]
        start = torch.from_numpy(variables.point())
        noise = None if pairs.noise is None else recorded(pairs.noise)

        def residual(point: Tensor) -> Tensor:
            grid, solver = functional_call(student, dict(zip(keys, variables.parts(point), strict=True)), ())
            return self.flow.residual(integrate(self.flow, pairs.start, grid, solver, noise=noise), pairs.end)

        def along(direction: Tensor) -> tuple[Tensor, Tensor]:
            found = jvp(residual, (start,), (direction,))
            return found[0], found[1]

        directions = torch.eye(len(variables), dtype=torch.float64)
        values, found = (part.double().cpu() for part in vmap(along, chunk_size=_DIRECTIONS)(directions))
        slope = _slope(values[0].square().sum(1), self.config.scale)
        weighted = found * slope.sqrt()[:, None]
        sound = weighted.isfinite().flatten(2).all(2).all(0)
        return weighted[:, sound].flatten(1)

    def check_curvature(self, student: nn.Module, variables: Variables) -> None:
        """Take a Jacobian of one pair.

        Raises:
            ValueError: if the flow has no residual or one that is not its distance's, or its network has no forward
                derivatives.
        """
        pair = self.train.take(slice(0, 1))
        distance = float(self.flow.distance(pair.start, pair.end))
        squares = float(self.flow.residual(pair.start, pair.end).square().sum())
        if not math.isclose(distance, squares, rel_tol=1e-3):
            raise ValueError(
                f"the flow's residual must square to its distance for optimiser 'gauss-newton', got {squares:.6g} for "
                f"{distance:.6g}; use 'bfgs'"
            )
        try:
            self.curvature(student, torch.zeros(1, dtype=torch.long), variables)
        except (RuntimeError, NotImplementedError) as error:
            cause = str(error).partition("\n")[0]
            raise ValueError(
                f"optimiser 'gauss-newton' takes forward derivatives, side by side, which this flow does not give: "
                f"{cause}; use 'bfgs'"
            ) from error

    def _add_gradient(self, student: Learner, rows: Tensor, n: int) -> Tensor:
        """Add the gradient of these pairs' share of the mean over `n`."""
        shift = self.ball.shift(rows)
        part, config = self.train.take(rows), self.config
        loss = soft_loss(
            self.flow,
            part.start,
            shift,
            part.end,
            *student(),
            scale=config.scale,
            checkpoint=config.checkpoint,
            noise=part.noise,
        )
        self.cost.evaluations += self.nfe * len(rows)
        finite = loss.detach().isfinite().to(rows.device)
        if not finite.all():
            self.cost.failed += int((~finite).sum())
            self.ball.reject(rows[~finite])
            return self._add_gradient(student, rows[finite], n) if finite.any() else loss.detach()[:0]
        self.cost.gradients += self.nfe * len(rows)
        moving = [p for p in student.parameters() if p.requires_grad]
        before = [None if p.grad is None else p.grad.clone() for p in moving]
        (loss.sum() / n).backward()
        if all(p.grad is None or bool(p.grad.isfinite().all()) for p in moving):
            self.ball.update(rows, shift, loss.detach())
            return loss.detach()
        for parameter, gradient in zip(moving, before, strict=True):
            parameter.grad = gradient
        if len(rows) == 1:
            self.cost.failed += 1
            self.ball.reject(rows)
            return loss.detach()[:0]
        halves = rows.split((len(rows) + 1) // 2)
        return torch.cat([self._add_gradient(student, half, n) for half in halves])


def _slope(distance: Tensor, scale: float | None) -> Tensor:
    """Derivative of the bounded distance in the distance."""
    return torch.ones_like(distance) if scale is None else scale**2 / (distance + scale**2).square()


def mean_of_all(losses: Tensor, n: int) -> float:
    """Mean over `n` samples of which only those that did not break have a loss; the others count as the worst of these.

    For a search along a line, to which a sample must not get better by breaking. Infinite if all have broken.
    """
    if len(losses) == 0:
        return math.inf
    return float((losses.sum() + (n - len(losses)) * losses.max()) / n)
