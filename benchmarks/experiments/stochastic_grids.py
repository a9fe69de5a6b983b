"""Learned times for a stochastic sampler: ``python -m benchmarks.experiments.stochastic_grids --complexes DIR``.

DiffDock's low-temperature SDE with few steps: as published; with steps that do not overshoot; at times learned on bound
poses of training complexes, its noise fixed for each pose; and with the drift of each step learned as well. Beside it
the probability-flow ODE at the model's score scale, on times made by hand, learned from the teacher, and learned on the
same bound poses. All dock the same starts, of known targets and of targets that the network has never seen. Writes to
--out: results.json; an interrupted study goes on. With --page, the tables are put into a Markdown page.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.common.store import Store
from benchmarks.common.tables import Table, check_page
from benchmarks.experiments import study
from domains import docking
from domains.bootstrap import Interval, bootstrap_interval, bootstrap_ratio
from domains.docking.docked_poses import DockedPoses
from domains.docking.engine import dock_groups, make_groups
from domains.docking.general_grids import general_fit
from domains.docking.networks.weights import DockingModel
from domains.docking.pose_fits import learn_on_poses
from domains.docking.poses.low_temperature_sde import PUBLISHED
from domains.docking.poses.metrics import clusters, success
from domains.docking.ranking.consensus import Consensus
from domains.docking.samplers import DIFFDOCK_STEPS, Sampler, diffdock_low_temperature_sde, diffdock_ode, grid_sampler
from domains.docking.settings import SOLVER, fit_config
from domains.docking.structures.complexes import Complex
from domains.docking.structures.symmetry import automorphisms
from domains.docking.training.data import SPLITS, read_split
from domains.options import check_nfe, mistake, prepare_folder
from domains.progress import WorkProgress
from ld3 import Solver, get_solver
from ld3.grids import edm, uniform_t
from ld3.learn import FitResult
from ld3.learn.student import Phase

BLOCK: Final = "stochastic"
KNOWN: Final = "known targets"
UNSEEN: Final = "unseen targets"
PUBLISHED_SDE: Final = "low-temperature SDE, as published"
PUBLISHED_ODE: Final = "ODE, steps of equal length"
LEARNED_SDE: Final = "low-temperature SDE, exact steps, learned times"
EXACT_SDE: Final = "low-temperature SDE, exact steps"
DRIFT_SDE: Final = "low-temperature SDE, exact steps, learned times and drift"
LEARNED_ODE: Final = "ODE, times learned on bound poses"
SHIPPED_ODE: Final = "ODE, times learned from the teacher"

_PACKAGES: Final = ("torch", "torch-geometric", "e3nn", "rdkit", "numpy", "scipy")


@dataclass(frozen=True)
class Options:
    """Options of the study."""

    complexes: Path
    """the training data: folder with NAME/protein.pdb and NAME/ligands.sdf"""
    nfe: tuple[int, ...]
    """network evaluations a pose"""
    fit_nfe: tuple[int, ...]
    """those of them at which times are learned"""
    samples: int
    """poses a complex"""
    fit_complexes: int
    """training complexes of a fit, one in five to choose the best grid by"""
    fit_poses: int
    """starts of a fit"""
    fit_steps: int
    """gradient steps of a fit"""
    seed: int
    out: Path
    """folder for the results"""
    weights: Path
    """general, demo, or a file of domains.docking.train"""
    limit: int | None = None
    """complexes of either split, at most; all without it"""
    page: Path | None = None
    """Markdown page with the markers of the tables"""


@dataclass(frozen=True, eq=False)
class Figures:
    """Of the poses of one sampler on one split, by complex.

    Attributes:
        near: which are within 2 Å of the bound pose, (S,); a pose that failed is not.
        top: whether the first by consensus is, (1,).
        distinct: clusters at 1 Å.
    """

    near: Mapping[str, NDArray[np.bool_]]
    top: Mapping[str, NDArray[np.bool_]]
    distinct: Mapping[str, int]


@dataclass(frozen=True)
class Row:
    """Of one sampler and split: rates are fractions, with 95% intervals (complexes, then poses, resampled).

    Attributes:
        name, nfe, of: sampler, evaluations, split.
        poses: docked.
        success: of poses within 2 Å.
        top: of complexes whose first pose by consensus is; best: that have one at all.
        distinct: mean number of clusters at 1 Å among the poses of a complex.
        kept: success as a fraction of the published low-temperature SDE's at 20 steps.
        kept_own: as a fraction of the same family's at 20 steps.
    """

    name: str
    nfe: int
    of: str
    poses: int
    success: Interval
    top: Interval
    best: Interval
    distinct: float
    kept: Interval
    kept_own: Interval


Key = tuple[str, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study with the command line's arguments; the exit status."""
    return study.run_study("stochastic_grids", Options, compare, __doc__, arguments)


