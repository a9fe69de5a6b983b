"""Docking grids learned on bound poses: ``python -m benchmarks.experiments.pose_losses --complexes DIR``.

Grids are learned on training complexes, from the same starts by as many gradients: towards the teacher's ends, towards
the bound poses, and towards both. They dock held-out ligands of known targets. Writes to --out: results.json; an
interrupted study goes on. With --page, the table is put into a Markdown page.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console

from benchmarks.common.store import Store
from benchmarks.common.tables import Table, check_page
from benchmarks.experiments import study
from benchmarks.experiments.docking_trial_rows import Figures, Row, figures_of, summarise
from benchmarks.experiments.docking_trial_tables import distances, successes
from domains import docking
from domains.docking.engine import dock_by_teacher, dock_groups, make_groups
from domains.docking.networks.weights import DockingModel
from domains.docking.pose_fits import Ends, learn_on_poses
from domains.docking.samplers import grid_sampler
from domains.docking.settings import SOLVER, TEACHER, fit_config
from domains.docking.structures.complexes import Complex
from domains.docking.training.data import SPLITS, read_split
from domains.options import check_nfe, mistake, prepare_folder
from domains.progress import WorkProgress
from ld3 import Grid, get_solver
from ld3.grids import edm

BLOCK: Final = "pose losses"
FITS: Final[Mapping[str, tuple[Ends, ...]]] = {
    "the teacher's ends": ("teacher",),
    "bound poses": ("bound",),
    "both, each by half": ("teacher", "bound"),
}
"""Towards what a grid is learned; the first is what the other rows are compared with."""
COMPARED_WITH: Final = next(iter(FITS))
TEACHER_ROW: Final = "the teacher itself"
HAND: Final = "nothing: edm by hand"

_PACKAGES: Final = ("torch", "torch-geometric", "e3nn", "rdkit", "numpy", "scipy")


@dataclass(frozen=True)
class Options:
    """Options of the study."""

    complexes: Path
    """the training data: folder with NAME/protein.pdb and NAME/ligands.sdf"""
    nfe: int
    """network evaluations a pose"""
    samples: int
    """poses a complex and seed"""
    fit_complexes: int
    """training complexes of a fit, one in five to choose the best grid by"""
    fit_poses: int
    """starts of a fit"""
    fit_steps: int
    """gradient steps of a fit"""
    seeds: tuple[int, ...]
    """each with training complexes and starts of its own"""
    out: Path
    """folder for the results"""
    weights: Path
    """general, demo, or a file of domains.docking.train"""
    limit: int | None = None
    """complexes that are docked, at most; all without it"""
    page: Path | None = None
    """Markdown page with the markers of the table"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study with the command line's arguments; the exit status."""
    return study.run_study("pose_losses", Options, compare, __doc__, arguments)


def compare(options: Options, log: Console) -> int:
    """Fit, dock, write and print, seed by seed.

    Raises:
        InputError: for what the user can mend.
    """
    _check(options)
    began = time.process_time()
    model = docking.load_model(options.weights)
    train, known = _read(options)
    found: dict[str, list[Figures]] = {}
    fits: list[dict[str, Any]] = []
    content = ""
    with WorkProgress(log, _plan(options, len(known))) as bar:
        for seed in options.seeds:
            grids = {HAND: edm(model.noise_range.clock(model.score_scale), get_solver(SOLVER).steps(options.nfe))}
            for name, ends in FITS.items():
                with bar.stage(f"{name}, seed {seed}"):
                    grids[name] = _learned(model, train, ends, seed, options, bar)
                    fits.append({"name": name, "seed": seed, "grid": grids[name].to_dict()})
            with bar.stage(f"docking, seed {seed}"):
                for name, figures in _docked(model, known, grids, seed, options, bar).items():
                    found.setdefault(name, []).append(figures)
            done = replace(options, seeds=options.seeds[: options.seeds.index(seed) + 1])
            rows, spent = summarise(found, COMPARED_WITH), time.process_time() - began
            study.write_results(
                options.out,
                "ld3.pose_losses",
                options,
                _PACKAGES,
                complete=done.seeds == options.seeds,
                cpu_seconds=spent,
                rows=[asdict(row) for row in rows],
                fits=fits,
            )
            content = block(done, rows, len(known), spent)
    study.publish(options.page, BLOCK, content)
    return 0


