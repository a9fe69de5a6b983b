"""What the fits of benchmarks share: numbers of pairs, work, grids that an earlier run saved, entries in results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from benchmarks.common.options import mistake
from benchmarks.common.store import finite
from domains.errors import InputError, InputProblem
from ld3.clock import Clock
from ld3.grids import HAND_MADE
from ld3.learn import FitConfig, FitResult, Pairs
from ld3.solvers import Solver
from ld3.state import State, take

_FINE_STEPS: Final = 60  # of GITS' trajectories in the paper (arXiv 2405.11326)


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


def fit_entry(
    fit: FitResult, file: str, train: Pairs[Any] | None, valid: Pairs[Any] | None, teacher_evaluations: int | None
) -> dict[str, object]:
    """What a fit found and cost; pairs and `teacher_evaluations` are None for one that was read from a file."""
    return {
        "nfe": fit.nfe,
        "solver": fit.solver,
        "seconds": fit.seconds,
        "network_evaluations": fit.network_evaluations,
        "gradient_evaluations": fit.gradient_evaluations,
        "loss_hand": finite(fit.loss_hand_made),
        "loss_start": finite(fit.loss_initial),
        "loss_learned": finite(fit.loss_learned),
        "start": fit.initial_grid,
        "hand": {name: finite(loss) for name, loss in fit.hand_made.items()},
        # JSON has no infinity, which a limit may be.
        "config": {name: str(x) if x in (math.inf, -math.inf) else x for name, x in fit.config.items()},
        "file": file,
        "fitted_here": train is not None,
        "teacher_evaluations": teacher_evaluations,
        "n_train": None if train is None else len(train),
        "n_valid": None if valid is None else len(valid),
    }


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
    if problem := fit.grid.mismatch(clock):
        raise _unfit(path, f"its grid is of another noise range or score scale: {problem}", same_range)
    return fit


def _unfit(path: Path, message: str, remedy: str) -> InputError:
    return InputError(InputProblem(str(path), "", message, remedy))
