"""The searches of a fit: from the best student so far to the end of each phase, by Adam, BFGS or Gauss-Newton.

What they depend on can be saved after every validation; a search that is given it again goes on to the same end.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Generic, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ld3.grids.grid import Grid
from ld3.learn.checkpoint import Checkpoint
from ld3.learn.config import FitConfig
from ld3.learn.descent import Descent
from ld3.learn.gauss_newton import FIRST_DAMPING, GaussNewton
from ld3.learn.objective import Cost, Objective, mean_of_all
from ld3.learn.plan import Part, curvature_pairs, parts_of
from ld3.learn.progress import Progress
from ld3.learn.quasi_newton import QuasiNewton
from ld3.learn.result import Point
from ld3.learn.student import Phase, Student
from ld3.learn.variables import Answer, Variables
from ld3.solvers.solver import Solver
from ld3.state import State


@final
class Search(Generic[State]):
    """The searches of one fit.

    Args:
        objective: the loss over its pairs.
        grids: that it may start from.
        solver: on them, as published.
        config: of the fit.
        n_test: pairs of the final test, for which evaluations are left.
        checkpoint: where it is saved.
        on_progress: called after every validation, and after the test.

    Attributes:
        at: how far it has come.
        student: at the parameters of this moment.
        seconds: wall time so far, that of interrupted runs included.
    """

    def __init__(
        self,
        objective: Objective[State],
        grids: Mapping[str, Grid],
        solver: Solver,
        config: FitConfig,
        n_test: int,
        checkpoint: Checkpoint,
        on_progress: Callable[[Point], None] | None,
    ) -> None:
        self.objective, self.config, self.at = objective, config, Progress()
        self._grids, self._solver, self._checkpoint, self._on_progress = grids, solver, checkpoint, on_progress
        self._n_train, self._n_valid, self._n_test = len(objective.train), len(objective.valid), n_test
        self._parts = parts_of(config, self._n_train)
        self._generator = torch.Generator().manual_seed(config.seed)
        self._earlier, self._started = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        return self._earlier + time.monotonic() - self._started

    @property
    def _part(self) -> Part:
        """What is under way."""
        return self._parts[len(self.at.finished)]

    def begin(self, grid: str, tried: Mapping[str, float]) -> None:
        """Start from the grid of this name; `tried`: name -> validation loss, of all grids."""
        self.at.initial_grid, self.at.tried = grid, dict(tried)
        self.student = self._new_student(grid)
        self.at.best, self.at.best_loss = copy.deepcopy(self.student.state_dict()), tried[grid]
        self.record("start", None, self.at.best_loss)

    def check_curvature(self, grid: str) -> None:
        """ValueError for a flow without residual or forward derivatives, now and not after a first search."""
        student = self._new_student(grid)
        variables = student.variables(self.config.phases[0], self.config.coefficient_rate)
        self.objective.check_curvature(student, Variables(variables))

    def _new_student(self, grid: str) -> Student:
        config = self.config
        return Student(self._grids[grid], self._solver, config.shared_clock, config.phases, config.coefficient_depth)

    def run(self) -> None:
        """What is left of all phases and first searches, each from the best student so far to its own end."""
        search = {"adam": self._descend, "bfgs": self._minimise, "gauss-newton": self._approach}
        for part in self._parts[len(self.at.finished) :]:
            search[self.config.optimiser](part)
            self.at.finished.append(part.phase)
            self.at.phase_steps = 0
            self._save()

    def _draw(self) -> Tensor:
        """Rows of a batch, in the order of the pairs.

        A chunk then holds neighbours, which costs least where these are of one size.
        """
        return torch.randperm(self._n_train, generator=self._generator)[: self._part.batch].sort().values

    def _descend(self, part: Part) -> None:
        """The phase by Adam."""
        phase = part.phase
        if self.at.phase_steps == 0:
            self._restart(phase, self.config.learning_rate)
        while not self._is_over():
            losses = self.objective.differentiate(self.student, self._draw())
            self._descent.step(self.at.phase_steps)
            self._count_step()
            if self.at.phase_steps % self.config.validate_every == 0 or self._is_over():
                self._validate(phase, float(losses.mean()))

    def _restart(self, phase: Phase, rate: float) -> None:
        """Back to the best student, with fresh momentum: the old one led away from it."""
        self.student.load_state_dict(self.at.best)
        self._descent = Descent(self.student, phase, self.config, rate)
        self.at.rate, self.at.worse = rate, 0

    def _minimise(self, part: Part) -> None:
        """The phase by BFGS, on one batch."""
        at, config, phase = self.at, self.config, part.phase
        if at.phase_steps == 0:
            at.rows, at.answers, at.origin, at.worse = self._draw().tolist(), [], copy.deepcopy(at.best), 0
        self.student.load_state_dict(at.origin)
        variables = self.student.variables(phase, config.coefficient_rate)
        search = QuasiNewton(variables, at.answers, curvature=at.curvature)
        at.answers = search.answers

        def on_iteration(iteration: int) -> None:
            if iteration % config.validate_every == 0:
                self._validate(phase, at.answers[-1][0])

        search.run(self._evaluate, self._is_over, on_iteration)
        if at.curve[-1].step < at.step:
            self._validate(phase, search.lowest)
        at.curvature = search.curvature.tolist() if part.first and at.worse == 0 else []

    def _approach(self, part: Part) -> None:
        """The phase by Gauss-Newton, on one batch."""
        at, config, phase = self.at, self.config, part.phase
        if at.phase_steps == 0:
            self.student.load_state_dict(at.best)
            at.rows, at.answers, at.damping, at.worse = self._draw().tolist(), [], FIRST_DAMPING, 0
        rows = torch.tensor(at.rows)
        seen = curvature_pairs(config, len(rows))
        some = rows[torch.arange(seen) * len(rows) // seen]
        variables = self.student.variables(phase, config.coefficient_rate)
        search = GaussNewton(variables, at.answers[-1] if at.answers else None, at.damping)

        def on_iteration(answer: Answer) -> None:
            at.damping = search.damping
            at.answers.append(answer)
            if len(at.answers) % config.validate_every == 0:
                self._validate(phase, answer[0])
            else:
                self._save()

        def curvature(moving: Variables) -> NDArray[np.float64]:
            return self.objective.curvature(self.student, some, moving)

        search.run(self._evaluate, curvature, self._is_over, on_iteration)
        if search.answer is not None and at.curve[-1].step < at.step:
            self._validate(phase, search.answer[0])

    def _evaluate(self) -> float:
        """The loss on the batch of the phase, with its gradient left in the student's parameters."""
        rows = torch.tensor(self.at.rows)
        losses = self.objective.differentiate(self.student, rows)
        self._count_step()
        return mean_of_all(losses, len(rows))

    def _count_step(self) -> None:
        self.at.step += 1
        self.at.phase_steps += 1

    def _is_over(self) -> bool:
        config, at = self.config, self.at
        late = config.seconds is not None and self.seconds > config.seconds
        # Of the next step, the verdict on it, and the final test.
        ahead = self.objective.nfe * (self._part.batch + self._n_valid + 2 * self._n_test)
        spent = config.max_evaluations is not None and self.objective.cost.evaluations + ahead > config.max_evaluations
        if config.optimiser == "adam":
            settled = at.rate < config.min_learning_rate and not config.anneal
        else:
            settled = at.worse >= config.patience
        return late or spent or settled or at.phase_steps >= self._part.steps

    def _validate(self, phase: Phase, train: float) -> None:
        """Validate, keep the student if it wins; if none has won for a while, lower Adam's learning rate."""
        valid = self.objective.validate(*self.student())
        if valid < self.at.best_loss:
            self.at.best, self.at.best_loss, self.at.worse = copy.deepcopy(self.student.state_dict()), valid, 0
        else:
            self.at.worse += 1
        if self.config.optimiser == "adam" and self.at.worse >= self.config.patience and not self.config.anneal:
            self._restart(phase, self.at.rate * self.config.decay)
        self.record(phase, train, valid)

    def record(self, phase: str, train: float | None, valid: float) -> None:
        """Add a point to the curve, save, and report it."""
        spent = self.objective.cost.evaluations
        self.at.curve.append(Point(phase, self.at.step, train, valid, spent, self.seconds))
        self._save()
        if self._on_progress is not None:
            self._on_progress(self.at.curve[-1])

    def _save(self) -> None:
        """Everything that the rest of the fit depends on."""
        stepping = self.config.optimiser == "adam" and self.at.phase_steps > 0
        state: dict[str, Any] = {
            "at": self.at.state(),
            "student": self.student.state_dict(),
            "adam": self._descent.state() if stepping else None,
            "ball": self.objective.ball.state(),
            "cost": asdict(self.objective.cost),
            "generator": self._generator.get_state(),
            "seconds": self.seconds,
        }
        self._checkpoint.write(state)

    def restore(self) -> bool:
        """Take up what was saved, if anything was."""
        state = self._checkpoint.read()
        if state is None:
            return False
        self.at = Progress.restored(state["at"])
        self.student = self._new_student(self.at.initial_grid)
        if state["adam"] is not None:
            rate, worse = self.at.rate, self.at.worse
            self._restart(self._part.phase, rate)
            self.at.worse = worse
            self._descent.restore(state["adam"])
        self.student.load_state_dict(state["student"])
        self.objective.ball.restore(state["ball"])
        self.objective.cost = Cost(**state["cost"])
        self._generator.set_state(state["generator"])
        self._earlier = state["seconds"]
        return True
