"""Solving a flow: every question of a solver answered by the network."""

from __future__ import annotations

from collections.abc import Callable

from torch.utils.checkpoint import checkpoint as recompute

from ld3.flow import ProbabilityFlow
from ld3.grids.grid import Grid
from ld3.solvers.solve import OnStep, solve
from ld3.solvers.solver import Solver
from ld3.state import Levels, State, Tangent


def integrate(
    flow: ProbabilityFlow[State],
    x: State,
    grid: Grid,
    solver: Solver,
    *,
    checkpoint: bool = False,
    on_step: OnStep[State] | None = None,
    noise: Callable[[Tangent], Tangent] | None = None,
) -> State:
    """Solve dx̂ = c ε dσ̂ from the first to the last node of `grid`; differentiable in `x` and in the grid, also where
    a stochastic solver adds noise on the way.

    Args:
        flow: the model; c is the score scale of its clock.
        x: B samples at the noise level of the first node, usually `flow.prior(B, generator)`.
        grid: N steps.
        solver: how to take them.
        checkpoint: keep no activations of the network; compute them again in the backward pass.
        on_step: called as `on_step(i, N, x)` after step i = 1..N.
        noise: for a stochastic solver, see :func:`ld3.solvers.solve`.

    Returns:
        B samples at the last node.

    Raises:
        ValueError: if the grid has other factors or another score scale than the flow, or ends where the solver cannot
            go, the solver's coefficients are of another grid, a stochastic solver is given no noise, or the solver has
            a `data_mean` and the flow no `to_mean`.
    """
    if grid.solver.keys() != flow.clock.schedules.keys():
        raise ValueError(f"grid must have the flow's factors {sorted(flow.clock.schedules)}, got {sorted(grid.solver)}")
    if grid.score_scale != flow.clock.score_scale:
        raise ValueError(
            f"grid must be for the flow's score scale {flow.clock.score_scale:g}, got one for {grid.score_scale:g}; "
            f"make or learn one at {flow.clock.score_scale:g}, or take its levels as they are with "
            f"grid.at({flow.clock.score_scale:g})"
        )

    def evaluate(x: State, levels: Levels) -> Tangent:
        if not checkpoint:
            return flow.displacement(x, levels)
        displacement: Tangent = recompute(flow.displacement, x, levels, use_reentrant=False)
        return displacement

    mean = solver.data_mean
    to_mean = None if mean is None else lambda x: flow.to_mean(x, mean)
    steps = solve(x, grid, solver, flow.retract, on_step, noise, to_mean)
    question = next(steps)
    while True:
        try:
            question = steps.send(evaluate(*question))
        except StopIteration as end:
            return end.value
