"""Learn a grid: LD3's training (arXiv 2405.15506) with exact gradients, on any flow.

Phases, each from the best student so far: by default first the solver's times alone, then these and the levels that
the network is told; the solver's coefficients can be learned as well (:mod:`ld3.learn.student`). Adam on the mean loss
over teacher pairs; the learning rate falls when validation stops improving (or, where the loss is too noisy to tell,
linearly), and the student that wins on the validation pairs is kept. The student's starts may move in a ball
(:mod:`ld3.learn.ball`), at no evaluation of its own.
"""

from __future__ import annotations

import copy
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic

import torch
from torch import Tensor

from ld3.fingerprint import fingerprint
from ld3.flow import ProbabilityFlow
from ld3.grid import HAND_MADE, Grid
from ld3.learn.ball import Ball
from ld3.learn.loss import soft_loss
from ld3.learn.result import FitResult, Point
from ld3.learn.student import Phase, Student
from ld3.learn.teacher import Pairs
from ld3.path_points import trace
from ld3.solvers.integrate import Solver
from ld3.state import State, take, tensors

_SAME_END = 1e-6  # of λ
_FORMAT = 2  # of the saved fit; raise it when its content changes, so that no older one is taken up


@dataclass(frozen=True)
class FitConfig:
    """Settings of a fit.

    Attributes:
        start: a grid to start from, or "best": the one with the lowest validation loss.
        shared_clock: one clock for all factors, or one per factor.
        phases: what is learned, in order: "times" of the solver alone, "joint" with the levels the network is told,
            "coefficients" of the solver alone, or "all".
        steps: gradient steps per phase, at most.
        batch: pairs per gradient step; 0 = all.
        chunk: pairs whose activations are held at once.
        learning_rate: Adam's, on log-gaps and offsets.
        coefficient_rate: that of the solver's coefficients, as a share of learning_rate.
        coefficient_depth: nodes that they weigh; 0 = the solver's order.
        clip: gradients longer than this are shortened to it.
        validate_every: gradient steps between validations.
        patience: validations without improvement before the learning rate falls.
        decay: by what factor it falls.
        anneal: instead, lower the learning rate linearly to zero over the second half of each phase.
        min_learning_rate: below this the phase ends.
        radius: of the ball, in standard deviations of the prior: one number, or one per factor; 0 = plain loss.
        shift_rate: length of a shift's first step, as a share of the radius.
        scale: of the bounded distance, in the units of the flow's distance before squaring; None = unbounded.
        checkpoint: recompute activations in the backward pass instead of keeping them.
        seconds: stop after this much wall time; None = no limit.
        seed: of the batches.
    """

    start: str = "best"
    shared_clock: bool = True
    phases: tuple[Phase, ...] = ("times", "joint")
    steps: int = 200
    batch: int = 0
    chunk: int = 64
    learning_rate: float = 0.05
    coefficient_rate: float = 0.3
    coefficient_depth: int = 0
    clip: float = 1.0
    validate_every: int = 5
    patience: int = 3
    decay: float = 0.5
    anneal: bool = False
    min_learning_rate: float = 0.005
    radius: float | Mapping[str, float] = 0.0
    shift_rate: float = 0.3
    scale: float | None = None
    checkpoint: bool = False
    seconds: float | None = None
    seed: int = 0


