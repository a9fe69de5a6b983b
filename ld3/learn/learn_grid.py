"""A learned grid in one call: teacher pairs, some of them for validation, and the fit."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from ld3.flow import ProbabilityFlow
from ld3.grids.grid import Grid
from ld3.learn.config import FitConfig
from ld3.learn.fit import check_fit, fit, most_evaluations
from ld3.learn.result import FitResult, Point
from ld3.learn.teacher import Teacher, run_teacher
from ld3.solvers import Solver, get_solver
from ld3.state import State, size


def learn_grid(
    flow: ProbabilityFlow[State],
    nfe: int,
    *,
    solver: Solver | str = "dpmpp_2m",
    start: State | int = 512,
    generator: torch.Generator | None = None,
    config: FitConfig | None = None,
    teacher: Teacher | None = None,
    starting_grids: Mapping[str, Grid] | None = None,
    folder: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> FitResult:
    """Learn where `nfe` evaluations of the network go.

    Args:
        flow: the model.
        nfe: evaluations per sample.
        solver: that takes the steps.
        start: how many samples of the prior the teacher starts from, or these samples; one in five is for validation.
        generator: of the samples, on the device of the flow; on the CPU with the seed of `config` if None.
        config: of the fit; the defaults if None. Its seed also chooses the pairs for validation.
        teacher: that it learns from; the defaults if None.
        starting_grids: grids to start from besides the hand-made ones, by name.
        folder: where teacher runs and the fit are saved on the way; what was interrupted there goes on.
        on_progress: called with the network evaluations made so far, per sample, and the most that there can be.

    Returns:
        What the fit found; the teacher's own evaluations are not counted in it.

    Raises:
        ValueError, TypeError: before anything is computed, if the parts do not go together or the flow cannot be
            hashed; and if nothing is left to learn from or to choose by.

    Warns:
        UserWarning: if the teacher misses its tolerance at twice its steps.
    """
    config, teacher = config or FitConfig(), teacher or Teacher()
    rule = get_solver(solver) if isinstance(solver, str) else solver
    check_fit(flow, rule, nfe, config, starting_grids or {})
    if isinstance(start, int):
        start = flow.prior(start, generator or torch.Generator().manual_seed(config.seed))
    if size(start) < 2:
        raise ValueError(f"start must hold at least 2 samples, to learn from and to choose by, got {size(start)}")
    of_teacher, n_valid = teacher.evaluations(size(start)), size(start) // 5 or 1
    most = of_teacher + most_evaluations(config, size(start) - n_valid, n_valid, nfe, len(starting_grids or {}))

    def during_teacher(done: int, _: int) -> None:
        if on_progress is not None:
            on_progress(done, most)

    def during_fit(point: Point) -> None:
        if on_progress is not None:
            on_progress(of_teacher + point.network_evaluations, most)

    pairs = run_teacher(flow, start, teacher, folder and folder / "teacher", during_teacher)
    if not pairs.converged:
        warnings.warn(
            f"the teacher has not converged: at twice its {teacher.nfe} evaluations, samples end "
            f"{pairs.disagreement.median():.3g} apart (median), more than teacher.tolerance = {teacher.tolerance:g}; "
            "give it more evaluations",
            stacklevel=2,
        )
    train, valid = pairs.split(config.seed)
    return fit(
        flow,
        train,
        valid,
        rule,
        nfe,
        config,
        starting_grids=starting_grids,
        folder=folder and folder / "fit",
        on_progress=during_fit,
    )
