"""What a fit learns: a grid, and if asked for the coefficients of the solver on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from torch import nn

from ld3.grids.grid import Grid
from ld3.learn.learned_coefficients import LearnedCoefficients
from ld3.learn.learned_grid import LearnedGrid
from ld3.learn.variables import Variable
from ld3.solvers.solver import Solver

Phase = Literal["times", "joint", "coefficients", "all"]
"""What is learned at a time: the solver's times; these and the levels that the network is given; the solver's
coefficients alone (S4S, arXiv 2502.17423); or all three (S4S-Alt, but at once instead of in turn), of a solver without
coefficients its times and levels."""

WITH_COEFFICIENTS: tuple[Phase, ...] = ("coefficients", "all")


class Student(nn.Module):
    """A solver on a grid of few steps, both differentiable in their parameters.

    Args:
        init: grid to start from.
        solver: whose steps they are.
        shared_clock: one clock for all factors, or one per factor.
        phases: that are to come; without coefficients in any of them the solver stays as published.
        depth: nodes that learned coefficients weigh; 0 = the solver's order, the number of steps or more = all.

    Raises:
        ValueError: if the grid cannot be learned, or the solver has no coefficients and these alone are asked for.
    """

    def __init__(self, init: Grid, solver: Solver, shared_clock: bool, phases: Sequence[Phase], depth: int) -> None:
        super().__init__()
        self.solver = solver
        self.grid = LearnedGrid(init, shared_clock)
        learned = "coefficients" in phases or ("all" in phases and not solver.reevaluate)
        self.coefficients = LearnedCoefficients(solver, self.grid.factors, init.n_steps, depth) if learned else None

    def forward(self) -> tuple[Grid, Solver]:
        """The grid and the solver of this moment."""
        return self.grid(), self.solver if self.coefficients is None else self.coefficients()

    @property
    def has_coefficients(self) -> bool:
        """Whether a coefficient is not zero."""
        return self.coefficients is not None and any(bool(p.any()) for p in self.coefficients.parameters())

    def select(self, phase: Phase) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Let only the parameters of `phase` move; returns those of them that are times, and coefficients."""
        network = self.grid.network_parameters()
        weights = [] if self.coefficients is None else list(self.coefficients.parameters())
        for parameter in self.grid.gaps:
            parameter.requires_grad_(phase != "coefficients")
        for parameter in network:
            parameter.requires_grad_(phase in ("joint", "all"))
        for parameter in weights:
            parameter.requires_grad_(phase in WITH_COEFFICIENTS)
        return [p for p in self.grid.parameters() if p.requires_grad], [p for p in weights if p.requires_grad]

    def variables(self, phase: Phase, coefficient_unit: float) -> list[Variable]:
        """Let only the parameters of `phase` move; these with their units and the bounds that they have."""
        times, weights = self.select(phase)
        offsets = {id(parameter) for parameter in self.grid.first_offset}
        lowest = [0.0 if id(parameter) in offsets else -math.inf for parameter in times]
        bounded = [Variable(parameter, lowest=low) for parameter, low in zip(times, lowest, strict=True)]
        return [*bounded, *(Variable(parameter, coefficient_unit) for parameter in weights)]
