"""Choose a model's score scale: ``python -m domains.docking.score_scale --weights FILE --data DIR``.

Redocks a validation split with the probability-flow ODE at several score scales c, next to DiffDock's SDE with the same
network at c = 1 and at the best c. The score is multiplied by c, which seeks modes: as c rises more poses end near the
bound one, and fewer of them differ, so that the table counts both. It is not sampling of p^c. Prints success rates with
95% bootstrap intervals, how many of the poses are distinct, and the best of N. With --store, a value is written into
the weights file, with the table.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from domains.bootstrap import bootstrap_interval
from domains.docking.docked_poses import DockedPoses
from domains.docking.engine import dock_groups, make_groups
from domains.docking.networks.weights import DockingModel, load_weights, store_score_scale
from domains.docking.poses.metrics import clusters, success
from domains.docking.samplers import Sampler, diffdock_sde, hand_made_sampler
from domains.docking.structures.complexes import Complex, read
from domains.docking.structures.remarks import print_reading
from domains.docking.structures.symmetry import automorphisms
from domains.docking.training.data import SPLITS, read_split
from domains.errors import InputError, InputProblem
from domains.progress import WorkProgress

_PAGE = 110  # characters a line where there is no terminal to ask


@dataclass(frozen=True)
class ScoreScaleConfig:
    """Options of the comparison."""

    weights: Path
    """weights.safetensors of domains.docking.train"""
    data: Path | None = None
    """the training data: folder with NAME/protein.pdb and NAME/ligands.sdf; not needed for --split embedded"""
    split: Literal["ligands", "targets", "embedded"] = "ligands"
    """validation ligands of known targets, unseen targets, or (in-sample) the four of the posebusters package"""
    validation_ligands: Path = SPLITS / "validation_ligands.txt"
    """the lists that the model was trained with, see domains.docking.train"""
    validation_targets: Path = SPLITS / "validation_targets.txt"
    values: tuple[float, ...] = (1.0, 3.0, 5.0, 7.0, 10.0, 14.0, 20.0, 30.0)
    """score scales; they should go on until success falls"""
    poses: int = 4
    """poses a complex"""
    steps: int = 20
    """network evaluations a pose, of the ODE and of the SDE"""
    solver: str = "dpmpp_2m"
    grid: str = "edm"
    limit: int | None = None
    """use that many complexes of the split, drawn with --seed"""
    sde: bool = True
    """also run DiffDock's SDE"""
    store: float | None = None
    """one of the values, to be written into the weights file; needs --split ligands"""
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True)
class Row:
    """One line of the table; rates are fractions of poses."""

    sampler: str
    score_scale: float
    success_2A: float
    success_2A_interval: tuple[float, float]
    best_2A: float  # fraction of complexes with a pose within 2 Å among N
    best_2A_interval: tuple[float, float]
    distinct: float  # mean number of clusters at 1 Å among the N poses of a complex
    success_5A: float
    success_5A_interval: tuple[float, float]
    median_rmsd: float
    failed: int
    ms_per_pose: float


def summarise(name: str, docked: DockedPoses, seed: int) -> Row:
    """A pose that is not finite counts as a failure in every figure."""
    rmsd = list(docked.rmsd().values())
    near = [success(own, 2.0) for own in rmsd]
    two, five, best = (
        bootstrap_interval(values, "mean", seed)
        for values in (near, [success(own, 5.0) for own in rmsd], [np.array([own.any()]) for own in near])
    )
    found = np.concatenate(rmsd)
    return Row(
        sampler=name,
        score_scale=docked.score_scale,
        success_2A=two.estimate,
        success_2A_interval=(two.low, two.high),
        best_2A=best.estimate,
        best_2A_interval=(best.low, best.high),
        distinct=float(
            np.mean([1 + clusters(docked.positions[c.name], automorphisms(c.ligand)).max() for c in docked.complexes])
        ),
        success_5A=five.estimate,
        success_5A_interval=(five.low, five.high),
        median_rmsd=float(np.median(np.where(np.isfinite(found), found, np.inf))),
        failed=len(docked.failed),
        ms_per_pose=docked.ms_per_pose,
    )


def validation_complexes(config: ScoreScaleConfig) -> tuple[list[Complex], list[InputProblem]]:
    """The complexes of the chosen split, at most `config.limit` of them, and what of the data cannot be used.

    Raises:
        InputError: if the data folder is missing, or holds none of them.
    """
    if config.split == "embedded":
        chosen, problems = read()
    elif config.data is None:
        raise _mistake("--data", f"not given, and --split {config.split} needs it", "give the training data's folder")
    else:
        parts, problems = read_split(config.data, config.validation_ligands, config.validation_targets)
        chosen = list(parts.ligands if config.split == "ligands" else parts.targets)
        if not chosen:
            raise _mistake(
                str(config.data),
                f"no complex of the split '{config.split}' in it",
                "give the training data and the lists of the training run",
            )
    if config.limit is None or config.limit >= len(chosen):
        return chosen, problems
    kept = np.random.default_rng(config.seed).permutation(len(chosen))[: config.limit]
    return [chosen[i] for i in sorted(kept)], problems