def compare(options: Options, log: Console) -> int:
    """Fit, dock, write and print.

    Raises:
        InputError: for what the user can mend.
    """
    _check(options)
    model = docking.load_model(options.weights)
    train, splits = _read(options)
    store, began = Store(options.out / "cache"), time.process_time()
    fits: dict[Key, FitResult] = {}
    rows: list[Row] = []
    groups = {name: make_groups(model, part, options.samples, options.seed) for name, part in splits.items()}
    kinds = _learned(model)
    per_step = fit_config(10).batch * 10
    poses = sum(len(group) for own in groups.values() for group in own)
    plan: dict[str, float] = {
        f"fit, {name}, {nfe} NFE": 3.0 * per_step * options.fit_steps for nfe in options.fit_nfe for name in kinds
    }
    plan["docking"] = float(poses * (2 * DIFFDOCK_STEPS + 5 * sum(options.nfe) + len(kinds) * sum(options.fit_nfe)))

    def write(*, complete: bool) -> str:
        spent = time.process_time() - began
        content = {
            "complexes": {name: [c.name for c in part] for name, part in {"fits": train, **splits}.items()},
            "rows": [asdict(row) for row in rows],
            "fits": {f"{name}, {nfe} NFE": fit.grid.to_dict() for (name, nfe), fit in fits.items()},
        }
        study.write_results(
            options.out, "ld3.stochastic_grids", options, _PACKAGES, complete=complete, cpu_seconds=spent, **content
        )
        return block(options, rows, fits, spent)

    with WorkProgress(log, plan) as bar:
        for nfe in options.fit_nfe:
            for name, (solver, scale) in kinds.items():
                phase: Phase = "coefficients" if name == DRIFT_SDE else "times"
                with bar.stage(f"fit, {name}, {nfe} NFE"):
                    fits[name, nfe] = learn_on_poses(
                        replace(model, score_scale=scale),
                        train,
                        nfe,
                        solver,
                        poses=options.fit_poses,
                        seed=options.seed,
                        config=replace(fit_config(nfe), steps=options.fit_steps, phases=(phase,)),
                        begin=fits[LEARNED_SDE, nfe].grid if name == DRIFT_SDE else None,
                        folder=options.out / "fits",
                        on_progress=study.counted(bar),
                    )
                write(complete=False)
        samplers = samplers_of(model, options.nfe, fits)
        with bar.stage("docking"):
            for name, own in groups.items():
                found = {
                    key: figures_of(dock_groups(own, sampler, store, bar.counter()))
                    for key, sampler in samplers.items()
                }
                rows += summarise(name, found)
                write(complete=False)
    study.publish(options.page, BLOCK, write(complete=True))
    return 0


def _check(options: Options) -> None:
    check_nfe("nfe", options.nfe, get_solver(SOLVER))
    study.check_each_once(nfe=options.nfe, fit_nfe=options.fit_nfe)
    if not set(options.fit_nfe) <= set(options.nfe):
        raise mistake("fit_nfe", f"got {options.fit_nfe}", "give numbers that are among those of --nfe")
    study.check_numbers(
        samples=(options.samples, 2),
        fit_complexes=(options.fit_complexes, 2),
        fit_poses=(options.fit_poses, 2),
        fit_steps=(options.fit_steps, 0),
        seed=(options.seed, 0),
        limit=(1 if options.limit is None else options.limit, 1),
    )
    if options.page is not None:
        check_page("page", options.page, BLOCK)
    prepare_folder(options.out)


