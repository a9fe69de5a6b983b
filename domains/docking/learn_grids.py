"""Learn a model's general grids: ``python -m domains.docking.learn_grids --weights FILE --data DIR --nfe 5 10``.

On teacher runs for complexes drawn at random, one long fit for each number of evaluations: of the training split, and
with --others half of them of proteins that the network was not trained on, where it is less sure of itself, one of each
cluster before a second one of any. Learned are the solver's times alone: the levels that the network is given do not
carry over to proteins that it has not seen (docs/grid_transfer.md). A grid that does not beat the best hand-made one on
complexes held back is not written; the hand-made one is. The grids lie beside the weights
(:mod:`domains.docking.general_grids`). Can be stopped, and goes on when the same command is given again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
import tyro
from rich.console import Console

from domains.docking.fits import evaluation_seconds, fit_evaluations, learn_grid
from domains.docking.general_grids import general_fit, grid_path
from domains.docking.networks.shipped import GENERAL
from domains.docking.networks.weights import DockingModel, load_weights
from domains.docking.settings import SOLVER, TEACHER, fit_config
from domains.docking.structures.complexes import Complex, read
from domains.docking.structures.remarks import print_reading
from domains.docking.structures.text_files import read_names
from domains.docking.training.clusters import Clusters, read_clusters
from domains.docking.training.data import SPLITS, read_split
from domains.errors import InputError, InputProblem
from domains.options import check_numbers, mistake
from domains.progress import WorkProgress
from ld3.grids import Grid
from ld3.learn import FitConfig
from ld3.solvers import get_solver

_CHECKED: Final = 64  # poses that show whether the teacher has converged


@dataclass(frozen=True)
class LearnConfig:
    """Options of the fits."""

    data: tuple[Path, ...]
    """the training data: folders with NAME/protein.pdb and NAME/ligands.sdf"""
    others: Path | None = None
    """a second such folder, of complexes that the network was not trained on: half of the complexes come from it"""
    clusters: Path | None = None
    """which proteins are alike, see domains.docking.train: one complex of each cluster is then drawn before a
    second one of any, and of --others those that are alike to one of --data are left out"""
    kept_out: Path = SPLITS / "validation_clusters.txt"
    """proteins of --others that are left out, and with --clusters all that are in a cluster with one of them"""
    weights: Path = GENERAL
    """weights.safetensors of domains.docking.train, with its score scale chosen"""
    nfe: tuple[int, ...] = (4, 5, 6, 8, 10)
    """a grid for each"""
    solver: str = SOLVER
    complexes: int = 128
    """drawn with --seed"""
    poses: int = 8
    """teacher poses a complex"""
    steps: int = 200
    """gradient steps a fit"""
    batch: int = 0
    """poses a gradient; 0 = as many as a fit for one's own complexes takes, fewer the more evaluations. With many
    evaluations little is left to gain, and a gradient of few poses is mostly noise"""
    validation_ligands: Path = SPLITS / "validation_ligands.txt"
    """the lists that the model was trained with, see domains.docking.train"""
    validation_targets: Path = SPLITS / "validation_targets.txt"
    improve: bool = False
    """a fit may also start from the times of the grid that lies beside the weights; --skip the complexes it has seen"""
    skip: int = 0
    """leave out so many complexes of the training split, in the order that --seed draws them in: those that earlier
    fits have used, so that the final test is on complexes that none has"""
    cache: Path = Path("runs/grids")
    """where to go on from"""
    seed: int = 0
    threads: int = 1


def main(config: LearnConfig, console: Console) -> None:
    """Learn every grid, and write each when it is done. The teacher runs once, for all of them.

    Raises:
        InputError: for what the user can mend.
    """
    model = load_weights(config.weights)
    _check(config)
    earlier = {nfe: _earlier(model, config, nfe) for nfe in config.nfe}
    # Without the path of its weights the model has no general grid.
    model = replace(model, path=None)
    torch.set_num_threads(config.threads)
    complexes, problems = training_complexes(config)
    complexes, refused = model.prepare(complexes)
    print_reading(complexes, [*problems, *refused], console)
    if not complexes:
        raise InputError(refused[0])
    teacher = replace(TEACHER, checked=min(len(complexes), _CHECKED))
    poses = config.poses * len(complexes)
    settings = {nfe: _settings(config, nfe) for nfe in config.nfe}
    evaluations = fit_evaluations(settings, poses, teacher)
    seconds = evaluation_seconds(model, complexes)
    console.print(
        f"up to {evaluations:,.0f} network evaluations, at {1000 * seconds:,.0f} ms each now: about "
        f"{evaluations * seconds / 3600:.1f} h; interrupted, the same command goes on",
        highlight=False,
        soft_wrap=True,
    )
    plan = {_stage(nfe): float(teacher.nfe * poses) for nfe in config.nfe}
    with WorkProgress(console, plan) as progress:
        for nfe in config.nfe:
            with progress.stage(_stage(nfe)):
                result = learn_grid(
                    model,
                    complexes,
                    nfe,
                    solver=config.solver,
                    poses=poses,
                    seed=config.seed,
                    config=settings[nfe],
                    teacher=teacher,
                    for_others=len(complexes) > 1,
                    starting_grids=earlier[nfe],
                    folder=config.cache,
                    on_progress=progress.follow(),
                )
            path = grid_path(config.weights, config.solver, nfe)
            result.save(path)
            console.print(f"{path}: {result.verdict()}", highlight=False, markup=False, soft_wrap=True)


def _settings(config: LearnConfig, nfe: int) -> FitConfig:
    usual = fit_config(nfe)
    return replace(usual, steps=config.steps, batch=config.batch or usual.batch, phases=("times",))


def _earlier(model: DockingModel, config: LearnConfig, nfe: int) -> dict[str, Grid]:
    """The times of the grid that lies beside the weights, with --improve."""
    if not config.improve:
        return {}
    fit = general_fit(model, nfe, config.solver)
    if fit is None or fit.grid.score_scale != model.score_scale:
        raise mistake("improve", f"no grid of {nfe} evaluations lies beside the weights", "leave it out")
    return {"earlier": Grid.coupled(fit.grid.solver, "earlier", fit.grid.score_scale)}


def _stage(nfe: int) -> str:
    return f"{nfe} NFE"


def training_complexes(config: LearnConfig) -> tuple[list[Complex], list[InputProblem]]:
    """At most `config.complexes` of the training split and of --others, and what of the data cannot be used.

    Raises:
        InputError: if there are none.
    """
    clusters = Clusters() if config.clusters is None else read_clusters(config.clusters)
    parts, problems = read_split(config.data, config.validation_ligands, config.validation_targets, config.clusters)
    if not parts.train:
        raise mistake("data", "every complex in it belongs to the validation split", "give more")
    others: list[Complex] = []
    if config.others is not None:
        found, more = read(config.others)
        if not found:
            raise InputError(more[0])
        known = clusters.grown({c.name.split("/")[0] for c in parts.all} | read_names(config.kept_out))
        others = [c for c in found if c.name.split("/")[0] not in known]
        problems = [*problems, *more]
    generator = torch.Generator().manual_seed(config.seed)
    sure, unsure = (
        [part[i] for i in torch.randperm(len(part), generator=generator).tolist()] for part in (parts.train, others)
    )
    sure = sure if config.clusters is None else one_of_each(sure, clusters)
    unsure = one_of_each(unsure, clusters)
    half = min(config.complexes // 2, len(unsure))
    chosen = sure[config.skip : config.skip + config.complexes - half]
    if not chosen:
        raise mistake("skip", f"got {config.skip}, and there are {len(sure)} complexes to train on", "skip fewer")
    return [*chosen, *unsure[:half]], problems


def one_of_each(complexes: Sequence[Complex], clusters: Clusters) -> list[Complex]:
    """The first complex of every cluster, then the second of every one that has it, and so on."""
    turn: dict[str, int] = {}
    turns = []
    for found in complexes:
        cluster = clusters.of(found.name)
        turn[cluster] = turn.get(cluster, -1) + 1
        turns.append(turn[cluster])
    return [complexes[i] for i in sorted(range(len(complexes)), key=turns.__getitem__)]


def _check(config: LearnConfig) -> None:
    check_numbers(config, {"complexes": 2, "poses": 1, "steps": 0, "batch": 0, "skip": 0, "threads": 1})
    try:
        solver = get_solver(config.solver)
        for nfe in config.nfe:
            solver.steps(nfe)
    except ValueError as error:
        raise mistake("solver or --nfe", str(error), "give others") from error
    folder = grid_path(config.weights, config.solver, 1).parent
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise mistake(
            "weights", f"cannot write in {folder} ({error.strerror})", "copy the weights elsewhere"
        ) from error


def cli(arguments: Sequence[str] | None = None) -> None:
    """The command line; exits with status 2 and one line for a mistake of the user."""
    console = Console(stderr=True)
    try:
        main(tyro.cli(LearnConfig, description=__doc__, args=arguments), console)
    except (InputError, ValueError) as error:
        console.print(f"error: {error}", highlight=False, markup=False, soft_wrap=True)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from here")
        raise SystemExit(130) from None


if __name__ == "__main__":
    cli()
