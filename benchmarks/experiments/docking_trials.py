"""Try docking fits against each other: ``python -m benchmarks.experiments.docking_trials --complexes DIR --only LIST``.

Every fit that docking_trials.yaml lists is made with several seeds, each with its own teacher pairs, and docks the same
complexes from starts that no fit has seen. Writes to --out: results.json, after every seed; an interrupted comparison
goes on. With --page, the table is put into a Markdown page, and with --ball-page that of the balls alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Final

import torch
from rich.console import Console

from benchmarks.common.store import Store
from benchmarks.common.tables import check_page, put_block
from benchmarks.experiments import study
from benchmarks.experiments.docking_trial_options import USUAL, Options, Trial
from benchmarks.experiments.docking_trial_rows import Figures, figures_of, summarise
from benchmarks.experiments.docking_trial_tables import ball_block, block
from domains import docking
from domains.docking.engine import dock_by_teacher, dock_groups, make_groups
from domains.docking.fits import fit_starts
from domains.docking.general_grids import general_fit
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.flow import DockingFlow
from domains.docking.poses.pose import Poses
from domains.docking.samplers import grid_sampler
from domains.docking.settings import SOLVER, TEACHER, poses_at_once
from domains.docking.structures.complexes import Complex
from domains.docking.structures.remarks import print_reading
from domains.docking.structures.text_files import read_names
from domains.options import check_nfe, mistake, prepare_folder
from domains.progress import WorkProgress
from ld3 import HAND_MADE, Grid, get_solver
from ld3.learn import FitResult, Pairs, fit, run_teacher

BLOCK: Final = "trials"
BALL_BLOCK: Final = "docking ball"
TEACHER_ROW: Final = "teacher"

_HAND_MADE: Final = "hand-made"
_PACKAGES: Final = ("torch", "torch-geometric", "e3nn", "rdkit", "numpy", "scipy")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison with the command line's arguments; the exit status."""
    return study.run_study("docking_trials", Options, compare, __doc__, arguments)


def compare(options: Options, log: Console) -> int:
    """Fit, dock and write, seed by seed.

    Raises:
        InputError: for what the user can mend.
    """
    trials = _check(options)
    model = docking.load_model(options.weights)
    complexes = _read(options, log)
    seeds = [_Seed(model, complexes, options, trials, seed) for seed in options.seeds]
    found: dict[str, list[Figures]] = {}
    seconds: dict[str, list[float]] = {}
    content = ""
    plan = {f"{name}, seed {own.seed}": work for own in seeds for name, work in own.plan().items()}
    with WorkProgress(log, plan) as bar:
        for own in seeds:
            for name, figures, took in own.run(bar):
                found.setdefault(name, []).append(figures)
                seconds.setdefault(name, []).extend(took)
            done = replace(options, seeds=options.seeds[: options.seeds.index(own.seed) + 1])
            rows = summarise(found, USUAL, {trial.name: trial.asks for trial in trials}, seconds)
            kept = {"complexes": len(complexes), "seeds": done.seeds, "rows": [asdict(row) for row in rows]}
            study.write_results(options.out, "ld3.docking.trials", options, _PACKAGES, **kept)
            content = block(done, rows, len(complexes))
            if options.ball_page is not None:
                put_block(options.ball_page, BALL_BLOCK, ball_block(done, rows, len(complexes)))
    study.publish(options.page, BLOCK, content)
    return 0


def _check(options: Options) -> list[Trial]:
    """The fits that were asked for, the usual one first."""
    names = [trial.name for trial in options.fits]
    if unknown := [name for name in options.trials if name not in names]:
        raise mistake("trials", f"there is no {unknown[0]!r}", f"choose from {', '.join(names)}")
    study.check_each_once(seeds=options.seeds)
    study.check_numbers(samples=(options.samples, 1), fit_poses=(options.fit_poses, 8))
    for name in ("nfe", "twice"):
        check_nfe(name, (getattr(options, name),), get_solver(SOLVER))
    for option, name in (("page", BLOCK), ("ball_page", BALL_BLOCK)):
        if (page := getattr(options, option)) is not None:
            check_page(option, page, name)
    prepare_folder(options.out)
    chosen = {USUAL, *options.trials} if options.trials else set(names)
    return [trial for trial in options.fits if trial.name in chosen]


