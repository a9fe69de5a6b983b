"""Grids of benchmarks: which are equal, and those that an earlier run saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from domains.errors import InputError, InputProblem
from domains.options import mistake
from ld3.clock import Clock
from ld3.grids import Grid
from ld3.learn import FitResult
from ld3.solvers import Solver

_FINE_STEPS: Final = 60  # of GITS' trajectories in the paper (arXiv 2405.11326)


def same_as(grids: Mapping[str, Grid]) -> dict[str, str]:
    """Name of a grid -> the earlier one that takes the same steps, for those that have one."""
    found: dict[str, str] = {}
    for name, grid in grids.items():
        twin = next((other for other in grids if grids[other].equals(grid)), name)
        if twin != name:
            found[name] = twin
    return found


def fine_steps(finest: int) -> int:
    """Steps of the trajectories of GITS: as many as in the paper, and at least twice as many as the grid of `finest`
    steps, which has to be found among them.
    """
    return max(_FINE_STEPS, 2 * finest)


def saved_grids(
    paths: Sequence[Path], numbers: Sequence[int], solver: Solver, clock: Clock, other_model: str
) -> Mapping[int, FitResult]:
    """NFE -> the fit that an earlier run saved; empty if none was given.

    Args:
        paths: files that `FitResult.save` wrote, one for each of `numbers`.
        numbers: the NFE that are asked for.
        solver: that the grids must have been learned for.
        clock: that they must run over.
        other_model: what to do about a grid that does not.

    Raises:
        InputError: if a file is no saved fit, or one of another solver, NFE, set of factors or noise range.
    """
    fits: dict[int, FitResult] = {}
    for path in paths:
        fit = _saved_grid(path, numbers, solver, clock, other_model)
        if fit.nfe in fits:
            raise _unfit(path, f"it is a second grid of {fit.nfe} NFE", "give one for each NFE")
        fits[fit.nfe] = fit
    if fits and (missing := [nfe for nfe in numbers if nfe not in fits]):
        raise mistake("grid", f"none of the files is a grid of {missing[0]} NFE", "give one for each number of --nfe")
    return fits


def _saved_grid(path: Path, numbers: Sequence[int], solver: Solver, clock: Clock, other_model: str) -> FitResult:
    again = "fit again without --grid"
    try:
        fit = FitResult.load(path)
    except ValueError as error:
        cause = str(error).partition(": ")[2]  # after the file's name, which is said already
        raise _unfit(path, f"it is no saved fit ({cause})", again) from error
    if fit.solver != solver.name:
        raise _unfit(path, f"its grid was learned for {fit.solver}, not {solver.name}", f"use --solver {fit.solver}")
    if fit.nfe not in numbers:
        asked = " ".join(map(str, numbers))
        raise _unfit(path, f"its grid spends {fit.nfe} NFE, and --nfe asks for {asked}", f"use --nfe {fit.nfe}")
    if fit.grid.n_steps != solver.steps(fit.nfe):
        raise _unfit(path, f"its grid has {fit.grid.n_steps} steps, not {solver.steps(fit.nfe)}", again)
    if problem := fit.grid.mismatch(clock):
        raise _unfit(path, f"its grid does not go with the model: {problem}", other_model)
    return fit


def _unfit(path: Path, message: str, remedy: str) -> InputError:
    return InputError(InputProblem(str(path), "", message, remedy))
