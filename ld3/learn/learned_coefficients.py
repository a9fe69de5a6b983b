"""Solver coefficients with parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ld3.solvers.coefficients import Coefficients
from ld3.solvers.solver import Solver


class LearnedCoefficients(nn.Module):
    """What is added to a multistep solver's weights, one number per step, node and factor; zeros are the published
    solver. A solver that has coefficients already is learned further from these.

    Args:
        solver: whose weights to correct.
        factors: of the flow.
        n_steps: of the grid.
        depth: K, nodes that the solver remembers; 0 = as many as its own order needs. As many as the grid has steps, or
            more, are all.

    Raises:
        ValueError: if the solver remembers nothing from step to step, or has coefficients of other sizes.
    """

    def __init__(self, solver: Solver, factors: Sequence[str], n_steps: int, depth: int = 0) -> None:
        super().__init__()
        if solver.reevaluate:
            raise ValueError(f"solver must be a multistep solver to have learned coefficients, got {solver.name}")
        self.solver = solver
        self.factors = tuple(factors)
        depth = min(depth or solver.order, n_steps)
        self.predictor = self._zeros(n_steps, depth)
        self.corrector = self._zeros(n_steps, depth + 1) if solver.corrector is not None else None
        if solver.coefficients is not None:
            self._begin_from(solver.coefficients)

    def forward(self) -> Solver:
        """The solver with its coefficients, differentiable in the parameters."""
        corrector = {} if self.corrector is None else self._by_factor(self.corrector)
        return replace(self.solver, coefficients=Coefficients(self._by_factor(self.predictor), corrector))

    def _begin_from(self, known: Coefficients) -> None:
        parts = [(self.predictor, known.predictor)]
        if self.corrector is not None:
            parts.append((self.corrector, known.corrector))
        for tables, given in parts:
            for factor, table in self._by_factor(tables).items():
                weights = given[factor]
                if weights.shape != table.shape:
                    raise ValueError(
                        f"solver.coefficients must be of shape {tuple(table.shape)} to be learned further, "
                        f"got {tuple(weights.shape)}"
                    )
                table.data.copy_(weights)

    def _by_factor(self, tables: nn.ParameterList) -> dict[str, Tensor]:
        return dict(zip(self.factors, tables, strict=True))

    def _zeros(self, n_steps: int, depth: int) -> nn.ParameterList:
        return nn.ParameterList([torch.zeros(n_steps, depth, dtype=torch.float64) for _ in self.factors])