def _read(options: Options, log: Console) -> list[Complex]:
    """The complexes with a known pose that are listed."""
    found, problems = docking.read(options.complexes)
    names = None if options.only is None else read_names(options.only)
    kept = [c for c in found if c.reference is not None]
    if names is not None:
        kept = [c for c in kept if not names.isdisjoint((c.name, c.name.split("/")[0]))]
    print_reading(kept, problems, log)
    if not kept:
        raise mistake("complexes", "no complex with a known pose can be docked", "give others")
    return kept


class _Seed:
    """Everything that is docked with one seed, from the same starts."""

    def __init__(
        self, model: DockingModel, complexes: Sequence[Complex], options: Options, trials: Sequence[Trial], seed: int
    ) -> None:
        self.model, self.complexes, self.options, self.trials, self.seed = model, complexes, options, trials, seed
        self.solver, self.store = get_solver(SOLVER), Store(options.out / "cache")
        self.general = general_fit(model, options.nfe)
        if self.general is not None and self.general.grid.score_scale != model.score_scale:
            self.general = None
        if self.general is None and (needing := [trial.name for trial in trials if trial.general]):
            message = f"'{needing[0]}' needs a general grid, and {options.weights} has none"
            raise mistake("trials", message, "leave it out")

    def plan(self) -> dict[str, float]:
        """Stage -> the network evaluations that it takes, about."""
        options, poses = self.options, len(self.complexes) * self.options.samples
        plan: dict[str, float] = {TEACHER_ROW: TEACHER.nfe * poses}
        plan[_HAND_MADE] = len(HAND_MADE) * (options.nfe + options.twice) * poses
        for trial in self.trials:
            config = trial.config(options.nfe)
            plan[trial.name] = 3 * options.nfe * config.steps * config.batch + options.nfe * poses
        plan[USUAL] += TEACHER.nfe * options.fit_poses
        return plan

    def run(self, bar: WorkProgress) -> list[tuple[str, Figures, list[float]]]:
        """Teacher, hand-made grids and every trial: name, figures, and seconds of the fit."""
        options, count = self.options, bar.counter
        groups = make_groups(self.model, self.complexes, options.samples, self.seed)
        with bar.stage(f"{TEACHER_ROW}, seed {self.seed}"):
            goals, _ = dock_by_teacher(groups, TEACHER, self.store, count())
        found: list[tuple[str, Figures, list[float]]] = [(TEACHER_ROW, figures_of(goals, goals), [])]
        clock = groups[0].flow().clock
        with bar.stage(f"{_HAND_MADE}, seed {self.seed}"):
            for nfe in (options.nfe, options.twice):
                grids: list[Grid] = []
                for name, make in HAND_MADE.items():
                    grid = make(clock, self.solver.steps(nfe))
                    if any(grid.equals(other) for other in grids):
                        continue
                    grids.append(grid)
                    docked = dock_groups(groups, grid_sampler(grid, self.solver), self.store, count())
                    found.append((f"{name}, {nfe} NFE", figures_of(docked, goals), []))
        taught: dict[float, tuple[DockingFlow, Pairs[Poses]]] = {}
        for trial in self.trials:
            with bar.stage(f"{trial.name}, seed {self.seed}"):
                if trial.share not in taught:
                    some = max(2, int(trial.share * options.fit_poses))
                    flow, start = fit_starts(self.model, self.complexes, some, self.seed)
                    # That it has converged is checked where it is evaluated, over all complexes.
                    teacher, folder = replace(TEACHER, checked=1), self.store.folder / "teacher"
                    taught[trial.share] = flow, run_teacher(flow, start, teacher, folder, count())
                fitted = self._fitted(trial, *taught[trial.share], bar)
                docked = dock_groups(groups, grid_sampler(fitted.grid, fitted.student()), self.store, count())
                found.append((trial.name, figures_of(docked, goals), [fitted.seconds]))
        return found

    def _fitted(self, trial: Trial, flow: DockingFlow, pairs: Pairs[Poses], bar: WorkProgress) -> FitResult:
        general = self.general.grid if trial.general and self.general else None
        # Without a final test: all trials are compared on other poses.
        drawn = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(self.seed))
        n_valid = len(pairs) // 5 or 1
        valid, train = (pairs.take(rows.sort().values) for rows in (drawn[:n_valid], drawn[n_valid:]))
        config = replace(trial.config(self.options.nfe), seed=self.seed, chunk=poses_at_once(self.model.device))
        return fit(
            flow,
            train,
            valid,
            self.solver,
            self.options.nfe,
            config if general is None else replace(config, initial_grid="general"),
            starting_grids={} if general is None else {"general": general},
            folder=self.store.folder / "fit",
            on_progress=study.counted(bar),
        )


if __name__ == "__main__":
    sys.exit(main())
