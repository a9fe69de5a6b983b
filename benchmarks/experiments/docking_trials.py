"""Try docking fits against each other: ``python -m benchmarks.experiments.docking_trials --complexes DIR --only LIST``.

Every fit that docking_trials.yaml lists is made with several seeds, each with its own teacher pairs, and docks the same
complexes from starts that no fit has seen. Writes to --out: results.json, after every seed; an interrupted comparison
goes on. With --page, the table is put into a Markdown page, and with --ball-page that of the balls alone.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.common.store import Store
from benchmarks.common.tables import Table, check_page, difference, put_block
from benchmarks.experiments import study
from domains import docking
from domains.bootstrap import Interval, Statistic, bootstrap_difference, bootstrap_interval
from domains.docking.docked_poses import DockedPoses
from domains.docking.engine import dock_by_teacher, dock_groups, make_groups
from domains.docking.fits import fit_starts
from domains.docking.general_grids import general_fit
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.flow import DockingFlow
from domains.docking.poses.metrics import clusters, success, symmetric_rmsd
from domains.docking.poses.pose import Poses
from domains.docking.samplers import grid_sampler
from domains.docking.settings import SOLVER, TEACHER, fit_config, poses_at_once
from domains.docking.structures.complexes import Complex
from domains.docking.structures.remarks import print_reading
from domains.docking.structures.symmetry import automorphisms
from domains.docking.structures.text_files import read_names
from domains.options import check_nfe, mistake, prepare_folder
from domains.progress import WorkProgress
from ld3 import HAND_MADE, Grid, get_solver
from ld3.learn import FitConfig, FitResult, Pairs, fit, run_teacher

BLOCK: Final = "trials"
BALL_BLOCK: Final = "docking ball"
USUAL: Final = "usual"
TEACHER_ROW: Final = "teacher"

_HAND_MADE: Final = "hand-made"
_PACKAGES: Final = ("torch", "torch-geometric", "e3nn", "rdkit", "numpy", "scipy")


@dataclass(frozen=True)
class Trial:
    """A fit.

    Attributes:
        name: of the row.
        asks: what the row is there to show.
        change: fields of the usual `FitConfig` that differ.
        share: of the usual teacher pairs.
        general: whether the model's general grid is what it starts from.
    """

    name: str
    asks: str
    change: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0
    general: bool = False

    def config(self, nfe: int) -> FitConfig:
        """Of the fit, without its seed."""
        change: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in self.change.items()
        }
        return replace(fit_config(nfe), **change)


@dataclass(frozen=True)
class Options:
    """Options of the comparison."""

    complexes: Path
    """folder with NAME/protein.pdb and NAME/ligands.sdf, or a CSV in DiffDock's format"""
    fits: Annotated[tuple[Trial, ...], tyro.conf.Suppress]
    nfe: int
    """network evaluations a pose"""
    twice: int
    """hand-made grids are shown at this number of evaluations as well"""
    seeds: tuple[int, ...]
    """of starts, teacher pairs and batches; one fit each"""
    samples: int
    """poses a complex and seed"""
    fit_poses: int
    """teacher poses that the usual fit may see, none of which is evaluated"""
    out: Path
    """folder for the results; a comparison that was interrupted there goes on"""
    weights: Path
    """general, demo, or a file of domains.docking.train"""
    only: Path | None = None
    """list of names: the complexes to dock"""
    trials: tuple[str, ...] = ()
    """names of the fits; all of them without it"""
    page: Path | None = None
    """Markdown page with the markers of the table"""
    ball_page: Path | None = None
    """Markdown page with the markers of the table of balls"""


@dataclass(frozen=True, eq=False)
class Figures:
    """Of the poses of one method and seed, by complex.

    Attributes:
        near: which are within 2 Å of the bound pose, (S,); a pose that failed is not.
        to_teacher: Å to the teacher's pose from the same start, (S,); +inf where one of the two failed.
        distinct: clusters at 1 Å among the poses.
    """

    near: Mapping[str, NDArray[np.bool_]]
    to_teacher: Mapping[str, NDArray[np.float64]]
    distinct: Mapping[str, int]


@dataclass(frozen=True)
class Row:
    """Figures of one fit, or of a sampler to compare with; success is a fraction of poses, lengths are in Å.

    Attributes:
        name, asks: of the trial.
        poses: of all complexes and seeds.
        success_2A, rmsd_to_teacher: mean and median, with 95% intervals (complexes, then poses, resampled).
        best_2A: fraction of complexes and seeds with a pose within 2 Å among the samples.
        distinct: mean number of clusters at 1 Å among the samples of a complex and seed.
        success_minus_usual, rmsd_minus_usual: paired differences to the usual fit; None for that one itself.
        seconds: wall time of each fit.
    """

    name: str
    asks: str
    poses: int
    success_2A: Interval
    best_2A: float
    distinct: float
    rmsd_to_teacher: Interval
    success_minus_usual: Interval | None
    rmsd_minus_usual: Interval | None
    seconds: tuple[float, ...]


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
            rows = summarise(trials, found, seconds)
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


def figures_of(docked: DockedPoses, goals: DockedPoses) -> Figures:
    """Of docked poses, and the teacher's from the same starts."""
    near = {name: success(rmsd, 2.0) for name, rmsd in docked.rmsd().items()}
    symmetries = {c.name: automorphisms(c.ligand) for c in docked.complexes}
    to_teacher = {}
    for name, poses in docked.positions.items():
        both = zip(poses, goals.positions[name], strict=True)
        rmsd = [
            symmetric_rmsd(pose[None], goal, symmetries[name])[0] if np.isfinite(goal).all() else np.inf
            for pose, goal in both
        ]
        to_teacher[name] = np.nan_to_num(np.array(rmsd), nan=np.inf)
    distinct = {name: int(clusters(poses, symmetries[name]).max()) + 1 for name, poses in docked.positions.items()}
    return Figures(near, to_teacher, distinct)


