"""The learned grids: teacher pairs that are never evaluated, and one fit for each number of evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from benchmarks.common.fits import finite_part, fit_split, fit_work
from benchmarks.common.options import mistake
from benchmarks.common.store import Store
from benchmarks.images.methods import make_starts
from benchmarks.images.options import Choices, Options
from domains.images.conditioned import Conditioned, ConditionedFlow
from domains.images.settings import FITS
from domains.progress import WorkProgress
from domains.seeds import seed_of
from ld3.grids import Grid
from ld3.learn import FitConfig, FitResult, Pairs, Point, Teacher, fit, run_teacher
from ld3.state import cat


@dataclass(frozen=True, eq=False)
class FitData:
    """Teacher pairs for fits.

    Attributes:
        train: to learn from.
        valid: to choose the best grid by.
        failed: teacher images that are not finite; they are in neither.
    """

    train: Pairs[Conditioned]
    valid: Pairs[Conditioned]
    failed: int


def fit_data(flow: ConditionedFlow, choices: Choices, teacher: Teacher, store: Store, bar: WorkProgress) -> FitData:
    """Run the teacher from `--fit-pairs` starts of their own; a fifth of them is for validation.

    Raises:
        InputError: if so many of the teacher's images failed that nothing is left to learn from.
    """
    options = choices.options
    seed = seed_of(options.seed, "fit")
    start = cat(make_starts(flow, options.fit_pairs, options.batch, seed))
    # That it has converged is checked on what is evaluated.
    pairs = run_teacher(flow, start, replace(teacher, checked=1), store.folder / "teacher", bar.counter())
    finite = pairs.end.x.flatten(1).isfinite().all(1).cpu()
    n_train, _ = fit_split(options.fit_pairs)
    train, valid = (finite_part(pairs, finite, part) for part in (slice(0, n_train), slice(n_train, None)))
    failed = int((~finite).sum())
    if not (len(train) and len(valid)):
        message = f"{failed} of {options.fit_pairs} teacher images are not finite"
        raise mistake("fit_pairs", message, "give more, or another model")
    return FitData(train, valid, failed)


def config_of(options: Options) -> FitConfig:
    """Settings of the fits."""
    return replace(FITS[options.learn], seed=options.seed, chunk=options.batch, checkpoint=options.checkpoint)


def fit_grid(
    flow: ConditionedFlow,
    data: FitData,
    nfe: int,
    starts: Mapping[str, Grid],
    choices: Choices,
    store: Store,
    bar: WorkProgress,
) -> FitResult:
    """Learn where `nfe` evaluations go, from the best of the hand-made grids and `starts`."""
    config = config_of(choices.options)
    bar.expect(fit_work(config, len(data.train), len(data.valid), nfe, len(starts)))
    count = bar.counter()

    def on_progress(point: Point) -> None:
        count(point.network_evaluations, 0)

    return fit(
        flow,
        data.train,
        data.valid,
        choices.solver,
        nfe,
        config,
        starting_grids=starts,
        folder=store.folder / "fit",
        on_progress=on_progress,
    )
