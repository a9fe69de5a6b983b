"""Learned solver coefficients: a multistep solver whose rule has parameters (S4S, arXiv 2502.17423).

Whatever its family, a rule is a weighted sum of what the network answered at the last nodes. Learned coefficients are
added to its weights, step by step and factor by factor; zeros leave the published solver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from ld3.grids.grid import Grid
from ld3.solvers.node import Node

Basis = Callable[[Node, Tensor, Tensor], Tensor]
"""(node, λ at the step's start, λ at its end) -> the tangent that a coefficient of 1 adds to the displacement."""


def clean_basis(node: Node, start: Tensor, end: Tensor) -> Tensor:
    """(1 - e^-h) d, for solvers in data prediction."""
    return -torch.expm1(start - end) * node.clean


def noise_basis(node: Node, start: Tensor, end: Tensor) -> Tensor:
    """(σ̂_end - σ̂_start) ε, for solvers in noise prediction."""
    return (torch.exp(-end) - torch.exp(-start)) * node.noise


@final
@dataclass(frozen=True)
class Coefficients:
    """Weights to be added to those of a solver's rules; float64.

    Attributes:
        predictor: factor -> (N, K), step by step, the newest node's last. With K above the solver's order the solver
            remembers K nodes; entries of nodes that do not exist yet are not used.
        corrector: factor -> (N, K+1), the arrival's last; empty for a solver that does not correct. The last row is
            not used, for UniPC does not correct its last step.
    """

    predictor: Mapping[str, Tensor]
    corrector: Mapping[str, Tensor]

    @property
    def depth(self) -> int:
        """K, how many nodes the solver remembers for them."""
        return next(iter(self.predictor.values())).shape[1]

    def check(self, grid: Grid, *, corrects: bool) -> None:
        """Do nothing if they fit the grid.

        Raises:
            ValueError: naming the part and factor with other steps or factors than `grid`, or a corrector's weights
                where there is none or none where there is one.
        """
        if bool(self.corrector) != corrects:
            raise ValueError(f"coefficients.corrector must {'not be' if corrects else 'be'} empty for this solver")
        for name, part, depth in (
            ("predictor", self.predictor, self.depth),
            ("corrector", self.corrector, self.depth + 1),
        ):
            if part and part.keys() != grid.solver.keys():
                raise ValueError(
                    f"coefficients.{name} must have the grid's factors {sorted(grid.solver)}, got {sorted(part)}"
                )
            for factor, weights in part.items():
                if weights.shape != (grid.n_steps, depth):
                    raise ValueError(
                        f"coefficients.{name}[{factor!r}] must have shape {(grid.n_steps, depth)}, "
                        f"got {tuple(weights.shape)}"
                    )

    def describe(self) -> str:
        """A table with a row per step and factor; columns are the nodes that are weighed, the newest last, and for a
        correction the arrival.
        """
        lines = [["step", "factor", "weights added to the solver's"]]
        for factor, weights in self.predictor.items():
            for step, row in enumerate(weights.tolist(), start=1):
                lines.append([str(step), factor, _signed(row[-step:])])
                if self.corrector and step < len(weights):
                    corrections = self.corrector[factor][step - 1].tolist()[-step - 1 :]
                    lines.append(["", factor, f"{_signed(corrections)}  (correction)"])
        widths = [max(len(line[column]) for line in lines) for column in range(2)]
        return "\n".join(f"{a.rjust(widths[0])}  {b.rjust(widths[1])}  {c}" for a, b, c in lines)

    def to_dict(self) -> dict[str, dict[str, list[list[float]]]]:
        """Plain lists, for JSON; loses no digit."""
        return {
            part: {factor: weights.tolist() for factor, weights in values.items()}
            for part, values in (("predictor", self.predictor), ("corrector", self.corrector))
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Mapping[str, Any]]) -> Coefficients:
        """What `to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: if `content` is anything else.
        """
        predictor, corrector = (
            {factor: torch.tensor(rows, dtype=torch.float64) for factor, rows in content[part].items()}
            for part in ("predictor", "corrector")
        )
        if not predictor or any(
            w.ndim != 2 or not w.isfinite().all() for w in (*predictor.values(), *corrector.values())
        ):
            raise ValueError("coefficients must be finite tables, one per factor")
        return cls(predictor, corrector)


def _signed(weights: Sequence[float]) -> str:
    return " ".join(f"{weight:+.4f}" for weight in weights)
