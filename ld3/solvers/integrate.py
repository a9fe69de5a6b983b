"""The one loop that takes a state from noise to data, and the vocabulary in which solvers are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint as recompute

from ld3.flow import ProbabilityFlow
from ld3.grid import Grid
from ld3.state import Levels, State, Tangent


class Node(NamedTuple):
    """What one factor remembers of one evaluation of the network.

    Attributes:
        lam: solver level λ of the node, shape ().
        noise: ε̂ there, tangent of shape (B, ...).
        clean: displacement from the *current* point to the clean prediction made there, tangent of shape (B, ...).
    """

    lam: Tensor
    noise: Tensor
    clean: Tensor


Rule = Callable[[Sequence[Node], Tensor], Tensor]
"""(history, newest last; λ_next) -> displacement of one factor, from the start of the step to λ_next.

A rule has the order for which it is handed nodes. A predictor starts from the newest node; a corrector from the one
before, the newest then being the predicted arrival at λ_next itself. All `clean` are measured from the start point.
"""


@final
@dataclass(frozen=True)
class Solver:
    """A predictor rule, perhaps a corrector rule, and how they are used.

    Attributes:
        name: name in the registry.
        family: the method, without variant and order.
        order: of convergence; a multistep predictor is handed this many nodes once there are enough.
        predictor: rule from the newest node onwards.
        corrector: rule that repeats the step with the evaluation at its arrival.
        reevaluate: evaluate again at the corrected point (Heun: 2 NFE a step; the last node has no network level of its
            own, so the network is told the solver's) instead of keeping the evaluation at the predicted one (UniPC: 1
            NFE a step, and no corrector after the last).
        cool_down: lower the order to the number of steps left, so that the last step is of order 1.
        finite_end: the rules cannot take a step to λ = +inf.
    """

    name: str
    family: str
    order: int
    predictor: Rule
    corrector: Rule | None = None
    reevaluate: bool = False
    cool_down: bool = False
    finite_end: bool = False

    @property
    def nfe_per_step(self) -> int:
        """Evaluations of the network per step."""
        return 2 if self.reevaluate else 1

    def steps(self, nfe: int) -> int:
        """The number of steps that spends exactly `nfe` evaluations.

        Raises:
            ValueError: if there is none.
        """
        if nfe < self.nfe_per_step or nfe % self.nfe_per_step:
            raise ValueError(f"nfe must be a positive multiple of {self.nfe_per_step} for {self.name}, got {nfe}")
        return nfe // self.nfe_per_step


def integrate(
    flow: ProbabilityFlow[State],
    x: State,
    grid: Grid,
    solver: Solver,
    *,
    checkpoint: bool = False,
    on_step: Callable[[int, int, State], None] | None = None,
) -> State:
    """Solve dx̂ = ε dσ̂ from the first to the last node of `grid`; differentiable in `x` and in the grid.

    Args:
        flow: the model.
        x: B samples at the noise level of the first node, usually `flow.prior(B, generator)`.
        grid: N steps.
        solver: how to take them.
        checkpoint: keep no activations of the network; compute them again in the backward pass.
        on_step: called as `on_step(i, N, x)` after step i = 1..N.

    Returns:
        B samples at the last node.

    Raises:
        ValueError: if the grid is not valid, has other factors than the flow, or ends where the solver cannot go.
    """
    _check(flow, grid, solver)
    n_steps = grid.n_steps
    nodes = [_at(grid.solver, i) for i in range(n_steps + 1)]
    told = [*(_at(grid.network, i) for i in range(n_steps)), nodes[-1]]

    def evaluate(x: State, i: int) -> Mapping[str, Node]:
        """The only place where the network runs."""
        if checkpoint:
            clean: Tangent = recompute(flow.displacement, x, told[i], use_reentrant=False)
        else:
            clean = flow.displacement(x, told[i])
        return {name: Node(nodes[i][name], -d * torch.exp(told[i][name]), d) for name, d in clean.items()}

    history: list[Mapping[str, Node]] = []
    for i in range(n_steps):
        order = min(solver.order, i + 1, n_steps - i if solver.cool_down else n_steps)
        if i == 0 or solver.corrector is None or solver.reevaluate:
            history.append(evaluate(x, i))
        history = history[-order:]
        move = _apply(solver.predictor, history, nodes[i + 1])

        if solver.corrector is not None and (solver.reevaluate or i + 1 < n_steps):
            arrival = evaluate(flow.retract(x, move), i + 1)
            history.append(_seen_from(arrival, {name: -u for name, u in move.items()}))
            move = _apply(solver.corrector, history, nodes[i + 1])

        x = flow.retract(x, move)
        history = [_seen_from(node, move) for node in history]
        if solver.reevaluate:
            history.clear()
        if on_step is not None:
            on_step(i + 1, n_steps, x)
    return x


def _apply(rule: Rule, history: Sequence[Mapping[str, Node]], lam_next: Levels) -> Tangent:
    """The displacement of every factor."""
    return {name: rule([node[name] for node in history], lam_next[name]) for name in lam_next}


def _seen_from(node: Mapping[str, Node], move: Tangent) -> Mapping[str, Node]:
    """The node re-based to the point that lies `move` further: d becomes d - u.

    Exact on R^n and on tori; on SO(3) right to second order, and unlike re-basing by exp and log it still converges
    when a displacement is longer than π.
    """
    return {name: kept._replace(clean=kept.clean - move[name]) for name, kept in node.items()}


def _at(levels: Levels, i: int) -> Levels:
    return {name: values[i] for name, values in levels.items()}


def _check(flow: ProbabilityFlow[State], grid: Grid, solver: Solver) -> None:
    grid.validated()
    if grid.solver.keys() != flow.clock.schedules.keys():
        raise ValueError(f"grid must have the flow's factors {sorted(flow.clock.schedules)}, got {sorted(grid.solver)}")
    for name, levels in grid.solver.items():
        if solver.finite_end and torch.isinf(levels[-1]):
            raise ValueError(f"grid must end at a finite λ for {solver.name}, got solver[{name!r}] = +inf")