def compare(model: DockingModel, complexes: Sequence[Complex], config: ScoreScaleConfig, console: Console) -> list[Row]:
    """The ODE at each score scale, then the SDE at 1 and at the best one, all from the same starts."""
    groups = make_groups(model, complexes, config.poses, config.seed)
    work = float(config.steps * config.poses * len(complexes))
    stages = [*(f"ODE, c = {c:g}" for c in config.values), *(["SDE, c = 1", "SDE, best c"] if config.sde else [])]
    with WorkProgress(console, dict.fromkeys(stages, work)) as progress:

        def row(stage: str, name: str, sampler: Sampler) -> Row:
            with progress.stage(stage):
                return summarise(name, dock_groups(groups, sampler, on_progress=progress.counter()), config.seed)

        ode = [
            row(stage, f"{config.solver} {config.grid}", hand_made_sampler(config.grid, config.solver, config.steps, c))
            for stage, c in zip(stages, config.values, strict=False)
        ]
        scales = sorted({1.0, best_of(ode).score_scale})
        sde = zip(stages[len(ode) :], scales, strict=False)
        return [*ode, *(row(stage, "diffdock_sde", diffdock_sde(c, config.steps)) for stage, c in sde)]


def best_of(rows: Sequence[Row]) -> Row:
    """The row with the most poses within 2 Å; the lower median RMSD decides between equals."""
    return max(rows, key=lambda row: (row.success_2A, -row.median_rmsd))


def print_table(rows: Sequence[Row], poses: int, title: str, console: Console) -> None:
    """One line a sampler; percentages of all poses, and of complexes for the best of N."""
    table = Table(title=title, box=SIMPLE)
    best = f"best of {poses} < 2 Å"
    for heading in ("sampler", "c", "< 2 Å", "95%", best, "95%", "distinct", "< 5 Å", "median Å", "ms a pose"):
        table.add_column(heading, justify="left" if heading == "sampler" else "right", no_wrap=heading == "sampler")
    for row in rows:
        two, most = (
            (f"{rate:.1%}", f"{100 * low:.0f}-{100 * high:.0f}")
            for rate, (low, high) in (
                (row.success_2A, row.success_2A_interval),
                (row.best_2A, row.best_2A_interval),
            )
        )
        figures = (f"{row.distinct:.1f}", f"{row.success_5A:.1%}", f"{row.median_rmsd:.2f}", f"{row.ms_per_pose:.0f}")
        table.add_row(
            row.sampler, f"{row.score_scale:g}", *two, *most, f"{row.distinct:.1f}", f"{row.success_5A:.1%}", *figures
        )
    console.print(table)
    if failed := sum(row.failed for row in rows):
        console.print(f"{failed} poses are not finite; they count as misses", highlight=False)


def main(config: ScoreScaleConfig) -> None:
    """Compare, print, and store a value if asked to.

    Raises:
        InputError: for what the user can mend.
    """
    console = Console()
    console = console if console.is_terminal else Console(width=_PAGE)
    _check(config)
    torch.set_num_threads(config.threads)
    model = load_weights(config.weights)
    complexes, problems = validation_complexes(config)
    log = Console(stderr=True)
    print_reading(complexes, problems, log)
    rows = compare(model, complexes, config, log)
    name = "embedded (in-sample)" if config.split == "embedded" else f"validation {config.split}"
    size = f"{len(complexes)} complexes x {config.poses} poses, {config.steps} steps, seed {config.seed}"
    print_table(rows, config.poses, f"{name}: {size}", console)
    best = best_of([row for row in rows if row.sampler != "diffdock_sde"])
    console.print(f"most within 2 Å at c = {best.score_scale:g}; the file says {model.score_scale:g}", highlight=False)
    if config.store is not None:
        content = {"split": config.split, "complexes": len(complexes), "chosen": config.store, **_settings(config)}
        store_score_scale(config.weights, config.store, {**content, "rows": [asdict(row) for row in rows]})
        console.print(f"stored c = {config.store:g} in {config.weights}", highlight=False)


def _settings(config: ScoreScaleConfig) -> Mapping[str, object]:
    names = ("values", "poses", "steps", "solver", "grid", "limit", "seed")
    return {name: getattr(config, name) for name in names}


def _check(config: ScoreScaleConfig) -> None:
    if not config.values or min(config.values) <= 0:
        raise _mistake("--values", f"got {config.values}", "give at least one positive number")
    for name in ("poses", "steps", "limit", "threads"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise _mistake(f"--{name}", f"got {value}", "give a positive number")
    try:
        hand_made_sampler(config.grid, config.solver, config.steps)
    except ValueError as error:
        raise _mistake("--solver, --grid or --steps", str(error), "choose others") from error
    if config.store is not None and config.store not in config.values:
        raise _mistake("--store", f"got {config.store:g}", "give one of --values")
    if config.store is not None and config.split != "ligands":
        raise _mistake("--store", f"the split is '{config.split}'", "score scale is chosen on --split ligands")
    if config.store is not None and not os.access(config.weights.parent, os.W_OK):
        raise _mistake("--store", f"cannot write in {config.weights.parent}", "copy the weights elsewhere")


def _mistake(option: str, message: str, remedy: str) -> InputError:
    return InputError(InputProblem(option, "", message, remedy))


def cli(arguments: Sequence[str] | None = None) -> None:
    """The command line; exits with status 2 and one line for a mistake of the user."""
    try:
        main(tyro.cli(ScoreScaleConfig, description=__doc__, args=arguments))
    except InputError as error:
        Console(stderr=True).print(f"error: {error}", highlight=False, markup=False, soft_wrap=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    cli()
