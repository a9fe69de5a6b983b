"""The loss of a student over teacher pairs, its gradient, and what both have cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, final

import torch
from torch import Tensor, nn

from ld3.flow import ProbabilityFlow
from ld3.grids.grid import Grid
from ld3.learn.ball import Ball
from ld3.learn.config import FitConfig
from ld3.learn.loss import soft_loss
from ld3.learn.teacher import Pairs
from ld3.solvers.solver import Solver
from ld3.state import State


@dataclass
class Cost:
    """Network evaluations per sample, those of them that were differentiated, and samples that broke in training."""

    evaluations: int = 0
    gradients: int = 0
    failed: int = 0


class Learner(Protocol):
    """A grid and the solver on it, both with parameters."""

    def __call__(self) -> tuple[Grid, Solver]: ...

    def zero_grad(self) -> None: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


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


def mean_of_all(losses: Tensor, n: int) -> float:
    """Mean over `n` samples of which only those that did not break have a loss; the others count as the worst of these.

    For a search along a line, to which a sample must not get better by breaking. Infinite if all have broken.
    """
    if len(losses) == 0:
        return math.inf
    return float((losses.sum() + (n - len(losses)) * losses.max()) / n)
