"""Learn one warp for many budgets, jointly over several numbers of steps."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Generic, final

import torch
from torch import nn

from ld3.flow import ProbabilityFlow
from ld3.grids.grid import Grid
from ld3.grids.hand_made import HAND_MADE
from ld3.learn.config import FitConfig, check_numbers
from ld3.learn.final_test import FEWEST, FinalTest, judge
from ld3.learn.objective import Objective, mean_of_all
from ld3.learn.quasi_newton import QuasiNewton
from ld3.learn.teacher import Pairs, finite_parts
from ld3.learn.variables import Variable
from ld3.learn.warp import Warp
from ld3.learn.warp_coefficients import WarpCoefficients
from ld3.learn.warp_result import WarpFit
from ld3.solvers.solver import Solver
from ld3.state import State


@dataclass(frozen=True)
class WarpConfig:
    """Settings of a fit.

    Attributes:
        initial_grid: a hand-made grid to start from, or "best": the one whose warp has the lowest validation loss.
        knots: pieces of the warp.
        shared_clock: one clock for all factors, or one per factor.
        drift: let the warp change with the number of steps.
        network: learn the levels that the network is given as well.
        coefficient_depth: answers whose weights in the solver are learned as well; 0 = none.
        coefficient_knots: between which these weights are straight in progress.
        coefficient_rate: the unit in which BFGS measures them.
        iterations: of BFGS, at most.
        patience: iterations without improvement on the validation pairs before the fit ends.
        chunk: pairs whose activations are held at once.
        scale: of the bounded distance, in the units of the flow's distance before squaring; None = unbounded.
        checkpoint: recompute activations in the backward pass instead of keeping them.

    Raises:
        ValueError: naming the setting, if it is out of its range.
    """

    initial_grid: str = "best"
    knots: int = 12
    shared_clock: bool = True
    drift: bool = True
    network: bool = True
    coefficient_depth: int = 0
    coefficient_knots: int = 4
    coefficient_rate: float = 0.3
    iterations: int = 100
    patience: int = 10
    chunk: int = 64
    scale: float | None = None
    checkpoint: bool = False

    def __post_init__(self) -> None:
        whole = ("knots", "coefficient_knots", "iterations", "patience", "chunk")
        zero = ("coefficient_depth",)
        check_numbers(self, whole=whole, whole_or_zero=zero, above_zero=("coefficient_rate",), limits=("scale",))
        if self.initial_grid not in ("best", *HAND_MADE):
            names = ", ".join(HAND_MADE)
            raise ValueError(f"initial_grid must be 'best' or one of {names}, got {self.initial_grid!r}")


def fit_warp(
    flow: ProbabilityFlow[State],
    train: Pairs[State],
    valid: Pairs[State],
    solver: Solver,
    nfe: Sequence[int],
    config: WarpConfig,
    *,
    test: Pairs[State] | None = None,
    on_progress: Callable[[int, float], None] | None = None,
) -> WarpFit:
    """Learn a warp whose grids are good at every budget of `nfe`.

    Minimised is the mean over budgets of the logarithm of the mean loss, so that each budget counts for what it gains
    in proportion, by BFGS with exact gradients over all pairs.

    Args:
        flow: whose starts and ends the pairs are.
        train: pairs that the gradients come from.
        valid: pairs that decide which warp is kept; never differentiated.
        nfe: budgets.
        test: pairs for the final test: unless the learned warp is nearer to the teacher than the hand-made one that it
            started from, that one comes back. Compared are losses as shares of that one's mean loss at each budget,
            averaged over budgets. None = no test.
        on_progress: called after every iteration with its number and the validation objective.

    Raises:
        ValueError: if `nfe` is empty, the solver cannot spend one, nothing is left to learn from or to choose by, or
            with no grid to start from samples stay finite.
        TypeError: if the flow cannot be hashed.
    """
    if not nfe:
        raise ValueError("nfe must hold at least one budget, got none")
    return _WarpFit(flow, train, valid, test, solver, nfe, config, on_progress).run()


@final
class _Student(nn.Module):
    """A warp, and the solver of any number of steps."""

    def __init__(self, warp: Warp, solver: Solver, config: WarpConfig) -> None:
        super().__init__()
        self.warp, self.solver = warp, solver
        depth, knots, shared = config.coefficient_depth, config.coefficient_knots, config.shared_clock
        learned = WarpCoefficients(solver, warp.factors, warp.fewest, depth, knots, shared) if depth else None
        self.coefficients = learned

    def forward(self, n: int) -> tuple[Grid, Solver]:
        return self.warp(n), self.solver if self.coefficients is None else self.coefficients(n)


@final
class _AtBudget(nn.Module):
    """The student of one budget."""

    def __init__(self, student: _Student, n: int) -> None:
        super().__init__()
        self.student, self.n = student, n

    def forward(self) -> tuple[Grid, Solver]:
        grid, solver = self.student(self.n)
        return grid, solver


class _WarpFit(Generic[State]):
    """One fit under way."""

    def __init__(
        self,
        flow: ProbabilityFlow[State],
        train: Pairs[State],
        valid: Pairs[State],
        test: Pairs[State] | None,
        solver: Solver,
        nfe: Sequence[int],
        config: WarpConfig,
        on_progress: Callable[[int, float], None] | None,
    ) -> None:
        self.flow, self.solver, self.config, self.on_progress = flow, solver, config, on_progress
        self.fingerprint = flow.fingerprint()  # before anything is computed: it may be refused
        self.steps = {budget: solver.steps(budget) for budget in nfe}
        train, valid, self.dropped = finite_parts(train, valid)
        self.test = None if test is None else test.finite()
        if test is not None and self.test is not None:
            self.dropped += len(test) - len(self.test)
        settings = FitConfig(chunk=config.chunk, scale=config.scale, checkpoint=config.checkpoint)
        self.objectives = {budget: Objective(flow, train, valid, budget, settings) for budget in nfe}
        self.rows = torch.arange(len(train))
        self.iteration = self.best_iteration = 0

    def run(self) -> WarpFit:
        began = time.monotonic()
        self.choose_initial_grid()
        initial_grid, loss_initial = self.student.warp.init.name, self.best_losses
        QuasiNewton(self.variables(), scale=1.0).run(self.evaluate, self.is_over, self.keep_if_better)
        self.student.load_state_dict(self.best)
        test = self.examine(initial_grid)
        if test is not None and not test.accepted:
            self.student.load_state_dict(self.first)
        costs = [objective.cost for objective in self.objectives.values()]
        return WarpFit(
            warp=self.student.requires_grad_(False).warp,
            coefficients=self.student.coefficients,
            data_mean=self.solver.data_mean,
            solver=self.solver.name,
            nfe=tuple(self.steps),
            initial_grid=initial_grid,
            loss_initial=loss_initial,
            loss_learned=self.best_losses,
            test=test,
            iterations=self.iteration,
            network_evaluations=sum(cost.evaluations for cost in costs),
            gradient_evaluations=sum(cost.gradients for cost in costs),
            failed=sum(cost.failed for cost in costs),
            dropped=self.dropped,
            seconds=time.monotonic() - began,
            config=asdict(self.config),
            flow=self.fingerprint,
        )

    def choose_initial_grid(self) -> None:
        """The warp of the hand-made grid that is asked for, or of the best."""
        config = self.config
        names = list(HAND_MADE) if config.initial_grid == "best" else [config.initial_grid]
        tried: list[tuple[float, _Student, dict[int, float]]] = []
        for name in names:
            grid = HAND_MADE[name](self.flow.clock, config.knots)
            warp = Warp(grid, min(self.steps.values()), config.shared_clock)
            student = _Student(warp, self.solver, config)
            losses = self.validate(student)
            tried.append((_mean_log(losses.values()), student, losses))
        self.best_objective, self.student, self.best_losses = min(tried, key=lambda row: row[0])
        if not math.isfinite(self.best_objective):
            raise ValueError(
                f"config.initial_grid must be a grid with which samples stay finite, got {config.initial_grid!r}"
            )
        self.first = self.best = copy.deepcopy(self.student.state_dict())

    def variables(self) -> list[Variable]:
        """The parameters that are learned. The first network level may lie beyond the solver's, not before it."""
        student, config = self.student.requires_grad_(False), self.config
        warp = student.warp
        learned = [*warp.gaps, *(warp.drift if config.drift else ()), *(warp.network_gaps if config.network else ())]
        offsets = warp.first_offset if config.network else ()
        variables = [*map(Variable, learned), *(Variable(offset, lowest=0.0) for offset in offsets)]
        if student.coefficients is not None:
            variables += [Variable(weights, config.coefficient_rate) for weights in student.coefficients.parameters()]
        for variable in variables:
            variable.parameter.requires_grad_()
        return variables

    def evaluate(self) -> float:
        """Mean over budgets of log(mean loss) on the training pairs, with its gradient left in the parameters."""
        parameters = [parameter for parameter in self.student.parameters() if parameter.requires_grad]
        gradients = [torch.zeros_like(parameter) for parameter in parameters]
        means = []
        for budget, n in self.steps.items():
            losses = self.objectives[budget].differentiate(_AtBudget(self.student, n), self.rows)
            means.append(mean_of_all(losses, len(self.rows)))
            for gradient, parameter in zip(gradients, parameters, strict=True):
                if parameter.grad is not None:  # where all samples broke there is none
                    gradient += parameter.grad / means[-1] / len(self.steps)
        for gradient, parameter in zip(gradients, parameters, strict=True):
            parameter.grad = gradient
        return _mean_log(means)

    def is_over(self) -> bool:
        late = self.iteration - self.best_iteration >= self.config.patience
        return late or self.iteration >= self.config.iterations

    @torch.no_grad()
    def examine(self, against: str) -> FinalTest | None:
        """The final test of the present warp."""
        if self.test is None:
            return None
        if all(torch.equal(value, self.first[name]) for name, value in self.best.items()):
            return FinalTest(len(self.test), against, "nothing learned")
        sums = [torch.zeros(len(self.test), dtype=torch.float64) for _ in range(2)]
        if len(self.test) >= FEWEST:
            warp = self.student.warp
            by_hand = _Student(Warp(warp.init, warp.fewest, warp.shared), self.solver, self.config)
            for budget, n in self.steps.items():
                sides = [self.objectives[budget].losses(self.test, *s(n)) for s in (self.student, by_hand)]
                for total, losses in zip(sums, sides, strict=True):
                    total += losses.double().cpu() / float(sides[1][sides[1].isfinite()].mean()) / len(self.steps)
        return judge(sums[0], sums[1], self.config.scale is None, self.test.groups, against)

    def validate(self, student: _Student) -> dict[int, float]:
        """Budget -> plain mean loss on the validation pairs."""
        return {budget: self.objectives[budget].validate(*student(n)) for budget, n in self.steps.items()}

    @torch.no_grad()
    def keep_if_better(self, iteration: int) -> None:
        """Validate after an iteration, and keep the warp if it wins."""
        self.iteration = iteration
        losses = self.validate(self.student)
        objective = _mean_log(losses.values())
        if objective < self.best_objective:
            self.best_objective, self.best_losses = objective, losses
            self.best, self.best_iteration = copy.deepcopy(self.student.state_dict()), iteration
        if self.on_progress is not None:
            self.on_progress(iteration, objective)


def _mean_log(losses: Collection[float]) -> float:
    return sum(map(math.log, losses)) / len(losses)
