"""Learn a grid: LD3's training (arXiv 2405.15506) with exact gradients, on any flow.

Phases, each from the best student so far: the solver's times, the levels that the network is given, the solver's
coefficients, alone or together; by default all at once (:mod:`ld3.learn.student`). The mean loss over teacher pairs is
lowered by quasi-Newton steps (:mod:`ld3.learn.quasi_newton`), by Gauss-Newton (:mod:`ld3.learn.gauss_newton`), or by
Adam, whose learning rate falls when validation stops improving (or, where the loss is too noisy to tell, linearly). The
student that wins on the validation pairs is kept, and has to win against the best hand-made grid on pairs held back for
that (:mod:`ld3.learn.final_test`). Its starts may move in a ball (:mod:`ld3.learn.ball`), at no evaluation of its own.
"""

from __future__ import annotations

import copy
import io
import json
import math
import os
import pickle
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ld3.fingerprint import fingerprint
from ld3.flow import ProbabilityFlow
from ld3.grids.grid import Grid
from ld3.grids.hand_made import HAND_MADE
from ld3.learn.checks import check_fit, check_noise
from ld3.learn.config import FitConfig
from ld3.learn.descent import Descent
from ld3.learn.final_test import FEWEST, FinalTest, judge
from ld3.learn.gauss_newton import FIRST_DAMPING, GaussNewton
from ld3.learn.objective import Cost, Objective, mean_of_all
from ld3.learn.plan import Part, curvature_pairs, parts_of
from ld3.learn.progress import Progress
from ld3.learn.quasi_newton import QuasiNewton
from ld3.learn.result import FitResult, Point
from ld3.learn.student import Phase, Student
from ld3.learn.teacher import Pairs, finite_parts
from ld3.learn.variables import Answer, Variables
from ld3.path_points import trace
from ld3.solvers.solver import Solver
from ld3.state import State, tensors

_FORMAT = 8  # of the saved fit; raise it when its content changes, so that no older one is taken up


def fit(
    flow: ProbabilityFlow[State],
    train: Pairs[State],
    valid: Pairs[State],
    solver: Solver,
    nfe: int,
    config: FitConfig,
    *,
    test: Pairs[State] | None = None,
    starting_grids: Mapping[str, Grid] | None = None,
    baselines: Mapping[str, Grid] | None = None,
    folder: Path | None = None,
    on_progress: Callable[[Point], None] | None = None,
) -> FitResult:
    """Learn a grid of `nfe` evaluations for `solver`.

    Args:
        flow: whose starts and ends the pairs are.
        train: pairs that the gradients come from.
        valid: pairs that decide which grid is kept; never differentiated, their starts never moved.
        test: pairs for the final test, of no influence on anything before. Unless the learned student wins it against
            the hand-made grid that the validation pairs like best, that grid is what comes back. None = no test: what
            was learned comes back as it is, for those who test it themselves.
        starting_grids: grids to start from besides the hand-made ones, such as one learned on other data, by name.
        baselines: the same, for grids made without learning (such as Align Your Steps): they count as hand-made.
        folder: where the fit is saved on the way; one that was interrupted there goes on.
        on_progress: called after every validation, and after the test.

    Pairs that are not finite are left out of all sets, and counted in the result.

    Raises:
        ValueError, TypeError: before anything is computed, as :func:`check_fit`, and if nothing is left to learn from
            or to choose by; later, if with no grid to start from the validation samples stay finite.
    """
    given = _Given(starting_grids or {}, baselines or {})
    run = _Fit(flow, train, valid, test, solver, nfe, config, given, folder, on_progress)
    if not run.restore():
        run.choose_initial_grid()
    for part in run.parts[len(run.at.finished) :]:
        run.learn(part)
    run.examine()
    return run.result()


@final
@dataclass(frozen=True)
class _Given:
    """Grids besides the hand-made ones: `start` to start from, `compare` to be compared with as well."""

    start: Mapping[str, Grid]
    compare: Mapping[str, Grid]

    @property
    def grids(self) -> dict[str, Grid]:
        if both := self.start.keys() & self.compare.keys():
            raise ValueError(f"starting_grids and baselines must have names of their own, got {min(both)!r} in both")
        return {**self.compare, **self.start}


