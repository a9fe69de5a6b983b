"""Grids learned once for a model, on its training complexes: they need no fit, and a fit starts from them.

They lie beside the weights: those of ``NAME.safetensors`` in the folder ``NAME.grids``, those of a DiffDock release in
its folder ``grids``; one file for each solver and number of evaluations.
"""

from __future__ import annotations

from pathlib import Path

from domains.docking.networks.shipped import find_weights
from domains.docking.networks.weights import DockingModel
from domains.docking.settings import SOLVER
from domains.errors import InputError, InputProblem
from ld3.learn import FitResult
from ld3.solvers import get_solver


def grid_path(weights: Path, solver: str, nfe: int) -> Path:
    """Where the general grid of a model lies; its weights by name, or as a file or folder.

    Raises:
        InputError: if there are no weights of that name.
    """
    weights = find_weights(weights)
    folder = weights / "grids" if weights.is_dir() else weights.with_suffix(".grids")
    return folder / f"{solver}_{nfe}.json"


def general_fit(model: DockingModel, nfe: int, solver: str = SOLVER) -> FitResult | None:
    """The model's general grid, whatever score scale it was learned at; None if there is none, or if what lies there is
    made by hand, because none that was learned passed its test.

    Raises:
        InputError: if the file is no saved fit of that solver, number of evaluations and noise range.
    """
    path = model.path and grid_path(model.path, solver, nfe)
    if path is None or not path.exists():
        return None
    try:
        fit = FitResult.load(path)
        clock = model.noise_range.clock(fit.grid.score_scale)
        found = (fit.solver, fit.nfe, fit.grid.n_steps, fit.grid.solver.keys(), fit.coefficients)
        if found != (solver, nfe, get_solver(solver).steps(nfe), clock.bounds.keys(), None):
            raise ValueError("it is of another solver, number of evaluations or set of factors")
        if problem := fit.grid.mismatch(clock):
            raise ValueError(f"it is of another noise range: {problem}")
    except ValueError as error:
        remedy = "learn it again with domains.docking.learn_grids, or remove the file"
        message = f"it is no general grid of {solver} at {nfe} NFE ({error.__cause__ or error})"
        raise InputError(InputProblem(str(path), "", message, remedy)) from error
    return fit if fit.learned else None
