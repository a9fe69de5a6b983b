"""Try docking fits against each other: ``python -m benchmarks.experiments.docking_trials --complexes DIR --only LIST``.

Every fit of :mod:`docking_trial_list` is made with several seeds, each with its own teacher pairs, and docks
the same complexes from starts that no fit has seen. Writes to --out: results.json, after every seed; an interrupted
comparison goes on. With --page, the table is put into a Markdown page, and with --ball-page that of the balls alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from benchmarks.common.options import mistake
from benchmarks.common.store import Store
from benchmarks.common.tables import check_page, command_line, put_block
from benchmarks.docking.fits import FitData, fit_data
from benchmarks.docking.inputs import Group, Inputs, load, make_groups
from benchmarks.docking.methods import (
    Docked,
    Procedure,
    dock,
    dock_by_teacher,
    grid_procedure,
    hand_made,
    teacher_method,
)
from benchmarks.docking.options import Choices, check
from benchmarks.docking.options import Options as RunOptions
from benchmarks.docking.pose_rows import pose_rows
from benchmarks.experiments.docking_trial_ball import BALL_BLOCK, ball_block
from benchmarks.experiments.docking_trial_list import TRIALS, USUAL, Trial
from benchmarks.experiments.docking_trial_page import BLOCK, Rows, Study, block, summarise, write
from domains.docking.general_grids import general_fit
from domains.docking.networks.weights import DEMO_WEIGHTS, DockingModel, load_weights
from domains.docking.settings import FIT_POSES, TEACHER
from domains.errors import InputError
from domains.progress import WorkProgress
from ld3.learn import fit

CANNOT_RUN, INTERRUPTED = 2, 130
TEACHER_ROW = "teacher"


@dataclass(frozen=True)
class Options:
    """Options of the comparison."""

    complexes: Path
    """folder with NAME/protein.pdb and NAME/ligands.sdf, or a CSV in DiffDock's format"""
    only: Path | None = None
    """list of names: the complexes to dock"""
    nfe: int = 5
    """network evaluations a pose"""
    twice: int = 10
    """hand-made grids are shown at this number of evaluations as well"""
    seeds: tuple[int, ...] = (0, 1, 2)
    """of starts, teacher pairs and batches; one fit each"""
    samples: int = 2
    """poses a complex and seed"""
    fit_poses: int = FIT_POSES
    """teacher poses that the usual fit may see, none of which is evaluated"""
    trials: tuple[str, ...] = ()
    """names of the fits; all of them without it"""
    weights: Path = DEMO_WEIGHTS
    out: Path = Path("out/trials")
    page: Path | None = None
    """Markdown page with the markers of the table"""
    ball_page: Path | None = None
    """Markdown page with the markers of the table of balls"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison with the command line's arguments; the exit status."""
    options = tyro.cli(
        Options, args=arguments, description=__doc__, prog="python -m benchmarks.experiments.docking_trials"
    )
    log = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        compare(options, log)
    except InputError as error:
        log.print(f"error: {error}", markup=False)
        return CANNOT_RUN
    except KeyboardInterrupt:
        log.print(f"stopped; the same command goes on from here ({options.out})", markup=False)
        return INTERRUPTED
    return 0


def compare(options: Options, log: Console) -> None:
    """Fit, dock and write, seed by seed.

    Raises:
        InputError: for what the user can mend.
    """
    trials = _chosen(options)
    if not options.seeds:
        raise mistake("seeds", "got none", "give at least one")
    pages = _pages(options)
    model = load_weights(options.weights)
    rows: Rows = {}
    seconds: dict[str, list[float]] = {}
    timings: dict[str, float] = {}
    for seed in options.seeds:
        choices = _choices(options, seed)
        inputs = load(choices)
        if not inputs.complexes:
            raise mistake("complexes", "no complex can be docked", "give others")
        with WorkProgress(log, _plan(len(inputs.complexes), trials, options), timings) as bar:
            _one_seed(options, trials, choices, inputs, model, rows, seconds, bar)
        done = options.seeds[: options.seeds.index(seed) + 1]
        config = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
        study = Study(_command(config, done), config, summarise(trials, rows, seconds), len(inputs.complexes), done)
        write(options.out, study)
        for page, name, content in pages:
            put_block(page, name, content(study))


