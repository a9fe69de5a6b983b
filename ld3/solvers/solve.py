"""The one loop that takes a state from noise to data, as a generator that asks for each evaluation."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence

import torch
from torch import Tensor

from ld3.grids.grid import Grid
from ld3.solvers.coefficients import Basis
from ld3.solvers.node import Node, Rule
from ld3.solvers.solver import Solver, Spread
from ld3.state import Levels, State, Tangent

OnStep = Callable[[int, int, State], None]
"""Called as on_step(i, N, x) after step i = 1..N."""


def solve(
    x: State,
    grid: Grid,
    solver: Solver,
    retract: Callable[[State, Tangent], State],
    on_step: OnStep[State] | None = None,
    noise: Callable[[Tangent], Tangent] | None = None,
    to_mean: Callable[[State], Tangent] | None = None,
) -> Generator[tuple[State, Levels], Tangent, State]:
    """Take the steps of `solver` on `grid`, evaluation by evaluation.

    Yields (state, levels): where the network is to be evaluated, and the λ that it is given there. Is sent the
    displacement there (:meth:`ld3.flow.ProbabilityFlow.displacement`). Returns the state at the last node.

    The steps are taken in λ' = cλ, with c the grid's score scale: there dx̂ = c ε dσ̂ is the plain flow of the same clean
    predictions.

    Args:
        x: B samples at the noise level of the first node.
        grid: N steps.
        solver: how to take them.
        retract: moves each sample by its tangent.
        on_step: called after every step.
        noise: standard normal numbers like a tangent, asked for in every step but the last by a stochastic solver.
        to_mean: the displacement to the mean of the data, for a solver that takes its first step with that.

    Raises:
        ValueError: at the first `next`, if the grid ends where the solver cannot go, the solver's coefficients are
            of another grid, a stochastic solver is given no noise, or one with an analytical first step no `to_mean`.
    """
    if solver.spread is not None and noise is None:
        raise ValueError(f"noise must be given for {solver.name}, which is stochastic")
    if solver.data_mean is not None and to_mean is None:
        raise ValueError(f"to_mean must be given for {solver.name} with a data_mean")
    if solver.coefficients is not None:
        solver.coefficients.check(grid, corrects=solver.corrector is not None)
    stops = grid.stops
    for name, levels in stops.items():
        if solver.finite_end and torch.isinf(levels[-1]):
            raise ValueError(f"grid must end at a finite λ for {solver.name}, got solver[{name!r}] = +inf")
    n_steps, c = grid.n_steps, grid.score_scale
    learned = solver.coefficients
    memory = max(solver.order, learned.depth) if learned else solver.order
    nodes = [{name: c * levels[i] for name, levels in stops.items()} for i in range(n_steps + 1)]
    asked = [*(_at(grid.network, i) for i in range(n_steps)), _at(stops, n_steps)]

    def node(i: int, clean: Tangent) -> Mapping[str, Node]:
        return {name: Node(nodes[i][name], -d * torch.exp(c * asked[i][name]), d) for name, d in clean.items()}

    history: list[Mapping[str, Node]] = []
    for i in range(n_steps):
        order = min(solver.order, i + 1, n_steps - i if solver.cool_down else n_steps)
        if i == 0 and solver.data_mean is not None and to_mean is not None:
            history.append(node(i, to_mean(x)))
        elif i == 0 or solver.corrector is None or solver.reevaluate:
            history.append(node(i, (yield x, asked[i])))
        history = history[-memory:]
        move = _apply(solver.predictor, history[-order:], nodes[i + 1])
        if learned:
            move = _add(move, _learned(solver.basis, _at(learned.predictor, i), history, nodes[i], nodes[i + 1]))

        if solver.corrector is not None and (solver.reevaluate or i + 1 < n_steps):
            arrival = node(i + 1, (yield retract(x, move), asked[i + 1]))
            history.append(_seen_from(arrival, {name: -u for name, u in move.items()}))
            move = _apply(solver.corrector, history[-order - 1 :], nodes[i + 1])
            if learned:
                move = _add(move, _learned(solver.basis, _at(learned.corrector, i), history, nodes[i], nodes[i + 1]))

        if solver.spread is not None and noise is not None and i + 1 < n_steps:
            fresh = noise(move)
            move = _add(move, {name: _spread(solver.spread, name, stops[name], i, c) * fresh[name] for name in move})
        x = retract(x, move)
        history = [_seen_from(kept, move) for kept in history]
        if solver.reevaluate:
            history.clear()
        if on_step is not None:
            on_step(i + 1, n_steps, x)
    return x


def _apply(rule: Rule | Mapping[str, Rule], history: Sequence[Mapping[str, Node]], lam_next: Levels) -> Tangent:
    """The displacement of every factor."""
    rules = dict.fromkeys(lam_next, rule) if callable(rule) else rule
    return {name: rules[name]([node[name] for node in history], lam_next[name]) for name in lam_next}


def _spread(spread: Spread | Mapping[str, Spread], name: str, levels: Tensor, i: int, score_scale: float) -> Tensor:
    """Standard deviation of the noise of step `i`."""
    own = spread if callable(spread) else spread[name]
    return own(levels[i], levels[i + 1], score_scale)


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
