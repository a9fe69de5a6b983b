"""Learned grids that an earlier run saved, instead of fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.common.options import mistake
from domains.errors import InputError, InputProblem
from ld3.clock import Clock
from ld3.learn import FitResult
from ld3.solvers import Solver

_SAME_LEVEL = 1e-6  # of λ, when the ends of a saved grid are compared with those of the clock


def saved_grids(
    paths: Sequence[Path], numbers: Sequence[int], solver: Solver, clock: Clock, same_range: str
) -> Mapping[int, FitResult]:
    """NFE -> the fit that an earlier run saved; empty if none was given.

    Args:
        paths: files that `FitResult.save` wrote, one for each of `numbers`.
        numbers: the NFE that are asked for.
        solver: that the grids must have been learned for.
        clock: that they must run over.
        same_range: what to do about a grid that does not.

    Raises:
        InputError: if a file is no saved fit, or one of another solver, NFE, set of factors or noise range.
    """
    fits: dict[int, FitResult] = {}
    for path in paths:
        fit = _saved_grid(path, numbers, solver, clock, same_range)
        if fit.nfe in fits:
            raise _unfit(path, f"it is a second grid of {fit.nfe} NFE", "give one for each NFE")
        fits[fit.nfe] = fit
    if fits and (missing := [nfe for nfe in numbers if nfe not in fits]):
        raise mistake("grid", f"none of the files is a grid of {missing[0]} NFE", "give one for each number of --nfe")
    return fits


def _saved_grid(path: Path, numbers: Sequence[int], solver: Solver, clock: Clock, same_range: str) -> FitResult:
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
    if fit.grid.solver.keys() != clock.schedules.keys():
        factors = f"{', '.join(fit.grid.solver)}; the model has {', '.join(clock.schedules)}"
        raise _unfit(path, f"its grid is for the factors {factors}", again)
    if fit.grid.n_steps != solver.steps(fit.nfe):
        raise _unfit(path, f"its grid has {fit.grid.n_steps} steps, not {solver.steps(fit.nfe)}", again)
    for factor, ends in clock.bounds.items():
        found = fit.grid.solver[factor][[0, -1]].tolist()
        if any(abs(a - b) > _SAME_LEVEL for a, b in zip(found, ends, strict=True)):
            raise _unfit(path, f"its grid runs over another noise range in {factor}", same_range)
    return fit


def _unfit(path: Path, message: str, remedy: str) -> InputError:
    return InputError(InputProblem(str(path), "", message, remedy))
