"""The docking benchmark from noise to a row of the table, in the order in which it happens.

1. Every complex gets its starts: poses of pure noise, the same for all methods.
2. The teacher, the flow solved with many steps, shows where each start ends.
3. If asked, few-step grids are fitted on teacher runs from other starts.
4. Every method docks every start. Poses are compared with the bound pose and with the teacher's.
5. All methods are timed on one batch, and PoseBusters checks poses of each.

Results are written after every method; what an interrupted run has computed is found again in OUT/cache.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from rich.console import Console

from benchmarks.common.comparison import LEARNED, SHIPPED, TEACHER_ROW
from benchmarks.common.store import Store
from benchmarks.docking.checks import check_docked
from benchmarks.docking.first import first_rows, vina_row
from benchmarks.docking.inputs import Inputs
from benchmarks.docking.methods import Method, diffdock_methods, grid_methods, teacher_method
from benchmarks.docking.options import Choices
from benchmarks.docking.report import Report
from domains import docking
from domains.docking.engine import Group, dock_by_teacher, dock_groups, make_groups
from domains.docking.general_grids import general_fit
from domains.docking.networks.weights import DockingModel
from domains.docking.settings import TEACHER, fit_config, poses_at_once
from domains.docking.structures.pocket_files import read_pocket_choice
from domains.options import mistake
from domains.progress import WorkProgress
from ld3.grids import HAND_MADE
from ld3.learn import FitResult, Teacher

_CHECK_WORK: Final = 100.0  # network evaluations that take about as long as PoseBusters does for a pose
_ROUNDS: Final = 2  # of timing; the fastest counts, and the first one warms up
_TIMED: Final = 8  # one pose in so many is timed, at most as many as are solved side by side


def run(
    choices: Choices, model: DockingModel, inputs: Inputs, saved: Mapping[int, FitResult], console: Console
) -> Report:
    """Dock all complexes by all methods.

    Args:
        choices: what was asked for.
        model: at the run's score scale, on its device.
        inputs: what to dock.
        saved: NFE -> a fitted grid that needs no fit.
        console: where to draw progress.
    """
    options, c = choices.options, model.score_scale
    at_once = poses_at_once(choices.device)
    teacher = replace(TEACHER, nfe=options.teacher_nfe, chunk=at_once)
    store = Store(options.out / "cache")
    groups = make_groups(model, inputs.complexes, options.samples, options.seed)
    seeds = {name: seed for group in groups for name, seed in group.seeds.items()}
    timings: dict[str, float] = {}
    report = Report(choices, model, inputs, seeds, timings)
    shipped = {nfe: _shipped(model, nfe, options.solver, report) for nfe in options.nfe}
    work = _plan(choices, model, teacher, len(inputs.complexes), saved)

    with WorkProgress(console, work, timings) as progress:
        with progress.stage(TEACHER_ROW):
            goals, disagreement = dock_by_teacher(groups, teacher, store, progress.follow())
            report.add_teacher(teacher, teacher_method(teacher, c), goals, disagreement)

        def dock(methods: list[Method]) -> None:
            for method in methods:
                with progress.stage(f"{method.name}, {method.nfe} NFE"):
                    report.add(method, dock_groups(groups, method.sampler, store, progress.follow()))

        dock(diffdock_methods(model))
        for nfe in options.nfe:
            learned = saved.get(nfe)
            if learned is None and options.fit:
                with progress.stage(f"fit, {nfe} NFE"):
                    learned = _fit(choices, model, inputs, nfe, teacher, store, progress)
            if learned is not None:
                report.add_fit(learned, fitted_here=nfe not in saved)
            dock(grid_methods(report.clock, choices.solver, nfe, shipped[nfe], learned))

        with progress.stage("timing"):
            report.add_times(_times(model, inputs, report.methods, _timed(choices, len(inputs.complexes)), progress))
        with progress.stage("PoseBusters"):
            checked = check_docked(
                inputs.complexes,
                report.docked,
                options.posebusters,
                store,
                lambda poses: progress.advance(_CHECK_WORK * poses),
            )
            report.add_verdicts(checked)
        if options.first or options.vina:
            with progress.stage("first poses"):
                _add_first(choices, model, inputs, report, store, progress)
    report.finish()
    return report


def _add_first(
    choices: Choices, model: DockingModel, inputs: Inputs, report: Report, store: Store, progress: WorkProgress
) -> None:
    """Rows of first poses, of complexes whose bound pose is known."""
    options = choices.options
    known = [found for found in inputs.complexes if found.reference is not None]
    if not known:
        report.remarks.append("no bound pose is known: there is no table of first poses")
        return
    group = inputs.clusters.of if inputs.clusters else str

    def on_pose(poses: int) -> None:
        progress.advance(_CHECK_WORK * poses)

    methods = {method.key: method for method in report.methods if method.name in options.first}
    rest = options.posebusters, store, group, on_pose
    report.add_first(first_rows(model, known, [*methods.values()], report.docked, *rest))
    if options.vina:
        report.add_first([vina_row(known, read_pocket_choice(options.pocket), options.seed, *rest)])


def _shipped(model: DockingModel, nfe: int, solver: str, report: Report) -> FitResult | None:
    """The grid that lies beside the weights; a remark where there is none for the run's score scale."""
    found = general_fit(model, nfe, solver)
    if found is not None and found.grid.score_scale == model.score_scale:
        return found
    why = f"no learned grid of {nfe} NFE for {solver} at score scale {model.score_scale:g} lies beside the weights"
    report.remarks.append(f"{why}: there is no row '{SHIPPED}'; --fit learns one")
    return None