def _read(options: Options) -> tuple[list[Complex], dict[str, list[Complex]]]:
    """Training complexes for the fits, drawn with the seed, and those that are docked by split."""
    lists = SPLITS / "validation_ligands.txt", SPLITS / "validation_targets.txt"
    parts, _ = read_split([options.complexes], *lists)
    generator = torch.Generator().manual_seed(options.seed)
    train, known, unseen = (
        [part[i] for i in torch.randperm(len(part), generator=generator).tolist() if part[i].reference is not None]
        for part in (parts.train, parts.ligands, parts.targets)
    )
    splits = {KNOWN: known[: options.limit], UNSEEN: unseen[: options.limit]}
    for name, part in {"training complexes": train[1:], **splits}.items():
        if not part:
            raise mistake("complexes", f"there are no {name} with a known pose", "give the data of the training run")
    return train[: options.fit_complexes], splits


def _learned(model: DockingModel) -> dict[str, tuple[Solver, float]]:
    """Name -> solver and score scale of the samplers that are learned here; the drift after the times."""
    chosen, clock = model.low_temperature or PUBLISHED, model.noise_range.clock()
    return {
        LEARNED_SDE: (chosen.solver(clock, exact=True), 1.0),
        DRIFT_SDE: (chosen.solver(clock, exact=True), 1.0),
        LEARNED_ODE: (get_solver(SOLVER), model.score_scale),
    }


def samplers_of(model: DockingModel, nfe: Sequence[int], fits: Mapping[Key, FitResult]) -> dict[Key, Sampler]:
    """(name, evaluations) -> sampler: those of 20 steps first, then by number of evaluations."""
    chosen, at_one = model.low_temperature or PUBLISHED, model.noise_range.clock()
    at_c, kinds = model.noise_range.clock(model.score_scale), _learned(model)
    published, exact = chosen.solver(at_one), chosen.solver(at_one, exact=True)
    twenty = uniform_t(at_one, DIFFDOCK_STEPS)
    found = {
        (PUBLISHED_SDE, DIFFDOCK_STEPS): diffdock_low_temperature_sde(model),
        (EXACT_SDE, DIFFDOCK_STEPS): grid_sampler(twenty, exact, 1.0),
        (PUBLISHED_ODE, DIFFDOCK_STEPS): diffdock_ode(None),
    }
    for n in nfe:
        found[PUBLISHED_SDE, n] = grid_sampler(uniform_t(at_one, n), published, 1.0)
        found[EXACT_SDE, n] = grid_sampler(uniform_t(at_one, n), exact, 1.0)
        for name, (solver, scale) in kinds.items():
            if (name, n) in fits and solver.spread is not None:
                fit = fits[name, n]
                found[name, n] = grid_sampler(fit.grid, replace(solver, coefficients=fit.coefficients), scale)
        found[PUBLISHED_ODE, n] = diffdock_ode(None, n)
        found["ODE, edm's times", n] = grid_sampler(edm(at_c, n), get_solver(SOLVER))
        shipped = general_fit(model, n)
        if shipped is not None and shipped.grid.score_scale == model.score_scale:
            found[SHIPPED_ODE, n] = grid_sampler(shipped.grid, shipped.student())
        if (LEARNED_ODE, n) in fits:
            found[LEARNED_ODE, n] = grid_sampler(fits[LEARNED_ODE, n].grid, get_solver(SOLVER))
    return found


def figures_of(docked: DockedPoses) -> Figures:
    """What the study counts."""
    near = {name: success(rmsd, 2.0) for name, rmsd in docked.rmsd().items()}
    top, distinct = {}, {}
    for c in docked.complexes:
        poses = docked.positions[c.name]
        sound = np.flatnonzero(np.isfinite(poses).all((1, 2)))
        first = sound[Consensus().rank(c, poses[sound]).order[:1]] if len(sound) else sound
        top[c.name] = near[c.name][first] if len(first) else np.zeros(1, dtype=np.bool_)
        distinct[c.name] = int(clusters(poses, automorphisms(c.ligand)).max()) + 1
    return Figures(near, top, distinct)


