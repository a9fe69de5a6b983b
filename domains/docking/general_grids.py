"""Grids learned once for a model, on its training complexes, from which the fit for anybody's complexes starts.

They lie beside the weights: those of ``NAME.safetensors`` in the folder ``NAME.grids``, one file for each solver and
number of evaluations.
"""

from __future__ import annotations

from pathlib import Path

import torch

from domains.errors import InputError, InputProblem
from ld3.clock import Clock
from ld3.grid import Grid
from ld3.learn import FitResult

GENERAL = "general"
"""What a fit calls such a start."""

_SAME_END = 1e-6  # of λ


def grid_path(weights: Path, solver: str, nfe: int) -> Path:
    """Where the general grid of a model lies."""
    return weights.with_suffix(".grids") / f"{solver}_{nfe}.json"


def general_grid(weights: Path, solver: str, nfe: int, clock: Clock) -> Grid | None:
    """The model's general grid; None if there is none, or it was learned at another sharpness or for other factors.

    Raises:
        InputError: if the file is no saved fit.
    """
    path = grid_path(weights, solver, nfe)
    if not path.exists():
        return None
    try:
        grid = FitResult.load(path).grid
    except ValueError as error:
        remedy = "learn it again with domains.docking.learn_grids, or remove the file"
        raise InputError(
            InputProblem(str(path), "", f"it is no saved fit ({error.__cause__ or error})", remedy)
        ) from error
    if grid.solver.keys() != clock.bounds.keys():
        return None
    ends = {factor: torch.tensor(bounds, dtype=torch.float64) for factor, bounds in clock.bounds.items()}
    same = all(torch.allclose(grid.solver[f][[0, -1]], end, rtol=0, atol=_SAME_END) for f, end in ends.items())
    return grid if same else None