def _fit(
    choices: Choices,
    model: DockingModel,
    inputs: Inputs,
    nfe: int,
    teacher: Teacher,
    store: Store,
    progress: WorkProgress,
) -> FitResult:
    options = choices.options
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # whether the teacher has converged is a remark already
            return docking.learn_grid(
                model,
                inputs.complexes,
                nfe,
                solver=options.solver,
                poses=options.fit_poses,
                seed=options.seed,
                config=replace(fit_config(nfe), steps=options.fit_steps),
                teacher=replace(teacher, checked=1),
                folder=store.folder,
                on_progress=progress.follow(),
            )
    except ValueError as error:
        raise mistake("fit", str(error), "give more --fit-poses, or leave --fit out") from error


def _times(
    model: DockingModel, inputs: Inputs, methods: list[Method], poses: int, progress: WorkProgress
) -> dict[str, float]:
    """Key of a method -> milliseconds a pose, on `poses` of the complex of median size, side by side, one method after
    the other, so that all figures are of the same work in the same minute."""
    order = sorted(inputs.complexes, key=lambda found: (found.ligand.n_atoms, found.name))
    batch: list[Group] = make_groups(model, [order[len(order) // 2]], poses, seed=0)
    found: dict[str, float] = {}
    for _ in range(_ROUNDS):
        for method in {method.key: method for method in methods}.values():
            taken = dock_groups(batch, method.sampler, on_progress=progress.counter()).ms_per_pose
            found[method.key] = min(taken, found.get(method.key, taken))
    return found


def _timed(choices: Choices, complexes: int) -> int:
    return min(poses_at_once(choices.device), max(1, complexes * choices.options.samples // _TIMED))


def _plan(
    choices: Choices, model: DockingModel, teacher: Teacher, complexes: int, saved: Mapping[int, FitResult]
) -> dict[str, float]:
    """Stage -> the network evaluations that it takes, at most."""
    options, names = choices.options, (SHIPPED, LEARNED, *HAND_MADE)
    poses = complexes * options.samples
    plan: dict[str, float] = {TEACHER_ROW: teacher.nfe * (poses + 2 * min(teacher.checked, poses))}
    peers = diffdock_methods(model)
    plan |= {f"{method.name}, {method.nfe} NFE": float(method.nfe * poses) for method in peers}
    for nfe in options.nfe:
        if options.fit and nfe not in saved:
            plan[f"fit, {nfe} NFE"] = teacher.nfe * options.fit_poses  # and what the fit says when it begins
        plan |= {f"{name}, {nfe} NFE": nfe * poses for name in names}
    spent = teacher.nfe + sum(method.nfe for method in peers) + len(names) * sum(options.nfe)
    plan["timing"] = _ROUNDS * _timed(choices, complexes) * spent
    plan["PoseBusters"] = (
        _CHECK_WORK * (1 + len(peers) + len(names) * len(options.nfe)) * min(options.posebusters, poses)
    )
    if options.first or options.vina:
        ranked = complexes + min(options.posebusters, complexes)
        plan["first poses"] = _CHECK_WORK * ranked * (len(options.first) * len(options.nfe) + options.vina)
    return plan