class _Fit(Generic[State]):
    """One fit under way."""

    def __init__(
        self,
        flow: ProbabilityFlow[State],
        train: Pairs[State],
        valid: Pairs[State],
        test: Pairs[State] | None,
        solver: Solver,
        nfe: int,
        config: FitConfig,
        given: _Given,
        folder: Path | None,
        on_progress: Callable[[Point], None] | None,
    ) -> None:
        self.flow, self.solver, self.nfe, self.config, self.on_progress = flow, solver, nfe, config, on_progress
        self.fingerprint, self.grids = check_fit(flow, solver, nfe, config, given.grids)
        self.by_hand = {*HAND_MADE, *given.compare}
        for name, part in (("train", train), ("valid", valid), ("test", test)):
            if part is not None:
                check_noise(name, part, solver, nfe)
        train, valid, self.dropped = finite_parts(train, valid)
        self.test = None if test is None else test.finite()
        if test is not None and self.test is not None:
            self.dropped += len(test) - len(self.test)
        self.n_train, self.n_valid, self.n_test = len(train), len(valid), len(self.test) if self.test else 0
        self.objective = Objective(flow, train, valid, nfe, config)
        self.parts = parts_of(config, self.n_train)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.path: Path | None = None
        if folder is not None:
            held = () if self.test is None else (self.test.start, self.test.end)
            pairs = [tensors(x) for x in (train.start, train.end, valid.start, valid.end, *held)]
            groups = None if self.test is None else self.test.groups
            learned = replace(config, chunk=1, checkpoint=False)  # these are questions of memory alone
            key = fingerprint(
                _FORMAT,
                self.fingerprint,
                pairs,
                solver.name,
                solver.data_mean,
                nfe,
                learned,
                self.grids,
                groups,
                sorted(self.by_hand),
            )
            if train.noise is not None:
                key = fingerprint(key, *(part.noise for part in (train, valid, test) if part is not None))
            self.path = folder / f"fit-{key}.pt"
        self.earlier, self.started = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        return self.earlier + time.monotonic() - self.started

    @property
    def part(self) -> Part:
        """What is under way."""
        return self.parts[len(self.at.finished)]

    def choose_initial_grid(self) -> None:
        """Validate every grid there is, equal ones (a clock geometric in t has them) once, and start from one."""
        self.at = Progress()
        if self.config.optimiser == "gauss-newton":
            self.check_curvature()
        tried, name_or_best = self.at.tried, self.config.initial_grid
        for name, grid in self.grids.items():
            twin = next((n for n in tried if self.grids[n].equals(grid)), None)
            tried[name] = tried[twin] if twin else self.objective.validate(grid, self.solver)
        if not math.isfinite(min(tried.values())):
            raise ValueError(
                "valid must stay finite with at least one of the grids to start from, but some of its samples break "
                "with each; bound the distance with config.scale, or take another solver or more evaluations"
            )
        self.at.initial_grid = min(tried, key=tried.__getitem__) if name_or_best == "best" else name_or_best
        self.begin()
        self.at.best, self.at.best_loss = copy.deepcopy(self.student.state_dict()), tried[self.at.initial_grid]
        self.record("start", None, self.at.best_loss)

    def check_curvature(self) -> None:
        """Refuse a flow without residual or forward derivatives now, and not after a first search."""
        config, name = self.config, self.config.initial_grid
        grid = self.grids[next(iter(self.grids)) if name == "best" else name]
        student = Student(grid, self.solver, config.shared_clock, config.phases, config.coefficient_depth)
        variables = student.variables(config.phases[0], config.coefficient_rate)
        self.objective.check_curvature(student, Variables(variables))

    def begin(self) -> None:
        config = self.config
        self.student = Student(
            self.grids[self.at.initial_grid], self.solver, config.shared_clock, config.phases, config.coefficient_depth
        )

    def learn(self, part: Part) -> None:
        """One phase or its first search, from the best student so far to its own end."""
        search = {"adam": self.descend, "bfgs": self.minimise, "gauss-newton": self.approach}
        search[self.config.optimiser](part)
        self.at.finished.append(part.phase)
        self.at.phase_steps = 0
        self.save()

    def draw(self) -> Tensor:
        """Rows of a batch, in the order of the pairs.

        A chunk then holds neighbours, which costs least where these are of one size.
        """
        return torch.randperm(self.n_train, generator=self.generator)[: self.part.batch].sort().values

    def descend(self, part: Part) -> None:
        """The phase by Adam."""
        phase = part.phase
        if self.at.phase_steps == 0:
            self.restart(phase, self.config.learning_rate)
        while not self.phase_is_over():
            losses = self.objective.differentiate(self.student, self.draw())
            self.descent.step(self.at.phase_steps)
            self.count_step()
            if self.at.phase_steps % self.config.validate_every == 0 or self.phase_is_over():
                self.validate(phase, float(losses.mean()))

    def restart(self, phase: Phase, rate: float) -> None:
        """Back to the best student, with fresh momentum: the old one led away from it."""
        self.student.load_state_dict(self.at.best)
        self.descent = Descent(self.student, phase, self.config, rate)
        self.at.rate, self.at.worse = rate, 0

    def minimise(self, part: Part) -> None:
        """The phase by BFGS, on one batch."""
        at, config, phase = self.at, self.config, part.phase
        if at.phase_steps == 0:
            at.rows, at.answers, at.origin, at.worse = self.draw().tolist(), [], copy.deepcopy(at.best), 0
        self.student.load_state_dict(at.origin)
        variables = self.student.variables(phase, config.coefficient_rate)
        search = QuasiNewton(variables, at.answers, curvature=at.curvature)
        at.answers = search.answers
        rows = torch.tensor(at.rows)

        def evaluate() -> float:
            losses = self.objective.differentiate(self.student, rows)
            self.count_step()
            return mean_of_all(losses, len(rows))

        def on_iteration(iteration: int) -> None:
            if iteration % config.validate_every == 0:
                self.validate(phase, at.answers[-1][0])

        search.run(evaluate, self.phase_is_over, on_iteration)
        if at.curve[-1].step < at.step:
            self.validate(phase, search.lowest)
        at.curvature = search.curvature.tolist() if part.first and at.worse == 0 else []

    def approach(self, part: Part) -> None:
        """The phase by Gauss-Newton, on one batch."""
        at, config, phase = self.at, self.config, part.phase
        if at.phase_steps == 0:
            self.student.load_state_dict(at.best)
            at.rows, at.answers, at.damping, at.worse = self.draw().tolist(), [], FIRST_DAMPING, 0
        rows = torch.tensor(at.rows)
        seen = curvature_pairs(config, len(rows))
        some = rows[torch.arange(seen) * len(rows) // seen]
        variables = self.student.variables(phase, config.coefficient_rate)
        search = GaussNewton(variables, at.answers[-1] if at.answers else None, at.damping)

        def evaluate() -> float:
            losses = self.objective.differentiate(self.student, rows)
            self.count_step()
            return mean_of_all(losses, len(rows))

        def on_iteration(answer: Answer) -> None:
            at.damping = search.damping
            at.answers.append(answer)
            if len(at.answers) % config.validate_every == 0:
                self.validate(phase, answer[0])
            else:
                self.save()

        def curvature(moving: Variables) -> NDArray[np.float64]:
            return self.objective.curvature(self.student, some, moving)

        search.run(evaluate, curvature, self.phase_is_over, on_iteration)
        if search.answer is not None and at.curve[-1].step < at.step:
            self.validate(phase, search.answer[0])

    def count_step(self) -> None:
        self.at.step += 1
        self.at.phase_steps += 1

    def phase_is_over(self) -> bool:
        config, at = self.config, self.at
        late = config.seconds is not None and self.seconds > config.seconds
        # Of the next step, the verdict on it, and the final test.
        ahead = self.nfe * (self.part.batch + self.n_valid + 2 * self.n_test)
        spent = config.max_evaluations is not None and self.objective.cost.evaluations + ahead > config.max_evaluations
        if config.optimiser == "adam":
            settled = at.rate < config.min_learning_rate and not config.anneal
        else:
            settled = at.worse >= config.patience
        return late or spent or settled or at.phase_steps >= self.part.steps

    def validate(self, phase: Phase, train: float) -> None:
        """Validate, keep the student if it wins; if none has won for a while, lower Adam's learning rate."""
        valid = self.objective.validate(*self.student())
        if valid < self.at.best_loss:
            self.at.best, self.at.best_loss, self.at.worse = copy.deepcopy(self.student.state_dict()), valid, 0
        else:
            self.at.worse += 1
        if self.config.optimiser == "adam" and self.at.worse >= self.config.patience and not self.config.anneal:
            self.restart(phase, self.at.rate * self.config.decay)
        self.record(phase, train, valid)

    def examine(self) -> None:
        """The final test, if there are pairs for it and it has not been made."""
        if self.test is None or self.at.test is not None:
            return
        self.student.load_state_dict(self.at.best)
        against = self.best_by_hand()
        theirs = self.grids[against]
        with torch.no_grad():
            grid, solver = self.student()
        if grid.equals(theirs) and not self.student.has_coefficients:
            self.at.test = FinalTest(self.n_test, against, "nothing learned")
        else:
            sides = ((grid, solver), (theirs, self.solver)) if self.n_test >= FEWEST else ()
            losses = [self.objective.losses(self.test, *side) for side in sides] or [torch.zeros(self.n_test)] * 2
            self.at.test = judge(losses[0], losses[1], self.config.scale is None, self.test.groups, against)
        self.record("test", None, self.at.best_loss)

    def best_by_hand(self) -> str:
        """The hand-made grid or baseline that the validation pairs like best."""
        tried = {name: loss for name, loss in self.at.tried.items() if name in self.by_hand}
        return min(tried, key=tried.__getitem__)

    def record(self, phase: str, train: float | None, valid: float) -> None:
        spent = self.objective.cost.evaluations
        self.at.curve.append(Point(phase, self.at.step, train, valid, spent, self.seconds))
        self.save()
        if self.on_progress is not None:
            self.on_progress(self.at.curve[-1])

    def result(self) -> FitResult:
        self.student.load_state_dict(self.at.best)
        self.student.requires_grad_(False)
        at, cost, (grid, solver) = self.at, self.objective.cost, self.student()
        if at.test is not None and not at.test.accepted:
            grid, solver = self.grids[at.test.against], self.solver
        by_hand = {name: loss for name, loss in at.tried.items() if name in self.by_hand}
        return FitResult(
            grid=grid,
            solver=solver.name,
            coefficients=solver.coefficients,
            data_mean=solver.data_mean,
            nfe=self.nfe,
            initial_grid=at.initial_grid,
            hand_made=by_hand,
            loss_hand_made=by_hand.get(at.initial_grid, min(by_hand.values())),
            loss_initial=at.tried[at.initial_grid],
            loss_learned=at.best_loss,
            test=at.test,
            curve=tuple(at.curve),
            network_evaluations=cost.evaluations,
            gradient_evaluations=cost.gradients,
            direction_evaluations=cost.directions,
            failed=cost.failed,
            dropped=self.dropped,
            seconds=at.curve[-1].seconds,  # a finished fit that is read again has taken no longer
            config=json.loads(json.dumps(asdict(self.config))),  # as a saved result has it
            flow=self.fingerprint,
            path=trace(self.flow.clock, grid),
        )

    def save(self) -> None:
        """Everything that the rest of the fit depends on; replaces the file atomically."""
        if self.path is None:
            return
        stepping = self.config.optimiser == "adam" and self.at.phase_steps > 0
        state: dict[str, Any] = {
            "at": self.at.state(),
            "student": self.student.state_dict(),
            "adam": self.descent.state() if stepping else None,
            "ball": self.objective.ball.state(),
            "cost": asdict(self.objective.cost),
            "generator": self.generator.get_state(),
            "seconds": self.seconds,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        content = io.BytesIO()
        torch.save(state, content)
        part.write_bytes(content.getvalue())  # an OSError where the disk is full, as torch's own error is not
        os.replace(part, self.path)

    def restore(self) -> bool:
        """Go on from a saved fit, if there is one of the same inputs."""
        if self.path is None or not self.path.exists():
            return False
        try:
            state = torch.load(self.path, weights_only=True)
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
            cause = str(error).partition("\n")[0]
            warnings.warn(f"{self.path} cannot be read ({cause}); the fit begins anew", stacklevel=2)
            return False
        self.at = Progress.restored(state["at"])
        self.begin()
        if state["adam"] is not None:
            phase = self.part.phase
            rate, worse = self.at.rate, self.at.worse
            self.restart(phase, rate)
            self.at.worse = worse
            self.descent.restore(state["adam"])
        self.student.load_state_dict(state["student"])
        self.objective.ball.restore(state["ball"])
        self.objective.cost = Cost(**state["cost"])
        self.generator.set_state(state["generator"])
        self.earlier = state["seconds"]
        return True
