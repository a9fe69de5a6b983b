"""The images benchmark from noise to a row of the table, in the order in which it happens.

1. All methods get the same starts (:mod:`benchmarks.images.methods`).
2. The teacher, the flow solved with many steps, shows where each start ends.
3. Grids to compare with are made by hand, from other trajectories, or from a published table
   (:mod:`benchmarks.images.baselines`), and from again other starts grids are learned (:mod:`benchmarks.images.fits`).
4. Every method makes its images, which are compared with the teacher's and with real ones
   (:mod:`benchmarks.images.rows`).

Results are written after every method; what an interrupted run has computed is found again in OUT/cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rich.console import Console

from benchmarks.common.fits import fit_split, fit_work
from benchmarks.common.names import LEARNED
from benchmarks.common.store import Store
from benchmarks.images.baselines import AYS, GITS, baselines, gits_work
from benchmarks.images.fits import FitData, config_of, fit_data, fit_grid
from benchmarks.images.methods import Method, make, make_goals, make_starts, on_grids, teacher_method
from benchmarks.images.options import Choices
from benchmarks.images.report import Report
from domains.images.conditioned import ConditionedFlow
from domains.images.settings import TEACHER
from domains.progress import WorkProgress
from domains.seeds import seed_of
from ld3.grids import HAND_MADE
from ld3.learn import FitResult, Teacher, run_teacher
from ld3.state import take


def run(choices: Choices, flow: ConditionedFlow, saved: Mapping[int, FitResult], console: Console) -> Report:
    """Make all images by all methods.

    Args:
        choices: what was asked for.
        flow: the model.
        saved: NFE -> a learned grid that needs no fit.
        console: where to draw the progress bar.
    """
    options, solver = choices.options, choices.solver
    teacher = replace(TEACHER, nfe=options.teacher_nfe, chunk=options.batch)
    store = Store(choices.out / "cache")
    starts = make_starts(flow, options.samples, options.batch, seed_of(options.seed, "evaluate"))
    timings: dict[str, float] = {}
    report = Report(choices, flow, starts, timings)

    with WorkProgress(console, _plan(choices, teacher, saved), timings) as bar:
        with bar.stage("teacher"):
            method = teacher_method(teacher, flow.clock)
            goals = make_goals(method, flow, starts, store, bar)
            first = take(starts[0], slice(0, teacher.checked))
            check = run_teacher(flow, first, teacher, store.folder / "teacher", bar.counter())
            report.add_teacher(teacher, method, goals, check.disagreement)

        with bar.stage(GITS):
            found, remarks = baselines(flow, choices, store, bar)
            report.add_baselines(found, remarks)

        data: FitData | None = None
        for nfe in choices.nfe:
            fit = saved.get(nfe)
            grids = {baseline.name: baseline.make(solver.steps(nfe)) for baseline in found}
            if fit is None:
                if data is None:
                    with bar.stage("teacher of the fit"):
                        data = fit_data(flow, choices, teacher, store, bar)
                with bar.stage(f"fit, {nfe} NFE"):
                    others = {name: grid for name, grid in grids.items() if name not in HAND_MADE}
                    fit = fit_grid(flow, data, nfe, others, choices, store, bar)
            report.add_fit(fit, None if nfe in saved else data)
            for method in (Method(LEARNED, fit.student(), nfe, fit.grid), *on_grids(grids, solver, nfe)):
                with bar.stage(f"{method.name}, {nfe} NFE"):
                    report.add(method, make(method, flow, starts, store, bar))
    report.finish()
    return report


def _plan(choices: Choices, teacher: Teacher, saved: Mapping[int, FitResult]) -> dict[str, float]:
    """Stage -> the network evaluations that it takes, at most."""
    options = choices.options
    config, parts, others = config_of(options), fit_split(options.fit_pairs), len((GITS, AYS))
    to_fit = [nfe for nfe in choices.nfe if nfe not in saved]
    plan: dict[str, float] = {"teacher": teacher.nfe * (options.samples + 3 * min(teacher.checked, options.samples))}
    if to_fit:
        plan["teacher of the fit"] = teacher.nfe * options.fit_pairs
    plan[GITS] = gits_work(choices)
    plan |= {f"fit, {nfe} NFE": fit_work(config, *parts, nfe, others) for nfe in to_fit}
    methods = (LEARNED, *HAND_MADE, GITS)
    plan |= {f"{name}, {nfe} NFE": nfe * options.samples for nfe in choices.nfe for name in methods}
    return plan
