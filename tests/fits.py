"""Fits as they would have been saved, without the fitting."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ld3 import Clock, Grid, VPSteps
from ld3.learn import FitResult
from ld3.path_points import trace
from ld3.schedules import Schedule
from ld3.solvers import Coefficients, get_solver

F64 = torch.float64
SD = VPSteps("scaled_linear", 0.00085, 0.012)


def saved_fit(
    schedule: Schedule,
    solver: str,
    *,
    n: int = 4,
    own_levels: bool = False,
    coefficients: Coefficients | None = None,
    score_scale: float = 1.0,
    clean_end: bool = False,
    factors: Sequence[str] = ("x",),
) -> FitResult:
    """A fit whose grid is anything but regular."""
    clock = Clock(dict.fromkeys(factors, schedule), score_scale, clean_end)
    start, end = clock.bounds[factors[0]]
    share = torch.linspace(0, 1, n + 1, dtype=F64) ** 0.8
    levels = start + (end - start) * share
    told = levels[:-1] + (0.3 * levels.diff() if own_levels else 0.0)
    solver_levels, network_levels = (dict.fromkeys(factors, values) for values in (levels, told))
    grid = Grid(solver_levels, network_levels, "learned from edm", score_scale, clean_end)
    return FitResult(
        grid=grid,
        solver=solver,
        coefficients=coefficients,
        nfe=n * get_solver(solver).nfe_per_step,
        initial_grid="edm",
        hand_made={"edm": 0.2},
        loss_hand_made=0.2,
        loss_initial=0.2,
        loss_learned=0.1,
        test=None,
        curve=(),
        network_evaluations=0,
        gradient_evaluations=0,
        failed=0,
        dropped=0,
        seconds=0.0,
        config={},
        flow="",
        path=trace(clock, grid),
    )


def learned_weights(n: int, corrects: bool) -> Coefficients:
    generator = torch.Generator().manual_seed(3)
    table = {"x": 0.1 * torch.randn(n, 3, generator=generator, dtype=F64)}
    return Coefficients(table, {"x": 0.1 * torch.randn(n, 4, generator=generator, dtype=F64)} if corrects else {})
