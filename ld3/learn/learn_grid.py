"""A learned grid in one call: teacher pairs, some of them for validation, some for the final test, and the fit."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from ld3.flow import ProbabilityFlow
from ld3.grids.grid import Grid
from ld3.learn.checks import check_fit
from ld3.learn.config import FitConfig
from ld3.learn.fit import fit
from ld3.learn.loss import bounded
from ld3.learn.plan import most_evaluations
from ld3.learn.result import FitResult, Point
from ld3.learn.teacher import Pairs, Teacher, parts, run_teacher, too_coarse
from ld3.solvers import Solver, get_solver
from ld3.state import State, size

_LOOKED_AT: Final = 8  # of the teacher's samples, to see whether they are finite


def learn_grid(
    flow: ProbabilityFlow[State],
    nfe: int,
    *,
    solver: Solver | str = "dpmpp_2m",
    start: State | int = 640,
    groups: Tensor | None = None,
    generator: torch.Generator | None = None,
    config: FitConfig | None = None,
    teacher: Teacher | None = None,
    starting_grids: Mapping[str, Grid] | None = None,
    baselines: Mapping[str, Grid] | None = None,
    folder: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> FitResult:
    """Learn where `nfe` evaluations of the network go, and test it: unless what was learned is better than the best
    hand-made grid on pairs that chose neither, that grid comes back.

    Args:
        flow: the model.
        nfe: evaluations per sample.
        solver: that takes the steps.
        start: how many samples of the prior the teacher starts from, or these samples; one in five is for
            validation, and as many are for the final test, which needs at least 20.
        groups: which of the samples belong together, (n,) whole numbers: they are not divided between learning,
            validation and test, and count as one in the test. None = each for itself.
        generator: of the samples, on the device of the flow; on the CPU with the seed of `config` if None.
        config: of the fit; the defaults if None. Its seed also divides the pairs.
        teacher: that it learns from; the defaults if None.
        starting_grids: grids to start from besides the hand-made ones, by name.
        baselines: grids made without learning, by name: the fit may start from them, and is compared with them.
        folder: where teacher runs and the fit are saved on the way; what was interrupted there goes on.
        on_progress: called with the network evaluations made so far, per sample, and the most that there can be.

    Returns:
        What the fit found; the teacher's own evaluations are not counted in it.

    Raises:
        ValueError, TypeError: before anything is computed, if the parts do not go together or the flow cannot be
            hashed; and if the teacher reaches nothing finite, or nothing is left to learn from or to choose by.

    Warns:
        UserWarning: if the teacher is so far from twice its steps that it matters, beside how far the fit is from it.
    """
    config, teacher = config or FitConfig(), teacher or Teacher()
    rule = get_solver(solver) if isinstance(solver, str) else solver
    if rule.spread is not None:
        raise ValueError(f"solver must not be stochastic, as {rule.name} is: the teacher's ends are of other noise")
    given = {**(starting_grids or {}), **(baselines or {})}
    check_fit(flow, rule, nfe, config, given)
    if isinstance(start, int):
        start = flow.prior(start, generator or torch.Generator().manual_seed(config.seed))
    if size(start) < 2:
        raise ValueError(f"start must hold at least 2 samples, to learn from and to choose by, got {size(start)}")
    of_teacher, n = teacher.evaluations(size(start)), size(start)
    n_train, n_valid, n_test = parts(n)
    if groups is not None:
        if groups.shape != (n,):
            raise ValueError(f"groups must have shape ({n},), one for each sample, got {tuple(groups.shape)}")
        n_train = n_valid = n_test = n
    most = of_teacher + most_evaluations(config, n_train, n_valid, nfe, len(given), n_test)

    def during_teacher(done: int, _: int) -> None:
        if on_progress is not None:
            on_progress(done, most)

    def during_fit(point: Point) -> None:
        if on_progress is not None:
            on_progress(of_teacher + point.network_evaluations, most)

    pairs = run_teacher(flow, start, teacher, folder and folder / "teacher", during_teacher)
    _check_finite(flow, pairs)
    train, valid, test = replace(pairs, groups=groups).split(config.seed)
    found = fit(
        flow,
        train,
        valid,
        rule,
        nfe,
        config,
        test=test,
        starting_grids=starting_grids,
        baselines=baselines,
        folder=folder and folder / "fit",
        on_progress=during_fit,
    )
    off = bounded(pairs.disagreement, config.scale)
    if remark := too_coarse(float(off[off.isfinite()].mean()), found.loss):
        warnings.warn(remark, stacklevel=2)
    return found


@torch.no_grad()
def _check_finite(flow: ProbabilityFlow[State], pairs: Pairs[State]) -> None:
    """ValueError if none of the first samples of the teacher has a finite distance to itself, decoded where it is."""
    end = pairs.take(slice(0, _LOOKED_AT)).end
    if not flow.distance(end, end).isfinite().any():
        raise ValueError(
            f"none of the first {size(end)} samples of the teacher is finite; a model in half precision (float16) that "
            "overflows is the likely cause: take float32, or else a finer teacher or another model"
        )