def _one_seed(
    options: Options,
    trials: Sequence[Trial],
    choices: Choices,
    inputs: Inputs,
    model: DockingModel,
    rows: Rows,
    seconds: dict[str, list[float]],
    bar: WorkProgress,
) -> None:
    """Teacher, hand-made grids and every trial; adds to `rows` and `seconds`."""
    seed, store = choices.options.seed, Store(options.out / "cache")
    groups = make_groups(model, inputs.complexes, choices)
    with bar.stage(TEACHER_ROW):
        goals, _ = dock_by_teacher(TEACHER, groups, store, bar)
    starts = {name: start for group in groups for name, start in group.seeds.items()}

    def add(row: str, procedure: Procedure | None, docked: Docked) -> None:
        method = procedure.method if procedure else teacher_method(TEACHER)
        rows.setdefault(row, []).extend(pose_rows(inputs, starts, goals, method, docked))

    add(TEACHER_ROW, None, goals)
    with bar.stage("hand-made"):
        for nfe in (options.nfe, options.twice):
            for procedure in hand_made(groups[0].flow.clock, choices.solver, nfe):
                if procedure.method.same_as is None:
                    docked = dock(procedure, groups, seed, store, bar)
                    add(f"{procedure.method.name}, {nfe} NFE", procedure, docked)
    pairs: dict[float, FitData] = {}
    for trial in trials:
        with bar.stage(trial.name):
            if trial.share not in pairs:
                some = max(2, int(trial.share * options.fit_poses))
                sized = replace(choices, options=replace(choices.options, fit_poses=some))
                pairs[trial.share] = fit_data(model, inputs.complexes, sized, TEACHER, store, bar)
            procedure, took = _fitted(trial, pairs[trial.share], groups, choices, options, store, bar)
            seconds.setdefault(trial.name, []).append(took)
            add(trial.name, procedure, dock(procedure, groups, seed, store, bar))


def _fitted(
    trial: Trial,
    data: FitData,
    groups: Sequence[Group],
    choices: Choices,
    options: Options,
    store: Store,
    bar: WorkProgress,
) -> tuple[Procedure, float]:
    """How the grid that a trial learns docks, and the seconds that the fit took."""
    found = general_fit(data.flow.model, options.nfe, choices.solver.name) if trial.general else None
    general = found.grid if found and found.grid.score_scale == data.flow.clock.score_scale else None
    if trial.general and general is None:
        raise mistake("trials", f"'{trial.name}' needs a general grid, and {options.weights} has none", "leave it out")
    count = bar.counter()
    config = replace(trial.config(options.nfe), seed=choices.options.seed, chunk=choices.poses_at_once)
    result = fit(
        data.flow,
        data.train,
        data.valid,
        choices.solver,
        options.nfe,
        config if general is None else replace(config, initial_grid="general"),
        starting_grids={} if general is None else {"general": general},
        folder=store.folder / "fit",
        on_progress=lambda point: count(point.network_evaluations, 0),
    )
    return grid_procedure(trial.name, result.grid, result.student(), options.nfe), result.seconds


def _command(config: Mapping[str, Any], seeds: Sequence[int]) -> str:
    """The command line that makes the figures of the seeds that are done."""
    return command_line(
        "benchmarks.experiments.docking_trials", Options, {**config, "seeds": seeds}, ("out", "page", "ball_page")
    )


def _chosen(options: Options) -> list[Trial]:
    names = [trial.name for trial in TRIALS]
    unknown = [name for name in options.trials if name not in names]
    if unknown:
        raise mistake("trials", f"there is no {unknown[0]!r}", f"choose from {', '.join(names)}")
    wanted = {USUAL, *options.trials} if options.trials else set(names)
    return [trial for trial in TRIALS if trial.name in wanted]


def _pages(options: Options) -> list[tuple[Path, str, Callable[[Study], str]]]:
    """Each page, the name of its markers, and what goes between them."""
    found: list[tuple[Path, str, Callable[[Study], str]]] = []
    for option, name, content in (("page", BLOCK, block), ("ball_page", BALL_BLOCK, ball_block)):
        page: Path | None = getattr(options, option)
        if page is None:
            continue
        check_page(option, page, name)
        found.append((page, name, content))
    return found


def _choices(options: Options, seed: int) -> Choices:
    return check(
        RunOptions(
            nfe=(options.nfe, options.twice),
            complexes=options.complexes,
            only=options.only,
            samples=options.samples,
            seed=seed,
            out=options.out,
            weights=options.weights,
            posebusters=0,
            fit_poses=options.fit_poses,
        )
    )


def _plan(complexes: int, trials: Sequence[Trial], options: Options) -> dict[str, float]:
    """Stage -> the network evaluations that it takes, about."""
    poses = complexes * options.samples
    plan: dict[str, float] = {TEACHER_ROW: TEACHER.nfe * poses, "hand-made": 4 * (options.nfe + options.twice) * poses}
    for trial in trials:
        config = trial.config(options.nfe)
        plan[trial.name] = 3 * options.nfe * config.steps * config.batch + options.nfe * poses
    plan[USUAL] += TEACHER.nfe * options.fit_poses
    return plan


if __name__ == "__main__":
    sys.exit(main())