def summarise(of: str, found: Mapping[Key, Figures]) -> list[Row]:
    """One row a sampler, in their order."""
    near = {key: [poses.astype(float) for poses in own.near.values()] for key, own in found.items()}
    rows = []
    for (name, nfe), own in found.items():
        family = PUBLISHED_ODE if name.startswith("ODE") else PUBLISHED_SDE
        kept, kept_own = (
            bootstrap_ratio(near[name, nfe], near[other, DIFFDOCK_STEPS], seed=0) for other in (PUBLISHED_SDE, family)
        )
        rows.append(
            Row(
                name=name,
                nfe=nfe,
                of=of,
                poses=sum(map(len, near[name, nfe])),
                success=bootstrap_interval(near[name, nfe], "mean", seed=0),
                top=bootstrap_interval([v.astype(float) for v in own.top.values()], "mean", seed=0),
                best=bootstrap_interval([np.array([v.any()], dtype=float) for v in own.near.values()], "mean", seed=0),
                distinct=float(np.mean(list(own.distinct.values()))),
                kept=kept,
                kept_own=kept_own,
            )
        )
    return rows


def block(options: Options, rows: Sequence[Row], fits: Mapping[Key, FitResult], cpu_seconds: float) -> str:
    """Origin and tables, in Markdown: what a 20-step docking's success keeps, everything, and the fits."""
    splits = list(dict.fromkeys(row.of for row in rows))
    by_key = {(row.name, row.nfe, row.of): row for row in rows}
    keys = list(dict.fromkeys((row.name, row.nfe) for row in rows))
    samples = options.samples
    headings = ["sampler", "NFE"]
    for of in splits:
        headings += [f"{of}: < 2 Å", "first", f"best of {samples}", "distinct"]
    lines = []
    for name, nfe in keys:
        own = [by_key[name, nfe, of] for of in splits]
        cells = [
            cell
            for row in own
            for cell in (_percent(row.success), _percent(row.top), _percent(row.best), f"{row.distinct:.1f}")
        ]
        lines.append((name, str(nfe), *cells))
    kept_headings = ["sampler", "NFE"]
    for of in splits:
        kept_headings += [f"{of}: of the low-temperature SDE's 20 steps", "of its own family's 20 steps"]
    kept_lines = [
        (name, str(nfe), *(cell for of in splits for cell in _kept(by_key[name, nfe, of])))
        for name, nfe in keys
        if nfe in options.fit_nfe
    ]
    sizes = ", ".join(f"{of}: {next(row for row in rows if row.of == of).poses} poses a line" for of in splits)
    about = (
        f"{study.made_by('stochastic_grids', options)}. {sizes}; {samples} poses a complex, the same starts for all. "
        f"Fits: {options.fit_steps} gradient steps on {options.fit_poses} starts of {options.fit_complexes} training "
        f"complexes. {cpu_seconds:.0f} CPU seconds. Percent, with 95% intervals (bootstrap over complexes, then "
        "poses); first: of complexes, the pose that consensus puts first; distinct: clusters at 1 Å."
    )
    fitted = [
        (name, str(nfe), fit.initial_grid, f"{fit.loss_initial:.4f}", f"{fit.loss_learned:.4f}", f"{fit.seconds:.0f}")
        for (name, nfe), fit in fits.items()
    ]
    fit_table = Table(("learned", "NFE", "from", "loss", "learned loss", "seconds"), fitted)
    parts = [about]
    if rows:
        parts += [Table(kept_headings, kept_lines).markdown(), Table(headings, lines).markdown()]
    return "\n\n".join([*parts, fit_table.markdown()])


def _kept(row: Row) -> tuple[str, str]:
    return _percent(row.kept), _percent(row.kept_own)


def _percent(interval: Interval) -> str:
    if not np.isfinite(interval.estimate):
        return "-"
    low, high = (f"{100 * value:.0f}" if np.isfinite(value) else "∞" for value in interval[1:])
    return f"{100 * interval.estimate:.0f} [{low}, {high}]"


if __name__ == "__main__":
    sys.exit(main())
