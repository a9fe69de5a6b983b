"""The learned grids: teacher pairs that are never evaluated, and one fit for each number of evaluations."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from benchmarks.images_methods import make_starts
from benchmarks.images_options import Choices
from benchmarks.options import mistake
from benchmarks.progress import WorkBar
from benchmarks.seeds import seed_of
from benchmarks.store import Store
from domains.images.conditioned import Conditioned, ConditionedFlow
from domains.images.settings import FIT
from ld3.grid import HAND_MADE
from ld3.learn import FitResult, Pairs, Point, Teacher, fit, run_teacher
from ld3.state import cat, take


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


def fit_data(flow: ConditionedFlow, choices: Choices, teacher: Teacher, store: Store, bar: WorkBar) -> FitData:
    """Run the teacher from `--fit-pairs` starts of their own; a fifth of them is for validation.

    Raises:
        InputError: if so many of the teacher's images failed that nothing is left to learn from.
    """
    options = choices.options
    seed = seed_of(options.seed, "fit")
    start = cat(make_starts(flow, options.fit_pairs, options.batch, seed, choices.wanted.device))
    # That it has converged is checked on what is evaluated.
    pairs = run_teacher(flow, start, replace(teacher, checked=1), store.folder / "teacher", bar.counter())
    finite = pairs.end.x.flatten(1).isfinite().all(1).cpu()
    n_train, _ = fit_split(options.fit_pairs)
    rows = torch.arange(len(finite))
    train, valid = (_select(pairs, part[finite[part]]) for part in (rows[:n_train], rows[n_train:]))
    failed = int((~finite).sum())
    if not (len(train) and len(valid)):
        message = f"{failed} of {options.fit_pairs} teacher images are not finite"
        raise mistake("fit_pairs", message, "give more, or another model")
    return FitData(train, valid, failed)


def fit_split(pairs: int) -> tuple[int, int]:
    """How many pairs train, and how many choose the best grid."""
    valid = max(1, pairs // 5)
    return pairs - valid, valid


def _select(pairs: Pairs[Conditioned], rows: torch.Tensor) -> Pairs[Conditioned]:
    return replace(pairs, start=take(pairs.start, rows), end=take(pairs.end, rows))


def fit_work(train: int, valid: int, nfe: int) -> float:
    """The most evaluations that a fit can make."""
    rounds = FIT.steps
    validations = len(HAND_MADE) + rounds // FIT.validate_every
    return nfe * (validations * valid + rounds * (min(FIT.batch, train) or train))


def fit_grid(flow: ConditionedFlow, data: FitData, nfe: int, choices: Choices, store: Store, bar: WorkBar) -> FitResult:
    """Learn where `nfe` evaluations go."""
    options = choices.options
    bar.expect(fit_work(len(data.train), len(data.valid), nfe))
    config = replace(
        FIT, phases=(options.learn,), seed=options.seed, chunk=options.batch, checkpoint=options.checkpoint
    )
    count = bar.counter()

    def on_progress(point: Point) -> None:
        count(point.network_evaluations, 0)

    folder = store.folder / "fit"
    return fit(flow, data.train, data.valid, choices.solver, nfe, config, folder=folder, on_progress=on_progress)
