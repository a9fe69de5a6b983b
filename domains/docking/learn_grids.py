"""Learn a model's general grids: ``python -m domains.docking.learn_grids --weights FILE --data DIR --nfe 5 10``.

On teacher runs for complexes of the training split, drawn at random, one long fit for each number of evaluations. The
grids are written beside the weights (:mod:`domains.docking.general_grids`). Can be stopped, and goes on when the same
command is given again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from domains.docking.fits import fit_starts
from domains.docking.general_grids import grid_path
from domains.docking.networks.weights import DEMO_WEIGHTS, DockingModel, load_weights
from domains.docking.poses.flow import DockingFlow
from domains.docking.poses.pose import Poses
from domains.docking.settings import SOLVER, TEACHER, fit_config
from domains.docking.structures.complexes import Complex, load_folder
from domains.docking.training.data import SPLITS, names_in, split
from domains.errors import InputError, InputProblem
from ld3.learn import FitResult, Pairs, Point, fit, run_teacher
from ld3.solvers import Solver, get_solver

_VALIDATION = 8  # one pair in so many chooses the best grid


@dataclass(frozen=True)
class LearnConfig:
    """Options of the fits."""

    data: Path
    """the training data: folder with NAME/protein.pdb and NAME/ligands.sdf"""
    weights: Path = DEMO_WEIGHTS
    """weights.safetensors of domains.docking.train, with its score scale chosen"""
    nfe: tuple[int, ...] = (4, 5, 6, 8, 10)
    """a grid for each"""
    solver: str = SOLVER
    complexes: int = 128
    """of the training split, drawn with --seed"""
    poses: int = 8
    """teacher poses a complex"""
    steps: int = 200
    """gradient steps a fit"""
    validation_ligands: Path = SPLITS / "validation_ligands.txt"
    """the lists that the model was trained with, see domains.docking.train"""
    validation_targets: Path = SPLITS / "validation_targets.txt"
    cache: Path = Path("runs/grids")
    """where to go on from"""
    seed: int = 0
    threads: int = 1


def main(config: LearnConfig, console: Console) -> None:
    """Run the teacher, learn every grid, and write each when it is done.

    Raises:
        InputError: for what the user can mend.
    """
    torch.set_num_threads(config.threads)
    solver = _check(config)
    model = load_weights(config.weights)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"))
    with Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=console) as progress:
        flow, train, valid = teacher_pairs(model, training_complexes(config), config, progress)
        for nfe in config.nfe:
            task = progress.add_task(f"{nfe} NFE", total=config.steps, note="")
            result = learn(flow, train, valid, solver, nfe, config, progress, task)
            path = grid_path(config.weights, solver.name, nfe)
            path.parent.mkdir(parents=True, exist_ok=True)
            result.save(path)
            gain = f"validation loss {result.loss_learned:.4f}, {min(result.hand_made.values()):.4f} by hand"
            progress.console.print(f"{path}: {gain}", highlight=False, soft_wrap=True)


def training_complexes(config: LearnConfig) -> list[Complex]:
    """At most `config.complexes` of the training split, small ones first.

    Raises:
        InputError: if there are none.
    """
    found, problems = load_folder(config.data)
    parts = split(found, names_in(config.validation_ligands), names_in(config.validation_targets))
    if not parts.train:
        raise InputError(problems[0]) if not found else _mistake("--data", "all of it is held out", "give more")
    order = torch.randperm(len(parts.train), generator=torch.Generator().manual_seed(config.seed)).tolist()
    drawn = [parts.train[i] for i in order[: config.complexes]]
    return sorted(drawn, key=lambda c: (c.ligand.n_atoms, len(c.pocket.positions), c.name))


def teacher_pairs(
    model: DockingModel, complexes: Sequence[Complex], config: LearnConfig, progress: Progress
) -> tuple[DockingFlow, Pairs[Poses], Pairs[Poses]]:
    """The flow of all complexes, pairs to learn from, and pairs to choose the best grid by."""
    flow, start = fit_starts(model, complexes, config.poses * len(complexes), config.seed)
    task = progress.add_task("teacher", total=None, note="")

    def show(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)

    pairs = run_teacher(flow, start, replace(TEACHER, checked=len(complexes)), config.cache / "teacher", show)
    if not pairs.converged:
        median = float(pairs.disagreement.median())
        progress.console.print(f"note: the teacher has not converged (median disagreement {median:.3g} Å²)")
    finite = pairs.end.positions.isfinite().all(-1).all(-1).nonzero()[:, 0]
    chosen = torch.arange(len(finite)) % _VALIDATION == 0
    return flow, pairs.take(finite[~chosen]), pairs.take(finite[chosen])


def learn(
    flow: DockingFlow,
    train: Pairs[Poses],
    valid: Pairs[Poses],
    solver: Solver,
    nfe: int,
    config: LearnConfig,
    progress: Progress,
    task: TaskID,
) -> FitResult:
    """One fit, like a user's but longer."""
    longer = replace(fit_config(nfe), steps=config.steps, seed=config.seed)

    def show(point: Point) -> None:
        best = f"validation loss {point.valid:.4f}"
        progress.update(task, completed=point.step, note=best)

    return fit(flow, train, valid, solver, nfe, longer, folder=config.cache / "fit", on_progress=show)


def _check(config: LearnConfig) -> Solver:
    for name, least in (("complexes", 2), ("poses", 1), ("steps", 0), ("threads", 1)):
        value = getattr(config, name)
        if value < least:
            raise _mistake(f"--{name}", f"got {value}", f"give a number >= {least}")
    try:
        solver = get_solver(config.solver)
        for nfe in config.nfe:
            solver.steps(nfe)
    except ValueError as error:
        raise _mistake("--solver or --nfe", str(error), "give others") from error
    return solver


def _mistake(option: str, message: str, remedy: str) -> InputError:
    return InputError(InputProblem(option, "", message, remedy))


def cli(arguments: Sequence[str] | None = None) -> None:
    """The command line; exits with status 2 and one line for a mistake of the user."""
    console = Console(stderr=True)
    try:
        main(tyro.cli(LearnConfig, description=__doc__, args=arguments), console)
    except InputError as error:
        console.print(f"error: {error}", highlight=False, markup=False, soft_wrap=True)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from here")
        raise SystemExit(130) from None


if __name__ == "__main__":
    cli()