def summarise(
    trials: Sequence[Trial], found: Mapping[str, Sequence[Figures]], seconds: Mapping[str, Sequence[float]]
) -> list[Row]:
    """One row a method, in the order of `found`, over all seeds."""
    asks = {trial.name: trial.asks for trial in trials}
    near = {name: _by_complex([figures.near for figures in own]) for name, own in found.items()}
    to_teacher = {name: _by_complex([figures.to_teacher for figures in own]) for name, own in found.items()}

    def minus_usual(
        values: Mapping[str, Sequence[NDArray[np.float64]]], name: str, statistic: Statistic
    ) -> Interval | None:
        return None if name == USUAL else bootstrap_difference(values[name], values[USUAL], statistic, seed=0)

    return [
        Row(
            name=name,
            asks=asks.get(name, ""),
            poses=sum(map(len, near[name])),
            success_2A=bootstrap_interval(near[name], "mean", seed=0),
            best_2A=float(np.mean([part.any() for figures in own for part in figures.near.values()])),
            distinct=float(np.mean([n for figures in own for n in figures.distinct.values()])),
            rmsd_to_teacher=bootstrap_interval(to_teacher[name], "median", seed=0),
            success_minus_usual=minus_usual(near, name, "mean"),
            rmsd_minus_usual=minus_usual(to_teacher, name, "median"),
            seconds=tuple(seconds.get(name, ())),
        )
        for name, own in found.items()
    ]


def _by_complex(seeds: Sequence[Mapping[str, NDArray[Any]]]) -> list[NDArray[np.float64]]:
    """One array a complex, seed after seed."""
    return [np.concatenate([own[name] for own in seeds]).astype(float) for name in seeds[0]]


def _origin(options: Options, complexes: int) -> str:
    return (
        f"{study.made_by('docking_trials', options)}. {complexes} complexes x {options.samples} poses x "
        f"{len(options.seeds)} seeds, {options.nfe} NFE unless said otherwise. Intervals: 95%, bootstrap over "
        f"complexes, then poses; differences to '{USUAL}' are paired. Distinct: clusters at 1 Å among the "
        f"{options.samples} poses of a complex and seed."
    )


def block(options: Options, rows: Sequence[Row], complexes: int) -> str:
    """Origin and table, in Markdown."""
    successes = ("within 2 Å", f"minus {USUAL}, points", f"best of {options.samples}", "distinct")
    headings = ("fit", "what it asks", *successes, "to teacher, Å", f"minus {USUAL}, Å")
    cells = [
        (row.name, row.asks, *_successes(row), f"{100 * row.best_2A:.0f}", f"{row.distinct:.1f}", *_distances(row))
        for row in rows
    ]
    table = Table(headings, cells, text_columns=2)
    return f"{_origin(options, complexes)}\n\n{table.markdown()}"


def ball_block(options: Options, rows: Sequence[Row], complexes: int) -> str:
    """Origin, the table of the balls, and which intervals leave out 0, in Markdown."""
    radii = {trial.name: float(trial.change["radius"]) for trial in options.fits if "radius" in trial.change}
    own = {(radii | {USUAL: 0.0})[row.name]: row for row in rows if row.name in {USUAL, *radii}}
    headings = ("radius", "within 2 Å", "minus radius 0, points", "to teacher, Å", "minus radius 0, Å")
    cells = [(f"{radius:g}", *_successes(row), *_distances(row)) for radius, row in own.items()]
    verdicts = (
        verdict("Success", {radius: row.success_minus_usual for radius, row in own.items()}),
        verdict("Distance to the teacher", {radius: row.rmsd_minus_usual for radius, row in own.items()}),
    )
    about = f"Radius 0 is '{USUAL}', the plain loss; radii are in standard deviations of the prior."
    table = Table(headings, cells, text_columns=0).markdown()
    return "\n\n".join([f"{_origin(options, complexes)} {about}", table, " ".join(verdicts)])


def verdict(what: str, differences: Mapping[float, Interval | None]) -> str:
    """For which radii the interval of the difference to radius 0 leaves out 0, in words."""
    found = {radius: interval for radius, interval in differences.items() if interval is not None}
    lower = [f"{radius:g}" for radius, interval in found.items() if interval.high < 0]
    higher = [f"{radius:g}" for radius, interval in found.items() if interval.low > 0]
    if not lower and not higher:
        return f"{what}: every interval of the {len(found)} differences contains 0."
    sides = (("lower", lower), ("higher", higher))
    parts = [f"{word} with radius {', '.join(radii)}" for word, radii in sides if radii]
    return f"{what}: {'; '.join(parts)}; {len(found) - len(lower) - len(higher)} of {len(found)} intervals contain 0."


def _successes(row: Row) -> tuple[str, str]:
    return _interval(row.success_2A, 100, ".0f"), _gap(row.success_minus_usual, 100, ".1f")


def _distances(row: Row) -> tuple[str, str]:
    return _interval(row.rmsd_to_teacher, 1, ".2f"), _gap(row.rmsd_minus_usual, 1, ".2f")


def _interval(interval: Interval, scale: float, style: str) -> str:
    estimate, low, high = (format(scale * value, style) for value in interval)
    return f"{estimate} [{low}, {high}]"


def _gap(interval: Interval | None, scale: float, style: str) -> str:
    return "" if interval is None else difference(interval.estimate, interval[1:], scale, style)


if __name__ == "__main__":
    sys.exit(main())
