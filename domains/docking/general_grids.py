"""Grids learned once for a model, on its training complexes, from which the fit for anybody's complexes starts.

They lie beside the weights: those of ``NAME.safetensors`` in the folder ``NAME.grids``, one file for each solver and
number of evaluations.
"""

from __future__ import annotations

from pathlib import Path

import torch

from domains.errors import InputError, InputProblem
from ld3.clock import Clock
from ld3.grids.grid import Grid
from ld3.learn import FitResult
from ld3.solvers import get_solver

GENERAL = "general"
"""What a fit calls such a start."""

_SAME_END = 1e-6  # of λ


def grid_path(weights: Path, solver: str, nfe: int) -> Path:
    """Where the general grid of a model lies."""
    return weights.with_suffix(".grids") / f"{solver}_{nfe}.json"


def general_grid(weights: Path, solver: str, nfe: int, clock: Clock) -> Grid | None:
    """The model's general grid; None if there is none, or it was learned at another score scale or noise range.

    Raises:
        InputError: if the file is no saved fit of that solver and number of evaluations.
    """
    path = grid_path(weights, solver, nfe)
    if not path.exists():
        return None
    try:
        fit = FitResult.load(path)
        steps = get_solver(solver).steps(nfe)
        found = (fit.solver, fit.nfe, fit.grid.n_steps, fit.grid.solver.keys(), fit.coefficients)
        if found != (solver, nfe, steps, clock.bounds.keys(), None):
            raise ValueError("it is of another solver, number of evaluations or set of factors")
    except ValueError as error:
        remedy = "learn it again with domains.docking.learn_grids, or remove the file"
        message = f"it is no general grid of {solver} at {nfe} NFE ({error.__cause__ or error})"
        raise InputError(InputProblem(str(path), "", message, remedy)) from error
    ends = {factor: torch.tensor(bounds, dtype=torch.float64) for factor, bounds in clock.bounds.items()}
    same = all(torch.allclose(fit.grid.solver[f][[0, -1]], end, rtol=0, atol=_SAME_END) for f, end in ends.items())
    return fit.grid if same else None