def _check(options: Options) -> None:
    check_nfe("nfe", (options.nfe,), get_solver(SOLVER))
    study.check_each_once(seeds=options.seeds)
    study.check_numbers(
        samples=(options.samples, 1),
        fit_complexes=(options.fit_complexes, 2),
        fit_poses=(options.fit_poses, 2),
        fit_steps=(options.fit_steps, 0),
        limit=(1 if options.limit is None else options.limit, 1),
    )
    if options.page is not None:
        check_page("page", options.page, BLOCK)
    prepare_folder(options.out)


def _read(options: Options) -> tuple[list[Complex], list[Complex]]:
    """Training complexes, and held-out ligands of the same targets, with known poses."""
    lists = SPLITS / "validation_ligands.txt", SPLITS / "validation_targets.txt"
    parts, _ = read_split([options.complexes], *lists)
    train, known = ([c for c in part if c.reference is not None] for part in (parts.train, parts.ligands))
    if len(train) < 2 or not known:
        message = f"got {len(train)} training complexes and {len(known)} held-out ligands with a known pose"
        raise mistake("complexes", message, "give the data of the training run")
    return train, known[: options.limit]


def _plan(options: Options, complexes: int) -> dict[str, float]:
    """Stage -> its network evaluations, about."""
    poses, config = complexes * options.samples, fit_config(options.nfe)
    plan: dict[str, float] = {}
    for seed in options.seeds:
        gradients = 3.0 * options.nfe * options.fit_steps * config.batch
        plan |= {f"{name}, seed {seed}": gradients for name in FITS}
        plan[f"{COMPARED_WITH}, seed {seed}"] += TEACHER.nfe * options.fit_poses
        plan[f"docking, seed {seed}"] = poses * (TEACHER.nfe + (len(FITS) + 1) * options.nfe)
    return plan


def _learned(
    model: DockingModel, train: Sequence[Complex], ends: Sequence[Ends], seed: int, options: Options, bar: WorkProgress
) -> Grid:
    drawn = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[: options.fit_complexes]
    fit = learn_on_poses(
        model,
        [train[i] for i in drawn.tolist()],
        options.nfe,
        get_solver(SOLVER),
        ends=ends,
        poses=options.fit_poses,
        seed=seed,
        config=replace(fit_config(options.nfe), steps=options.fit_steps),
        folder=options.out / "fits",
        on_progress=study.counted(bar),
    )
    return fit.grid


def _docked(
    model: DockingModel,
    complexes: Sequence[Complex],
    grids: Mapping[str, Grid],
    seed: int,
    options: Options,
    bar: WorkProgress,
) -> dict[str, Figures]:
    """Of the teacher and every grid, from the same starts."""
    store, groups = Store(options.out / "cache"), make_groups(model, complexes, options.samples, seed)
    goals, _ = dock_by_teacher(groups, replace(TEACHER, checked=1), store, bar.counter())
    found = {TEACHER_ROW: figures_of(goals, goals)}
    for name, grid in grids.items():
        docked = dock_groups(groups, grid_sampler(grid, get_solver(SOLVER)), store, bar.counter())
        found[name] = figures_of(docked, goals)
    return found


def block(options: Options, rows: Sequence[Row], complexes: int, cpu_seconds: float) -> str:
    """How the figures were made, and the table, as Markdown."""
    origin = (
        f"{study.made_by('pose_losses', options)}. {complexes} held-out ligands of known targets x {options.samples} "
        f"poses x {len(options.seeds)} seed{'s' * (len(options.seeds) > 1)}: proteins that the network was trained on, "
        f"ligands that it was not. Fits: {options.fit_steps} gradients on {options.fit_poses} starts of "
        f"{options.fit_complexes} training complexes a seed. {cpu_seconds:.0f} CPU seconds in this call. "
        f"Intervals: 95%, bootstrap over complexes, then poses; differences to '{COMPARED_WITH}' are paired."
    )
    minus = f"minus '{COMPARED_WITH}'"
    headings = ("learned towards", "NFE", "within 2 Å, %", f"{minus}, points", "to teacher, Å", f"{minus}, Å")
    cells = [
        (row.name, str(TEACHER.nfe if row.name == TEACHER_ROW else options.nfe), *successes(row), *distances(row))
        for row in rows
    ]
    return "\n\n".join([origin, Table(headings, cells).markdown()])


if __name__ == "__main__":
    sys.exit(main())
