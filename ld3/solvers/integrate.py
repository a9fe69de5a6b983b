"""The one loop that takes a state from noise to data, and the vocabulary in which solvers are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint as recompute

from ld3.flow import ProbabilityFlow
from ld3.grids.grid import Grid
from ld3.solvers.coefficients import Basis, Coefficients, clean_basis
from ld3.solvers.node import Node, Rule
from ld3.state import Levels, State, Tangent


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
        basis: what learned coefficients weigh.
        coefficients: learned, to be added to the weights of the rules; None leaves them as published.
    """

    name: str
    family: str
    order: int
    predictor: Rule
    corrector: Rule | None = None
    reevaluate: bool = False
    cool_down: bool = False
    finite_end: bool = False
    basis: Basis = clean_basis
    coefficients: Coefficients | None = None

    @property
    def nfe_per_step(self) -> int:
        """Evaluations of the network per step."""
        return 2 if self.reevaluate else 1

    @property
    def multistep(self) -> bool:
        """Whether a step uses what the network said in earlier ones."""
        return not self.reevaluate and (self.order > 1 or self.corrector is not None)

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
        ValueError: if the grid is not valid, has other factors than the flow, or ends where the solver cannot go, or if
            the solver's coefficients are of another grid.
    """
    _check(flow, grid, solver)
    n_steps = grid.n_steps
    learned = solver.coefficients
    memory = max(solver.order, learned.depth) if learned else solver.order
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
        history = history[-memory:]
        move = _apply(solver.predictor, history[-order:], nodes[i + 1])
        if learned:
            move = _add(move, _learned(solver.basis, _at(learned.predictor, i), history, nodes[i], nodes[i + 1]))

        if solver.corrector is not None and (solver.reevaluate or i + 1 < n_steps):
            arrival = evaluate(flow.retract(x, move), i + 1)
            history.append(_seen_from(arrival, {name: -u for name, u in move.items()}))
            move = _apply(solver.corrector, history[-order - 1 :], nodes[i + 1])
            if learned:
                move = _add(move, _learned(solver.basis, _at(learned.corrector, i), history, nodes[i], nodes[i + 1]))

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


def _learned(
    basis: Basis, weights: Mapping[str, Tensor], history: Sequence[Mapping[str, Node]], start: Levels, end: Levels
) -> Tangent:
    """Σ_k w_k basis(node_k) over the last nodes, factor by factor; w of shape (K,), the newest node's last."""
    out = {}
    for name, own in weights.items():
        nodes = [node[name] for node in history[-len(own) :]]
        terms = [w * basis(node, start[name], end[name]) for w, node in zip(own[-len(nodes) :], nodes, strict=True)]
        out[name] = torch.stack(terms).sum(0)
    return out


def _add(a: Tangent, b: Tangent) -> Tangent:
    return {name: a[name] + b[name] for name in a}


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
    if solver.coefficients is not None:
        solver.coefficients.check(grid, corrects=solver.corrector is not None)
    for name, levels in grid.solver.items():
        if solver.finite_end and torch.isinf(levels[-1]):
            raise ValueError(f"grid must end at a finite λ for {solver.name}, got solver[{name!r}] = +inf")
