"""Learns a grid for complexes: where a model's few network evaluations go."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch

import ld3
from domains.docking.engine import size, starts
from domains.docking.general_grids import general_fit
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.flow import DockingFlow
from domains.docking.poses.pose import Poses
from domains.docking.settings import FIT_POSES, SOLVER, TEACHER, fit_config, poses_at_once
from domains.docking.structures.batch import collate
from domains.docking.structures.complexes import Complex
from domains.errors import InputError
from domains.seeds import seed_of
from ld3.grids import Grid
from ld3.learn import FitConfig, FitResult, Teacher
from ld3.learn.plan import most_evaluations
from ld3.learn.teacher import parts
from ld3.solvers import get_solver

_TIMED: Final = 2  # poses, of which an evaluation is timed
_GRADIENT: Final = 3  # evaluations that one with its gradient costs, about


def fit_starts(model: DockingModel, complexes: Sequence[Complex], poses: int, seed: int) -> tuple[DockingFlow, Poses]:
    """The flow of at most `poses` of the complexes, drawn with `seed`, and `poses` starts dealt to them at random.

    None of these starts is one that :func:`domains.docking.dock` takes with any seed.
    """
    generator = torch.Generator().manual_seed(seed_of(seed, "fit"))
    drawn = [complexes[i] for i in torch.randperm(len(complexes), generator=generator)[:poses].tolist()]
    prepared, problems = model.prepare(drawn)
    if problems:
        raise InputError(problems[0])
    chosen = sorted(prepared, key=size)
    samples = (torch.arange(poses) % len(chosen)).bincount(minlength=len(chosen)).tolist()
    encoded = model.encode(collate(chosen))
    start = starts(encoded, chosen, samples, {c.name: seed_of(seed, "fit", c.name) for c in chosen})
    return DockingFlow(encoded), start


@torch.no_grad()
def evaluation_seconds(model: DockingModel, complexes: Sequence[Complex]) -> float:
    """Wall time of one network evaluation of one pose, measured on the complex of median size, as :meth:`prepare` gave
    it.
    """
    middle = sorted(complexes, key=size)[len(complexes) // 2]
    flow = DockingFlow(model.encode(collate([middle])))
    x = flow.prior(_TIMED, torch.Generator().manual_seed(0))
    levels = flow.clock.levels(torch.tensor(1.0, dtype=torch.float64))
    taken = []
    for _ in range(2):  # the first one warms up
        began = time.perf_counter()
        flow.displacement(x, levels)["tr"].cpu()
        taken.append(time.perf_counter() - began)
    return min(taken) / _TIMED


def fit_evaluations(settings: Mapping[int, FitConfig], poses: int, teacher: Teacher) -> float:
    """The most network evaluations, of one pose, that the fits of several grids can cost, each by its own settings;
    those with a gradient count as `_GRADIENT`. The teacher runs once for all.
    """
    train, valid, test = parts(poses)
    total = float(teacher.evaluations(poses))
    for n, own in settings.items():
        gradients = n * len(own.phases) * own.steps * min(own.batch, train)
        total += most_evaluations(own, train, valid, n, 1, test) + (_GRADIENT - 1) * gradients
    return total


def learn_grid(
    model: DockingModel,
    complexes: Sequence[Complex],
    nfe: int,
    *,
    solver: str = SOLVER,
    poses: int = FIT_POSES,
    seed: int = 0,
    config: FitConfig | None = None,
    teacher: Teacher = TEACHER,
    for_others: bool = False,
    starting_grids: Mapping[str, Grid] | None = None,
    folder: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> FitResult:
    """Learn a grid of `nfe` evaluations on teacher runs from `poses` starts.

    It starts from the model's general grid if there is one for its score scale, and from the best made by hand if not.

    Args:
        model: at its score scale.
        complexes: with names of their own.
        nfe: network evaluations a pose.
        solver: a name of ld3.solvers.
        poses: teacher runs, one in five of them to choose the best grid by and one in five for the final test; with
            fewer than 20 for it, the best grid made by hand comes back. None is one that `dock` starts from.
        seed: of starts and batches.
        config: of the fit; the default for docking if None.
        teacher: that it learns from.
        for_others: whether the grid is to dock other complexes than these: no complex is then divided between learning,
            choosing and the final test, which needs 20 complexes, and the test's interval is over complexes.
        starting_grids: more grids that it may start from, by name.
        folder: where an interrupted fit goes on.
        on_progress: called with the network evaluations made so far, per pose, and the most that there can be.

    Raises:
        ValueError: if there is no complex, the solver cannot spend `nfe`, or too many of the teacher's poses failed.
        InputError: if the file of the general grid is no saved fit.
    """
    if poses < 2 or not complexes:
        raise ValueError(f"a fit needs at least 2 poses and 1 complex, got {poses} and {len(complexes)}")
    rule = get_solver(solver)
    rule.steps(nfe)
    at_once = poses_at_once(model.device)
    general = general_fit(model, nfe, solver)
    known = {"general": general.grid} if general and general.grid.score_scale == model.score_scale else {}
    config = replace(config or fit_config(nfe), initial_grid="general" if known else "best", seed=seed, chunk=at_once)
    flow, start = fit_starts(model, complexes, poses, seed)
    return ld3.learn_grid(
        flow,
        nfe,
        solver=rule,
        start=start,
        config=config,
        groups=start.complex_row.cpu() if for_others else None,
        teacher=replace(teacher, chunk=at_once),
        starting_grids={**known, **(starting_grids or {})},
        folder=folder,
        on_progress=on_progress,
    )