def fit(
    flow: ProbabilityFlow[State],
    train: Pairs[State],
    valid: Pairs[State],
    solver: Solver,
    nfe: int,
    config: FitConfig,
    *,
    starts: Mapping[str, Grid] | None = None,
    folder: Path | None = None,
    on_progress: Callable[[Point], None] | None = None,
) -> FitResult:
    """Learn a grid of `nfe` evaluations for `solver`.

    Args:
        flow: whose starts and ends the pairs are.
        train: pairs that the gradients come from.
        valid: pairs that decide which grid is kept; never differentiated, their starts never moved.
        starts: grids to start from besides the hand-made ones, such as one learned on other data, by name.
        folder: where the fit is saved on the way; one that was interrupted there goes on.
        on_progress: called after every validation.

    Raises:
        ValueError: if the solver cannot spend `nfe` or has no coefficients to learn, `config.start` names no grid, or a
            grid of `starts` has a hand-made one's name, other steps or other ends.
    """
    run = _Fit(flow, train, valid, solver, nfe, config, starts or {}, folder, on_progress)
    if not run.restore():
        run.choose_start()
    for phase in config.phases:
        run.learn(phase)
    return run.result()


@dataclass
class _Progress:
    """The part of a fit that a checkpoint holds."""

    tried: dict[str, float]
    start: str
    best: dict[str, Tensor]
    best_loss: float
    curve: list[Point]
    finished: list[str]
    step: int = 0
    evaluations: int = 0
    gradients: int = 0
    failed: int = 0
    phase_steps: int = 0
    rate: float = 0.0
    worse: int = 0


