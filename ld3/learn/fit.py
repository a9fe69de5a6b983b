"""Learn a grid: LD3's training (arXiv 2405.15506) with exact gradients, on any flow.

Phases, each from the best student so far: the solver's times, the levels that the network is given, the solver's
coefficients, alone or together; by default all at once (:mod:`ld3.learn.student`). The mean loss over teacher pairs is
lowered by quasi-Newton steps (:mod:`ld3.learn.quasi_newton`), by Gauss-Newton (:mod:`ld3.learn.gauss_newton`), or by
Adam, whose learning rate falls when validation stops improving (or, where the loss is too noisy to tell, linearly)
(:mod:`ld3.learn.search`). The student that wins on the validation pairs is kept, and has to win against the best
hand-made grid on pairs held back for that (:mod:`ld3.learn.final_test`). Its starts may move in a ball
(:mod:`ld3.learn.ball`), at no evaluation of its own. A fit that was interrupted goes on (:mod:`ld3.learn.checkpoint`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, final

import torch

from ld3.flow import ProbabilityFlow
from ld3.grids.grid import Grid
from ld3.grids.hand_made import HAND_MADE
from ld3.learn.checkpoint import Checkpoint, fit_file
from ld3.learn.checks import check_fit, check_noise
from ld3.learn.config import FitConfig
from ld3.learn.final_test import FEWEST, FinalTest, judge
from ld3.learn.objective import Objective
from ld3.learn.result import FitResult, Point
from ld3.learn.search import Search
from ld3.learn.teacher import Pairs, finite_parts
from ld3.path_points import trace
from ld3.solvers.solver import Solver
from ld3.state import State


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
    if not run.search.restore():
        run.choose_initial_grid()
    run.search.run()
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


@final
class _Fit(Generic[State]):
    """One fit: its inputs, what it starts from, and what comes of its search."""

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
        self.flow, self.solver, self.nfe, self.config = flow, solver, nfe, config
        self.fingerprint, self.grids = check_fit(flow, solver, nfe, config, given.grids)
        self.by_hand = {*HAND_MADE, *given.compare}
        for name, part in (("train", train), ("valid", valid), ("test", test)):
            if part is not None:
                check_noise(name, part, solver, nfe)
        train, valid, self.dropped = finite_parts(train, valid)
        self.test = None if test is None else test.finite()
        if test is not None and self.test is not None:
            self.dropped += len(test) - len(self.test)
        self.n_test = len(self.test) if self.test else 0
        self.objective = Objective(flow, train, valid, nfe, config)
        path = None
        if folder is not None:
            pairs = (train, valid, self.test)
            path = fit_file(folder, self.fingerprint, pairs, solver, nfe, config, self.grids, self.by_hand)
        checkpoint = Checkpoint(path)
        self.search = Search(self.objective, self.grids, solver, config, self.n_test, checkpoint, on_progress)

    def choose_initial_grid(self) -> None:
        """Validate every grid there is, equal ones (a clock geometric in t has them) once, and start from one."""
        name_or_best = self.config.initial_grid
        if self.config.optimiser == "gauss-newton":
            self.search.check_curvature(next(iter(self.grids)) if name_or_best == "best" else name_or_best)
        tried: dict[str, float] = {}
        for name, grid in self.grids.items():
            twin = next((n for n in tried if self.grids[n].equals(grid)), None)
            tried[name] = tried[twin] if twin else self.objective.validate(grid, self.solver)
        if not math.isfinite(min(tried.values())):
            raise ValueError(
                "valid must stay finite with at least one of the grids to start from, but some of its samples break "
                "with each; bound the distance with config.scale, or take another solver or more evaluations"
            )
        self.search.begin(min(tried, key=tried.__getitem__) if name_or_best == "best" else name_or_best, tried)

    def examine(self) -> None:
        """The final test, if there are pairs for it and it has not been made."""
        search, at = self.search, self.search.at
        if self.test is None or at.test is not None:
            return
        search.student.load_state_dict(at.best)
        against = self.best_by_hand()
        theirs = self.grids[against]
        with torch.no_grad():
            grid, solver = search.student()
        if grid.equals(theirs) and not search.student.has_coefficients:
            at.test = FinalTest(self.n_test, against, "nothing learned")
        else:
            sides = ((grid, solver), (theirs, self.solver)) if self.n_test >= FEWEST else ()
            losses = [self.objective.losses(self.test, *side) for side in sides] or [torch.zeros(self.n_test)] * 2
            at.test = judge(losses[0], losses[1], self.config.scale is None, self.test.groups, against)
        search.record("test", None, at.best_loss)

    def best_by_hand(self) -> str:
        """The hand-made grid or baseline that the validation pairs like best."""
        tried = {name: loss for name, loss in self.search.at.tried.items() if name in self.by_hand}
        return min(tried, key=tried.__getitem__)

    def result(self) -> FitResult:
        at, student, cost = self.search.at, self.search.student, self.objective.cost
        student.load_state_dict(at.best)
        student.requires_grad_(False)
        grid, solver = student()
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
