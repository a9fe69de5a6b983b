"""Grids of benchmarks: what fits of them cost, which are equal, and those that an earlier run saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from benchmarks.common.options import mistake
from domains.errors import InputError, InputProblem
from ld3.clock import Clock
from ld3.grids import HAND_MADE, Grid
from ld3.learn import FitConfig, FitResult, Pairs
from ld3.solvers import Solver
from ld3.state import State, take

_FINE_STEPS: Final = 60  # of GITS' trajectories in the paper (arXiv 2405.11326)


def same_as(grids: Mapping[str, Grid]) -> dict[str, str]:
    """Name of a grid -> the earlier one that takes the same steps, for those that have one."""
    found: dict[str, str] = {}
    for name, grid in grids.items():
        twin = next((other for other in grids if grids[other].equals(grid)), name)
        if twin != name:
            found[name] = twin
    return found


def fit_split(pairs: int) -> tuple[int, int]:
    """How many pairs train, and how many choose the best grid: one in five."""
    valid = max(1, pairs // 5)
    return pairs - valid, valid


def finite_part(pairs: Pairs[State], finite: Tensor, part: slice) -> Pairs[State]:
    """The pairs of `part` whose ends are finite.

    Args:
        pairs: B of them.
        finite: which are, (B,), bool.
        part: of B.
    """
    rows = torch.arange(len(finite))[part]
    rows = rows[finite[part]]
    return replace(pairs, start=take(pairs.start, rows), end=take(pairs.end, rows))


def fit_work(config: FitConfig, train: int, valid: int, nfe: int, more_starts: int) -> float:
    """The most evaluations that a fit can make.

    Args:
        config: of the fit.
        train, valid: numbers of pairs.
        nfe: evaluations that a pair costs.
        more_starts: grids to start from besides those made by hand.
    """
    rounds = len(config.phases) * config.steps
    validations = len(HAND_MADE) + more_starts + rounds // config.validate_every
    return nfe * (validations * valid + rounds * (min(config.batch, train) or train))


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
