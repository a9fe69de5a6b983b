"""Learn a grid: LD3's training (arXiv 2405.15506) with exact gradients, on any flow.

Two phases, each from the best grid so far: first the solver's times, then the times and the levels that the network is told.
Adam on the mean loss over teacher pairs; the learning rate falls when validation stops improving, and the grid that wins on
the validation pairs is kept. The student's starts may move in a ball: a pair's shift follows the gradient that the grid's own
step computes anyway, and is taken back at the pair's next turn if its loss has not become smaller, so the ball costs no
evaluation of its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal

import torch
from torch import Tensor

from ld3.fingerprint import fingerprint
from ld3.flow import ProbabilityFlow
from ld3.grid import HAND_MADE, Grid
from ld3.learn.learned_grid import LearnedGrid
from ld3.learn.loss import project_to_ball, soft_loss
from ld3.learn.result import FitResult, Point
from ld3.learn.teacher import Pairs
from ld3.solvers.integrate import Solver
from ld3.state import State, take, tensors


@dataclass(frozen=True)
class FitConfig:
    """Settings of a fit.

    Attributes:
        start: a hand-made grid to start from, or "best": the one with the lowest validation loss.
        shared_clock: one clock for all factors, or one per factor.
        network_times: learn the levels that the network is told, too.
        steps: gradient steps per phase, at most.
        batch: pairs per gradient step; 0 = all.
        chunk: pairs whose activations are held at once.
        learning_rate: Adam's, on log-gaps and offsets.
        clip: gradients longer than this are shortened to it.
        validate_every: gradient steps between validations.
        patience: validations without improvement before the learning rate falls.
        decay: by what factor it falls.
        min_learning_rate: below this the phase ends.
        radius: of the ball, in standard deviations of the prior: one number, or one per factor; 0 = plain loss.
        shift_rate: length of a shift's first step, as a share of the radius.
        scale: of the bounded distance, in the units of the flow's distance before squaring; None = unbounded.
        checkpoint: recompute activations in the backward pass instead of keeping them.
        seconds: stop after this much wall time.
        seed: of the batches.
    """

    start: str = "best"
    shared_clock: bool = True
    network_times: bool = True
    steps: int = 200
    batch: int = 0
    chunk: int = 64
    learning_rate: float = 0.05
    clip: float = 1.0
    validate_every: int = 5
    patience: int = 3
    decay: float = 0.5
    min_learning_rate: float = 0.005
    radius: float | Mapping[str, float] = 0.0
    shift_rate: float = 0.3
    scale: float | None = None
    checkpoint: bool = False
    seconds: float = float("inf")
    seed: int = 0


Progress = Callable[[Point], None]


def fit(
    flow: ProbabilityFlow[State],
    train: Pairs[State],
    valid: Pairs[State],
    solver: Solver,
    nfe: int,
    config: FitConfig,
    *,
    folder: Path | None = None,
    on_progress: Progress | None = None,
) -> FitResult:
    """Learn a grid of `nfe` evaluations for `solver`.

    Args:
        flow: whose starts and ends the pairs are.
        train: pairs that the gradients come from.
        valid: pairs that decide which grid is kept; never differentiated, their starts never moved.
        folder: where the fit is saved on the way; an interrupted one found here goes on.
        on_progress: called after every validation.

    Raises:
        ValueError: if the solver cannot spend `nfe`, or `config.start` names no grid.
    """
    run = _Fit(flow, train, valid, solver, nfe, config, folder, on_progress)
    run.restore()
    if not run.hand:
        run.try_hand_made()
    phases = ("times", "network") if config.network_times else ("times",)
    for phase in phases[len(run.finished) :]:
        run.learn(phase)
    return run.result()


class _Fit(Generic[State]):
    """One fit: what is fixed, and the state that a checkpoint holds."""

    def __init__(
        self,
        flow: ProbabilityFlow[State],
        train: Pairs[State],
        valid: Pairs[State],
        solver: Solver,
        nfe: int,
        config: FitConfig,
        folder: Path | None,
        on_progress: Progress | None,
    ) -> None:
        self.flow, self.train, self.valid = flow, train, valid
        self.solver, self.nfe, self.config, self.on_progress = solver, nfe, config, on_progress
        n = solver.steps(nfe)
        self.grids = {name: make(flow.clock, n) for name, make in HAND_MADE.items()}
        if config.start not in ("best", *self.grids):
            raise ValueError(f"config.start must be 'best' or one of {', '.join(self.grids)}, got {config.start!r}")
        self.generator = torch.Generator().manual_seed(config.seed)
        self.ball = Ball(flow, train.start, config.radius, config.shift_rate)
        self.path: Path | None = None
        if folder is not None:
            key = fingerprint(flow.fingerprint(), tensors(train.end), tensors(valid.end), solver.name, nfe, config)
            self.path = folder / f"fit-{key}.pt"
        self.hand: dict[str, float] = {}
        self.finished: list[str] = []
        self.curve: list[Point] = []
        self.best: dict[str, Tensor] = {}
        self.best_loss = math.inf
        self.step = self.evaluations = self.gradients = 0
        self.earlier, self.started = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        return self.earlier + time.monotonic() - self.started

    def try_hand_made(self) -> None:
        """Validate every hand-made grid; equal ones (as on a clock geometric in t) once."""
        for name, grid in self.grids.items():
            twin = next((n for n in self.hand if _same(self.grids[n], grid)), None)
            self.hand[name] = self.hand[twin] if twin else self.validate(grid)
        self.grid = LearnedGrid(self.grids[self.start], self.config.shared_clock)
        self.best, self.best_loss = copy_of(self.grid), self.hand[self.start]
        self.record("hand", None, self.best_loss)

    @property
    def start(self) -> str:
        return min(self.hand, key=self.hand.__getitem__) if self.config.start == "best" else self.config.start

    @torch.no_grad()
    def validate(self, grid: Grid) -> float:
        """Plain loss on the validation pairs."""
        losses = []
        for index in torch.arange(len(self.valid)).split(self.config.chunk):
            start, end = take(self.valid.start, index), take(self.valid.end, index)
            losses.append(soft_loss(self.flow, start, None, end, grid, self.solver, scale=self.config.scale))
        self.evaluations += self.nfe * len(self.valid)
        return float(torch.cat(losses).mean())

    def learn(self, phase: str) -> None:
        """One phase, from the best grid so far to its own end."""
        config = self.config
        self.grid.load_state_dict(self.best)
        parameters = list(self.grid.gaps.values()) + (list(self.grid.offsets.values()) if phase == "network" else [])
        optimiser = torch.optim.Adam(parameters, lr=config.learning_rate, betas=(0.9, 0.99))
        worse, rate, first = 0, config.learning_rate, self.step
        while self.step < first + config.steps and rate >= config.min_learning_rate and self.seconds < config.seconds:
            train = self.gradient_step(parameters, optimiser)
            if (self.step - first) % config.validate_every:
                continue
            valid = self.validate(self.grid())
            if valid < self.best_loss:
                self.best, self.best_loss, worse = copy_of(self.grid), valid, 0
            else:
                worse += 1
            if worse >= config.patience:
                # Momentum that led away from the best grid must not lead away from it again.
                self.grid.load_state_dict(self.best)
                rate, worse = rate * config.decay, 0
                optimiser = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.99))
            self.record(phase, train, valid)
        self.finished.append(phase)
        self.save()

    def gradient_step(self, parameters: list[nn.Parameter], optimiser: torch.optim.Optimizer) -> float:
        """One step on a batch of training pairs, chunk by chunk; returns its mean loss."""
        config = self.config
        n = len(self.train)
        rows = torch.randperm(n, generator=self.generator)[: config.batch or n]
        optimiser.zero_grad(set_to_none=True)
        losses = []
        for index in rows.split(config.chunk):
            shift = self.ball.shift(index)
            loss = soft_loss(
                self.flow,
                take(self.train.start, index),
                shift,
                take(self.train.end, index),
                self.grid(),
                self.solver,
                scale=config.scale,
                checkpoint=config.checkpoint,
            )
            (loss.sum() / len(rows)).backward()
            self.ball.update(index, shift, loss.detach())
            losses.append(loss.detach())
        torch.nn.utils.clip_grad_norm_(parameters, config.clip)
        optimiser.step()
        self.step += 1
        self.evaluations += self.nfe * len(rows)
        self.gradients += self.nfe * len(rows)
        return float(torch.cat(losses).mean())

    def record(self, phase: str, train: float | None, valid: float) -> None:
        self.curve.append(Point(phase, self.step, train, valid, self.evaluations, self.seconds))
        self.save()
        if self.on_progress is not None:
            self.on_progress(self.curve[-1])