class _Fit(Generic[State]):
    """One fit under way."""

    def __init__(
        self,
        flow: ProbabilityFlow[State],
        train: Pairs[State],
        valid: Pairs[State],
        solver: Solver,
        nfe: int,
        config: FitConfig,
        starts: Mapping[str, Grid],
        folder: Path | None,
        on_progress: Callable[[Point], None] | None,
    ) -> None:
        self.flow, self.train, self.valid = flow, train, valid
        self.solver, self.nfe, self.config, self.on_progress = solver, nfe, config, on_progress
        n = solver.steps(nfe)
        self.grids = {name: make(flow.clock, n) for name, make in HAND_MADE.items()}
        for name, grid in starts.items():
            _check_start(name, grid, self.grids)
        self.grids |= {name: grid._replace(name=name) for name, grid in starts.items()}
        if config.start not in ("best", *self.grids):
            raise ValueError(f"config.start must be 'best' or one of {', '.join(self.grids)}, got {config.start!r}")
        self.generator = torch.Generator().manual_seed(config.seed)
        self.ball = Ball(flow, train.start, config.radius, config.shift_rate)
        self.path: Path | None = None
        if folder is not None:
            pairs = [tensors(x) for x in (train.start, train.end, valid.start, valid.end)]
            key = fingerprint(_FORMAT, flow.fingerprint(), pairs, solver.name, nfe, config, starts)
            self.path = folder / f"fit-{key}.pt"
        self.earlier, self.started = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        return self.earlier + time.monotonic() - self.started

    def choose_start(self) -> None:
        """Validate every grid there is, equal ones (a clock geometric in t has them) once, and start from one."""
        self.at = _Progress({}, "", {}, math.inf, [], [])
        tried, wanted = self.at.tried, self.config.start
        for name, grid in self.grids.items():
            twin = next((n for n in tried if _same(self.grids[n], grid)), None)
            tried[name] = tried[twin] if twin else self.validate(grid, self.solver)
        self.at.start = min(tried, key=tried.__getitem__) if wanted == "best" else wanted
        self.begin()
        self.at.best, self.at.best_loss = copy.deepcopy(self.student.state_dict()), tried[self.at.start]
        self.record("start", None, self.at.best_loss)

    def begin(self) -> None:
        config = self.config
        self.student = Student(
            self.grids[self.at.start], self.solver, config.shared_clock, config.phases, config.coefficient_depth
        )

    @torch.no_grad()
    def validate(self, grid: Grid, solver: Solver) -> float:
        """Plain loss on the validation pairs."""
        losses = []
        for rows in torch.arange(len(self.valid)).split(self.config.chunk):
            start, end = take(self.valid.start, rows), take(self.valid.end, rows)
            losses.append(soft_loss(self.flow, start, None, end, grid, solver, scale=self.config.scale))
        self.at.evaluations += self.nfe * len(self.valid)
        loss = torch.cat(losses)
        miss = math.inf if self.config.scale is None else 1.0  # the bounded distance of a sample at infinity
        return float(torch.where(loss.isfinite(), loss, miss).mean())

    def learn(self, phase: Phase) -> None:
        """One phase, from the best grid so far to its own end."""
        if phase in self.at.finished:
            return
        if self.at.phase_steps == 0:
            self.restart(phase, self.config.learning_rate)
        while not self.phase_is_over():
            train = self.gradient_step()
            if self.at.phase_steps % self.config.validate_every == 0 or self.phase_is_over():
                self.judge(phase, train)
        self.at.finished.append(phase)
        self.at.phase_steps = 0
        self.save()

    def restart(self, phase: Phase, rate: float) -> None:
        """Back to the best student, with fresh momentum: the old one led away from it."""
        self.student.load_state_dict(self.at.best)
        parts = zip(self.student.select(phase), (1.0, self.config.coefficient_rate), strict=True)
        groups = [{"params": moving, "share": share} for moving, share in parts if moving]
        self.optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99))
        self.set_rate(rate)
        self.at.rate, self.at.worse = rate, 0

    def set_rate(self, rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["share"]

    def phase_is_over(self) -> bool:
        config, at = self.config, self.at
        late = config.seconds is not None and self.seconds > config.seconds
        return late or at.phase_steps >= config.steps or (at.rate < config.min_learning_rate and not config.anneal)

    def gradient_step(self) -> float:
        """One step on a batch of training pairs; returns their mean loss."""
        config, n = self.config, len(self.train)
        # In the order of the pairs: a chunk then holds neighbours, which costs least where these are of one size.
        batch = torch.randperm(n, generator=self.generator)[: config.batch or n].sort().values
        self.student.zero_grad()
        losses = [self.differentiate(rows, len(batch)) for rows in batch.split(config.chunk)]
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), config.clip)
        if config.anneal:
            left = 2.0 * (1.0 - self.at.phase_steps / config.steps)
            self.set_rate(config.learning_rate * min(1.0, left))
        self.optimiser.step()
        self.student.grid.project()
        self.at.step += 1
        self.at.phase_steps += 1
        return float(torch.cat(losses).mean())

    def differentiate(self, rows: Tensor, n: int) -> Tensor:
        """Add the gradient of these pairs' share of the mean over `n`; returns their losses.

        A sample that the student throws out of the numbers has no gradient to give, and through the shared grid would
        spoil everybody's: it leaves the training pairs of this step, is counted, and the others are run again.
        """
        shift = self.ball.shift(rows)
        start, end = take(self.train.start, rows), take(self.train.end, rows)
        scale, checkpoint = self.config.scale, self.config.checkpoint
        loss = soft_loss(self.flow, start, shift, end, *self.student(), scale=scale, checkpoint=checkpoint)
        self.at.evaluations += self.nfe * len(rows)
        finite = loss.detach().isfinite().to(rows.device)
        if not finite.all():
            self.at.failed += int((~finite).sum())
            return self.differentiate(rows[finite], n) if finite.any() else loss.detach()[:0]
        self.at.gradients += self.nfe * len(rows)
        (loss.sum() / n).backward()
        self.ball.judge(rows, shift, loss.detach())
        return loss.detach()

    def judge(self, phase: Phase, train: float) -> None:
        """Validate, keep the student if it wins, lower the learning rate if nothing has won for a while."""
        valid = self.validate(*self.student())
        if valid < self.at.best_loss:
            self.at.best, self.at.best_loss, self.at.worse = copy.deepcopy(self.student.state_dict()), valid, 0
        else:
            self.at.worse += 1
        if self.at.worse >= self.config.patience and not self.config.anneal:
            self.restart(phase, self.at.rate * self.config.decay)
        self.record(phase, train, valid)

    def record(self, phase: str, train: float | None, valid: float) -> None:
        self.at.curve.append(Point(phase, self.at.step, train, valid, self.at.evaluations, self.seconds))
        self.save()
        if self.on_progress is not None:
            self.on_progress(self.at.curve[-1])

    def result(self) -> FitResult:
        self.student.load_state_dict(self.at.best)
        self.student.requires_grad_(False)
        grid, solver = self.student()
        hand = {name: loss for name, loss in self.at.tried.items() if name in HAND_MADE}
        return FitResult(
            grid=grid,
            solver=self.solver.name,
            coefficients=solver.coefficients,
            nfe=self.nfe,
            start=self.at.start,
            hand=hand,
            loss_hand=hand.get(self.at.start, min(hand.values())),
            loss_start=self.at.tried[self.at.start],
            loss_learned=self.at.best_loss,
            curve=tuple(self.at.curve),
            network_evaluations=self.at.evaluations,
            gradient_evaluations=self.at.gradients,
            failed=self.at.failed,
            seconds=self.seconds,
            config=json.loads(json.dumps(asdict(self.config))),  # as a saved result has it
            flow=self.flow.fingerprint(),
            sharpness=self.flow.clock.sharpness,
            path=trace(self.flow.clock, grid),
        )

    def save(self) -> None:
        """Everything that the rest of the fit depends on; replaces the file atomically."""
        if self.path is None:
            return
        state: dict[str, Any] = {
            "at": {**vars(self.at), "curve": [asdict(point) for point in self.at.curve]},
            "student": self.student.state_dict(),
            "optimiser": self.optimiser.state_dict() if self.at.phase_steps else None,
            "ball": self.ball.state(),
            "generator": self.generator.get_state(),
            "seconds": self.seconds,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.path)

    def restore(self) -> bool:
        """Go on from a saved fit, if there is one of the same inputs."""
        if self.path is None or not self.path.exists():
            return False
        state = torch.load(self.path, weights_only=True)
        curve = [Point(**row) for row in state["at"].pop("curve")]
        self.at = _Progress(**state["at"], curve=curve)
        self.begin()
        if self.at.phase_steps:
            phase = next(phase for phase in self.config.phases if phase not in self.at.finished)
            rate, worse = self.at.rate, self.at.worse
            self.restart(phase, rate)
            self.at.worse = worse
            self.optimiser.load_state_dict(state["optimiser"])
        self.student.load_state_dict(state["student"])
        self.ball.restore(state["ball"])
        self.generator.set_state(state["generator"])
        self.earlier = state["seconds"]
        return True


