"""Learns a grid on poses of training complexes: on the bound ones, the teacher's, or both beside each other.

Bound poses are the only ends that a stochastic sampler can learn from, whose noise no teacher shares. The noise of
every pair is drawn once and kept, which makes the end of such a sampler a differentiable function of its grid. What is
lowered is the mean of d/(d + s²), d the mean squared displacement of the atoms from the end: on bound poses, a smooth
count of the poses that miss them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import torch

from domains.docking.fits import fit_starts
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.flow import DockingFlow
from domains.docking.poses.pose import Poses, bound_poses
from domains.docking.settings import FIT_POSES, TEACHER, fit_config, poses_at_once
from domains.docking.structures.complexes import Complex
from domains.seeds import seed_of
from ld3.grids import Grid
from ld3.learn import FitConfig, FitResult, Pairs, Point, bounded, fit, run_teacher
from ld3.learn.teacher import too_coarse
from ld3.solvers import Solver
from ld3.state import Tangent, cat

Ends = Literal["bound", "teacher"]
"""Where a student ought to arrive: at the bound pose, or where the teacher arrives from the same start."""


def learn_on_poses(
    model: DockingModel,
    complexes: Sequence[Complex],
    nfe: int,
    solver: Solver,
    *,
    ends: Sequence[Ends] = ("bound",),
    poses: int = FIT_POSES,
    seed: int = 0,
    config: FitConfig | None = None,
    begin: Grid | None = None,
    folder: Path | None = None,
    on_progress: Callable[[Point], None] | None = None,
) -> FitResult:
    """Learn a grid of `nfe` evaluations; one complex in five is kept to choose the best one by. There is no final test:
    compare the grid on complexes that are not among these.

    Args:
        model: at its score scale, which is 1 for a solver with temperatures.
        complexes: with names of their own, and bound poses as their conformers.
        nfe: network evaluations a pose.
        solver: stochastic or not.
        ends: that every start is to reach; with both, each counts half.
        poses: starts, dealt to the complexes; none is one that `dock` takes.
        seed: of starts, noise and batches.
        config: of the fit; the default for docking if None.
        begin: grid to start from; the best one made by hand if None.
        folder: where an interrupted fit goes on.
        on_progress: called after every validation.

    Raises:
        ValueError: if there are fewer than two complexes, one has no bound pose, `ends` are none, unknown or given
            twice, the solver cannot spend `nfe`, or is stochastic and is to reach the teacher's ends.

    Warns:
        UserWarning: if the only ends are the teacher's, and it is so far from twice its steps that it matters, beside
            how far the fit is from it.
    """
    if len(complexes) < 2:
        raise ValueError(f"complexes must be at least 2, to learn from and to choose by, got {len(complexes)}")
    if unknown := [c.name for c in complexes if c.reference is None]:
        raise ValueError(f"complexes must have bound poses, got {unknown[0]!r} without one")
    if not ends or len({*ends} & {*get_args(Ends)}) < len(ends):
        raise ValueError(f"ends must be of {', '.join(get_args(Ends))}, each once, got {', '.join(ends) or 'none'}")
    if solver.spread and "teacher" in ends:
        raise ValueError(f"ends must be bound poses for the stochastic {solver.name}: a teacher has other noise")
    flow, bound = bound_pairs(model, complexes, poses, seed, solver.steps(nfe) if solver.spread else None)
    config = replace(config or fit_config(nfe), seed=seed, chunk=poses_at_once(model.device))
    kinds = {"bound": bound}
    if "teacher" in ends:
        teacher = replace(TEACHER, chunk=config.chunk)
        kinds["teacher"] = run_teacher(flow, bound.start, teacher, folder and folder / "teacher")
    groups = bound.start.complex_row.cpu()
    names = groups.unique()
    drawn = names[torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))]
    chosen_by = torch.isin(groups, drawn[: len(names) // 5 or 1])
    learn, choose = (
        _together([kinds[kind].take(part.nonzero()[:, 0]) for kind in ends]) for part in (~chosen_by, chosen_by)
    )
    given = {} if begin is None else {"given": begin}
    if begin is not None:
        config = replace(config, initial_grid="given")
    found = fit(flow, learn, choose, solver, nfe, config, starting_grids=given, folder=folder, on_progress=on_progress)
    if (*ends,) == ("teacher",):  # with bound poses beside them, the loss does not say how near the teacher is
        off = bounded(kinds["teacher"].disagreement, config.scale)
        if remark := too_coarse(float(off[off.isfinite()].mean()), found.loss):
            warnings.warn(remark, stacklevel=2)
    return found


def _together(kinds: Sequence[Pairs[Poses]]) -> Pairs[Poses]:
    """The pairs of all kinds, those of one start side by side."""
    if len(kinds) == 1:
        return kinds[0]
    start, end = (cat([getattr(kind, name) for kind in kinds]) for name in ("start", "end"))
    both = replace(kinds[0], start=start, end=end, groups=None)
    return both.take(torch.arange(len(both)).view(len(kinds), -1).T.flatten())


def bound_pairs(
    model: DockingModel, complexes: Sequence[Complex], poses: int, seed: int, steps: int | None
) -> tuple[DockingFlow, Pairs[Poses]]:
    """Starts of `poses` poses, their complexes' bound ones, and the noise of a sampler of `steps` steps, if any."""
    flow, start = fit_starts(model, complexes, poses, seed)
    noise = None if steps is None else _noise(flow, start, steps - 1, seed_of(seed, "fit", "noise"))
    end = bound_poses(flow.batch, start.complex_row)
    return flow, Pairs(start, end, torch.zeros(0), True, 0, start.complex_row.cpu(), noise)


def _noise(flow: DockingFlow, start: Poses, calls: int, seed: int) -> Tangent:
    """Factor -> (B, calls, n); zero for torsions that a ligand has not."""
    generator = torch.Generator().manual_seed(seed)
    found = {
        factor: torch.randn(len(v), calls, v.shape[1], generator=generator).to(v)
        for factor, v in flow.zero_tangent(start).items()
    }
    own = flow.batch.torsion_mask[start.complex_row].to(found["tor"])
    return {**found, "tor": found["tor"] * own.unsqueeze(1)}
