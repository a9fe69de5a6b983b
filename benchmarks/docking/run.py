"""The docking benchmark from noise to a row of the table, in the order in which it happens.

1. Every complex gets its starts: poses of pure noise, the same for all methods (:mod:`benchmarks.docking.inputs`).
2. The teacher, the flow solved with many steps, shows where each start ends (:mod:`benchmarks.docking.methods`).
3. From other starts, the few-step grids are learned (:mod:`benchmarks.docking.fits`).
4. Every method docks every start.
5. Poses are compared with the bound pose and with the teacher's (:mod:`benchmarks.docking.pose_rows`), counted
   (:mod:`benchmarks.docking.summary`), and checked by PoseBusters (:mod:`benchmarks.docking.pose_checks`).

Results are written after every method; what an interrupted run has computed is found again in OUT/cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rich.console import Console

from benchmarks.common.fits import fit_split, fit_work
from benchmarks.common.names import LEARNED
from benchmarks.common.store import Store
from benchmarks.docking.fits import FitData, fit_data, fit_grid
from benchmarks.docking.inputs import Inputs, make_groups
from benchmarks.docking.methods import DIFFDOCK_STEPS, diffdock, dock, dock_by_teacher, grid_procedure, hand_made
from benchmarks.docking.options import Choices, Options
from benchmarks.docking.pose_checks import CHECK_WORK, check_docked
from benchmarks.docking.report import Report
from domains.docking.networks.weights import DockingModel
from domains.docking.settings import TEACHER, fit_config
from domains.progress import WorkProgress
from ld3.grids import HAND_MADE
from ld3.learn import FitResult, Teacher


def run(
    choices: Choices, model: DockingModel, inputs: Inputs, saved: Mapping[int, FitResult], console: Console
) -> Report:
    """Dock all complexes by all methods.

    Args:
        choices: what was asked for.
        model: network, noise range and score_scale.
        inputs: what to dock.
        saved: NFE -> a learned grid that needs no fit.
        console: where to draw the progress bar.
    """
    options, complexes, solver = choices.options, inputs.complexes, choices.solver
    teacher = replace(TEACHER, nfe=options.teacher_nfe, chunk=choices.poses_at_once)
    store = Store(options.out / "cache")
    groups = make_groups(model, complexes, choices)
    timings: dict[str, float] = {}
    report = Report(choices, model, inputs, groups, timings)

    with WorkProgress(console, _plan(options, teacher, len(complexes), saved), timings) as bar:
        with bar.stage("teacher"):
            goals, disagreement = dock_by_teacher(teacher, groups, store, bar)
            report.add_teacher(teacher, goals, disagreement)
        for procedure in diffdock():
            with bar.stage(procedure.method.name):
                report.add(procedure.method, dock(procedure, groups, options.seed, store, bar))

        pairs: FitData | None = None
        for nfe in options.nfe:
            fit = saved.get(nfe)
            if fit is None:
                if pairs is None:
                    with bar.stage("teacher of the fit"):
                        pairs = fit_data(model, complexes, choices, teacher, store, bar)
                with bar.stage(f"fit, {nfe} NFE"):
                    fit = fit_grid(pairs, nfe, choices, store, bar)
            report.add_fit(fit, pairs)
            learned = grid_procedure(LEARNED, fit.grid, fit.student(), nfe)
            for procedure in (learned, *hand_made(report.clock, solver, nfe)):
                with bar.stage(f"{procedure.method.name}, {nfe} NFE"):
                    report.add(procedure.method, dock(procedure, groups, options.seed, store, bar))

        with bar.stage("PoseBusters"):
            report.add_verdicts(check_docked(complexes, report.docked, options.posebusters, store, bar))
    report.finish()
    return report


def _plan(options: Options, teacher: Teacher, complexes: int, saved: Mapping[int, FitResult]) -> dict[str, float]:
    """Stage -> the network evaluations that it takes, at most."""
    poses = complexes * options.samples
    to_fit = [nfe for nfe in options.nfe if nfe not in saved]
    methods = 3 + len(options.nfe) * (1 + len(HAND_MADE))
    plan: dict[str, float] = {"teacher": teacher.nfe * (poses + 2 * min(teacher.checked, poses))}
    plan |= {procedure.method.name: DIFFDOCK_STEPS * poses for procedure in diffdock()}
    if to_fit:
        plan["teacher of the fit"] = teacher.nfe * options.fit_poses
    plan |= {f"fit, {nfe} NFE": fit_work(fit_config(nfe), *fit_split(options.fit_poses), nfe, 1) for nfe in to_fit}
    plan |= {f"{name}, {nfe} NFE": nfe * poses for nfe in options.nfe for name in (LEARNED, *HAND_MADE)}
    plan["PoseBusters"] = CHECK_WORK * methods * min(options.posebusters, poses)
    return plan
