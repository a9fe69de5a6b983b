"""Samples of a flow, in one call."""

from __future__ import annotations

import torch

from ld3.flow import ProbabilityFlow
from ld3.grids.grid import Grid
from ld3.learn.result import FitResult
from ld3.solvers import OnStep, Solver, get_solver, integrate
from ld3.state import State


@torch.no_grad()
def sample(
    flow: ProbabilityFlow[State],
    method: FitResult | Grid,
    start: State | int,
    generator: torch.Generator | None = None,
    *,
    solver: Solver | str = "dpmpp_2m",
    on_step: OnStep[State] | None = None,
) -> State:
    """Solve the flow from its prior.

    Args:
        flow: the model.
        method: a fit, whose solver goes with it; or a grid.
        start: how many samples of the prior, or B samples of it.
        generator: of the samples, on the device of the flow; on the CPU with seed 0 if None.
        solver: for a grid.
        on_step: called as `on_step(i, N, x)` after step i = 1..N.

    Returns:
        B samples where the grid ends.

    Raises:
        ValueError: if the grid does not go with the flow, or does not begin at the prior.
    """
    if isinstance(method, FitResult):
        grid, rule = method.grid, method.student()
        if problem := grid.mismatch(flow.clock):
            raise ValueError(f"method must have been learned for the flow: {problem}")
    else:
        grid, rule = method, get_solver(solver) if isinstance(solver, str) else solver
        if problem := grid.mismatch(flow.clock, end=False):
            raise ValueError(f"method must begin at the prior of the flow: {problem}")
    x = flow.prior(start, generator or torch.Generator().manual_seed(0)) if isinstance(start, int) else start
    return integrate(flow, x, grid, rule, on_step=on_step)
