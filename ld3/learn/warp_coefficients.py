"""Solver coefficients for every number of steps: weights as functions of progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import final

import torch
from torch import Tensor, nn

from ld3.saved_values import table
from ld3.solvers.coefficients import Coefficients
from ld3.solvers.solver import Solver


@final
class WarpCoefficients(nn.Module):
    """What is added to a multistep solver's weights in step i of N, for the answer of j steps ago:

        w_ij = f/N (a_j(s) + b_j(s) f/N + c_ij),   s = i/(N - 1),

    with f the fewest steps it is meant for, a_j and b_j straight between M knots evenly spaced in [0, 1], and c_ij for
    the first K - 1 steps alone, which have fewer answers than the others and are steps of another solver. The more
    steps there are, the nearer the solver is to the published one. A corrector's weights likewise, the arrival as one
    answer more. All parameters are zero at first: the published solver.

    Args:
        solver: whose weights to correct.
        factors: of the flow.
        fewest: f.
        depth: K, answers that are weighed.
        knots: M.
        shared: one set of weights for all factors, or one per factor.

    Raises:
        ValueError: if the solver remembers nothing from step to step.
    """

    def __init__(
        self, solver: Solver, factors: Sequence[str], fewest: int, depth: int, knots: int, shared: bool = True
    ) -> None:
        super().__init__()
        if solver.reevaluate:
            raise ValueError(f"solver must be a multistep solver to have learned coefficients, got {solver.name}")
        self.solver, self.factors, self.fewest, self.shared = solver, tuple(factors), fewest, shared
        sets = 1 if shared else len(self.factors)

        def zeros(answers: int) -> nn.ParameterList:
            """a and b at the knots, and c."""
            return nn.ParameterList(
                [torch.zeros(2 * knots + depth - 1, answers, dtype=torch.float64) for _ in range(sets)]
            )

        self.knots, self.depth = knots, depth
        self.predictor = zeros(depth)
        self.corrector = zeros(depth + 1) if solver.corrector is not None else None

    def forward(self, n: int) -> Solver:
        """The solver of `n` steps, differentiable in the parameters."""
        corrector = {} if self.corrector is None else self._tables(self.corrector, n)
        return replace(self.solver, coefficients=Coefficients(self._tables(self.predictor, n), corrector))

    def _tables(self, parts: nn.ParameterList, n: int) -> dict[str, Tensor]:
        tables = [self._table(part, n) for part in parts]
        return {factor: tables[0 if self.shared else k] for k, factor in enumerate(self.factors)}

    def _table(self, part: Tensor, n: int) -> Tensor:
        """(n, answers), the newest last."""
        share = min(1.0, self.fewest / n)
        curve, drift, first = part.split([self.knots, self.knots, self.depth - 1])
        weights = straight(curve + share * drift, torch.linspace(0, 1, n, dtype=torch.float64))
        early = min(n, self.depth - 1)
        return share * torch.cat([weights[:early] + first[:early], weights[early:]])

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON; loses no digit. The solver goes beside it."""
        sizes = {"fewest": self.fewest, "depth": self.depth, "knots": self.knots, "shared": self.shared}
        return {**sizes, "parameters": {name: value.tolist() for name, value in self.state_dict().items()}}

    @classmethod
    def from_dict(cls, content: object, solver: Solver, factors: Sequence[str]) -> WarpCoefficients:
        """What `to_dict` gave, for the same solver and factors.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: if `content` is anything else.
        """
        found = dict(table("coefficients", content))
        parameters: Mapping[str, object] = table("parameters", found.pop("parameters"))
        made = cls(solver, factors, **found)  # type: ignore[arg-type]
        made.load_state_dict({name: torch.tensor(value, dtype=torch.float64) for name, value in parameters.items()})
        if not all(parameter.isfinite().all() for parameter in made.parameters()):
            raise ValueError("coefficients must be finite")
        return made


def straight(knots: Tensor, at: Tensor) -> Tensor:
    """Straight lines through `knots` (M, K), evenly spaced over [0, 1], at positions (n,) in [0, 1]: (n, K)."""
    if len(knots) == 1:
        return knots.expand(len(at), -1)
    place = at * (len(knots) - 1)
    left = place.long().clamp(max=len(knots) - 2)
    part = (place - left)[:, None]
    return knots[left] + part * (knots[left + 1] - knots[left])
