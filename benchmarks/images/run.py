"""The images benchmark from noise to a row of the table, in the order in which it happens.

1. All methods get the same starts.
2. The teacher, the flow solved with many steps, shows where each start ends.
3. Grids to compare with are made by hand, from other trajectories, or from a published table
   (:mod:`benchmarks.images.baselines`), and from again other starts grids are learned.
4. Every method makes its images, which are compared with the teacher's and with real ones
   (:mod:`benchmarks.images.summary`). All methods are timed on one batch.

Results are written after every method; what an interrupted run has computed is found again in OUT/cache.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from rich.console import Console

from benchmarks.common.comparison import LEARNED, TEACHER_ROW
from benchmarks.common.store import Store
from benchmarks.images.baselines import GITS, baselines, gits_work
from benchmarks.images.methods import Method, make, make_starts, milliseconds, on_grids, teacher_method
from benchmarks.images.options import Choices
from benchmarks.images.report import Report
from benchmarks.images.summary import sound_goals
from domains.images.conditioned import ConditionedFlow
from domains.images.fits import with_words
from domains.images.settings import TEACHER
from domains.options import mistake
from domains.progress import WorkProgress
from domains.seeds import seed_of
from ld3.grids import HAND_MADE, Grid
from ld3.learn import FitResult, Teacher, learn_grid, run_teacher
from ld3.state import cat, take

_ROUNDS: Final = 2  # of timing; the fastest counts, and the first one warms up
_TIMED: Final = 8  # one image in so many is timed, at most a batch


def run(choices: Choices, flow: ConditionedFlow, saved: Mapping[int, FitResult], console: Console) -> Report:
    """Make all images by all methods.

    Args:
        choices: what was asked for.
        flow: the model.
        saved: NFE -> a learned grid that needs no fit.
        console: where to draw progress.

    Raises:
        InputError: if none of the teacher's images is finite, or nothing is left to learn from.
    """
    options, solver = choices.options, choices.solver
    teacher = replace(TEACHER, nfe=options.teacher_nfe, chunk=options.batch)
    store = Store(options.out / "cache")
    starts = make_starts(flow, options.samples, options.batch, seed_of(options.seed, "evaluate"))
    timings: dict[str, float] = {}
    report = Report(choices, flow, starts, timings)
    report.remarks.extend(flow.remarks)

    with WorkProgress(console, _plan(choices, teacher, saved), timings) as progress:
        with progress.stage(TEACHER_ROW):
            method = teacher_method(teacher, flow.clock)
            goals = make(method, flow, starts, store, progress.evaluated)
            if not sound_goals(flow, starts, goals).any():
                message = f"none of the teacher's images is finite with --precision {options.precision}"
                half = "give --precision float32: half precision overflows in many networks"
                raise mistake("model", message, "give another" if options.precision == "float32" else half)
            first = take(cat(starts), slice(0, teacher.checked))
            check = run_teacher(flow, first, teacher, store.folder / "teacher", progress.counter())
            report.add_teacher(teacher, method, goals, check.disagreement)

        with progress.stage(GITS):
            found, remarks = baselines(flow, choices, store, progress)
            report.baselines = tuple(found)
            report.remarks.extend(remarks)

        for nfe in options.nfe:
            grids = {baseline.name: baseline.make(solver.steps(nfe)) for baseline in found}
            learned = saved.get(nfe)
            if learned is None:
                with progress.stage(f"fit, {nfe} NFE"):
                    others = {name: grid for name, grid in grids.items() if name not in HAND_MADE}
                    learned = _fit(choices, flow, nfe, others, teacher, store, progress)
            report.add_fit(learned, fitted_here=nfe not in saved)
            for method in (Method(LEARNED, learned.student(), nfe, learned.grid), *on_grids(grids, solver, nfe)):
                with progress.stage(f"{method.name}, {nfe} NFE"):
                    report.add(method, make(method, flow, starts, store, progress.evaluated))

        with progress.stage("timing"):
            batch = take(starts[0], slice(0, _timed(choices)))
            rounds = [
                [milliseconds(method, flow, batch, progress.evaluated) for method in report.methods]
                for _ in range(_ROUNDS)
            ]
            for method, *taken in zip(report.methods, *rounds, strict=True):
                report.summary.add_time(method, min(taken))
    report.finish()
    return report


def _fit(
    choices: Choices,
    flow: ConditionedFlow,
    nfe: int,
    grids: Mapping[str, Grid],
    teacher: Teacher,
    store: Store,
    progress: WorkProgress,
) -> FitResult:
    """Learn where `nfe` evaluations go on teacher pairs that are never evaluated, from the best of all grids."""
    options = choices.options
    start = cat(make_starts(flow, options.fit_pairs, options.batch, seed_of(options.seed, "fit")))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # whether the teacher has converged is a remark already
            fit = learn_grid(
                flow,
                nfe,
                solver=choices.solver,
                start=start,
                config=options.fit_config(),
                teacher=replace(teacher, checked=1),
                baselines=grids,
                folder=store.folder,
                on_progress=progress.follow(),
            )
            return with_words(flow, fit)
    except ValueError as error:
        raise mistake("fit_pairs", str(error), "give more, or another model") from error


def _timed(choices: Choices) -> int:
    return min(choices.options.batch, max(1, choices.options.samples // _TIMED))


def _plan(choices: Choices, teacher: Teacher, saved: Mapping[int, FitResult]) -> dict[str, float]:
    """Stage -> the network evaluations that it takes, at most."""
    options, names = choices.options, (LEARNED, *HAND_MADE, GITS)
    plan: dict[str, float] = {TEACHER_ROW: teacher.nfe * (options.samples + 3 * min(teacher.checked, options.samples))}
    plan[GITS] = gits_work(choices)
    for nfe in options.nfe:
        if nfe not in saved:
            plan[f"fit, {nfe} NFE"] = teacher.nfe * options.fit_pairs  # and what the fit says when it begins
        plan |= {f"{name}, {nfe} NFE": nfe * options.samples for name in names}
    plan["timing"] = _ROUNDS * _timed(choices) * (teacher.nfe + len(names) * sum(options.nfe))
    return plan
