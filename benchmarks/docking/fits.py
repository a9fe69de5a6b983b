"""The learned grids: teacher pairs that are never evaluated, and one fit for each number of evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from benchmarks.common.fits import fit_work
from benchmarks.common.options import mistake
from benchmarks.common.store import Store
from benchmarks.docking.options import Choices
from domains.docking.fits import fit_starts
from domains.docking.general_grids import general_fit
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.flow import DockingFlow
from domains.docking.poses.pose import Poses
from domains.docking.settings import fit_config
from domains.docking.structures.complexes import Complex
from domains.progress import WorkProgress
from ld3.learn import FitResult, Pairs, Point, Teacher, fit, run_teacher


@dataclass(frozen=True, eq=False)
class FitData:
    """Teacher pairs for fits.

    Attributes:
        flow: of the complexes that they are from.
        train: to learn from.
        valid: to choose the best grid by.
        failed: teacher poses that are not finite; they are in neither.
        network_evaluations: that the teacher needed.
    """

    flow: DockingFlow
    train: Pairs[Poses]
    valid: Pairs[Poses]
    failed: int
    network_evaluations: int


def fit_data(
    model: DockingModel,
    complexes: Sequence[Complex],
    choices: Choices,
    teacher: Teacher,
    store: Store,
    bar: WorkProgress,
) -> FitData:
    """Run the teacher from `--fit-poses` starts of their own, dealt to the complexes; a fifth is for validation.

    At most as many complexes as there are training poses take part, drawn with the run's seed.

    Raises:
        InputError: if so many of the teacher's poses failed that nothing is left to learn from.
    """
    options = choices.options
    scale = model.score_scale if options.score_scale is None else options.score_scale
    flow, start = fit_starts(replace(model, score_scale=scale), complexes, options.fit_poses, options.seed)
    # That it has converged is checked where it is evaluated, over all complexes.
    pairs = run_teacher(flow, start, replace(teacher, checked=1), store.folder / "teacher", bar.counter())
    finite = pairs.end.positions.isfinite().all(-1).all(-1)
    chosen = torch.arange(len(finite), device=finite.device) % 5 == 0
    train, valid = pairs.take(finite & ~chosen), pairs.take(finite & chosen)
    failed = int((~finite).sum())
    if not (len(train) and len(valid)):
        raise mistake(
            "fit_poses", f"{failed} of {options.fit_poses} teacher poses failed", "give more, or other weights"
        )
    return FitData(flow, train, valid, failed, pairs.network_evaluations)


def fit_grid(data: FitData, nfe: int, choices: Choices, store: Store, bar: WorkProgress) -> FitResult:
    """Learn where `nfe` evaluations go, from the model's general grid if it has one, else from the best made by hand.

    The general grid has proved itself on far more pairs than a fit has to validate with; these could not tell.

    Raises:
        InputError: if the file of the general grid is no saved fit.
    """
    found = general_fit(data.flow.model, nfe, choices.solver.name)
    general = found.grid if found and found.grid.score_scale == data.flow.clock.score_scale else None
    start = "best" if general is None else "general"
    config = replace(fit_config(nfe), initial_grid=start, seed=choices.options.seed, chunk=choices.poses_at_once)
    bar.expect(fit_work(config, len(data.train), len(data.valid), nfe, more_starts=int(general is not None)))
    count = bar.counter()

    def on_progress(point: Point) -> None:
        count(point.network_evaluations, 0)

    return fit(
        data.flow,
        data.train,
        data.valid,
        choices.solver,
        nfe,
        config,
        starting_grids={} if general is None else {"general": general},
        folder=store.folder / "fit",
        on_progress=on_progress,
    )