def _check_start(name: str, grid: Grid, hand_made: Mapping[str, Grid]) -> None:
    """Raise a ValueError if `grid` cannot be started from under that name."""
    like = next(iter(hand_made.values()))
    if name in hand_made or name == "best":
        raise ValueError(f"starts must not use the name of a hand-made grid, got {name!r}")
    if grid.solver.keys() != like.solver.keys() or grid.n_steps != like.n_steps:
        raise ValueError(
            f"starts[{name!r}] must have {like.n_steps} steps of {sorted(like.solver)}, "
            f"got {grid.n_steps} of {sorted(grid.solver)}"
        )
    for factor, levels in grid.solver.items():
        if not torch.allclose(levels[[0, -1]], like.solver[factor][[0, -1]], rtol=0, atol=_SAME_END):
            raise ValueError(
                f"starts[{name!r}] must run from {like.solver[factor][0]:.6g} to {like.solver[factor][-1]:.6g} in "
                f"{factor!r}, got {levels[0]:.6g} to {levels[-1]:.6g}"
            )


def _same(a: Grid, b: Grid) -> bool:
    parts = ((a.solver[f], b.solver[f], a.network[f], b.network[f]) for f in a.solver)
    return all(
        torch.allclose(first, second, rtol=1e-12, atol=1e-12)
        for s, t, u, v in parts
        for first, second in ((s, t), (u, v))
    )
