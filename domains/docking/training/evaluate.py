"""Redocking: how close a model brings ligands to where they are known to bind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from domains.docking.networks.weights import DockingModel
from domains.docking.poses.flow import DockingFlow
from domains.docking.poses.metrics import automorphisms, symmetric_rmsd
from domains.docking.poses.pose import Poses
from domains.docking.structures.batch import collate
from domains.docking.structures.complexes import Complex
from ld3.grids.grid import HAND_MADE
from ld3.solvers import get_solver, integrate

Sampler = Callable[[DockingFlow, Poses, torch.Generator], Poses]
"""(flow, poses of pure noise, randomness for those who need more of it) -> docked poses."""

BATCH = 8  # complexes side by side: more of them cost memory, and no longer save time on a CPU


@dataclass(frozen=True)
class Redocking:
    """Results for K complexes with S poses each."""

    names: tuple[str, ...]
    rmsd: NDArray[np.float64]  # (K, S) Å to the bound pose, symmetry-corrected; NaN where the pose is not finite
    seconds_per_pose: float


def ode_sampler(solver: str, steps: int, grid: str) -> Sampler:
    """The probability-flow ODE by a named solver on a hand-made grid of `steps` steps.

    Raises:
        ValueError: if there is no such solver or grid.
    """
    rule = get_solver(solver)
    if grid not in HAND_MADE:
        raise ValueError(f"grid must be one of {', '.join(HAND_MADE)}, got {grid!r}")

    def sample(flow: DockingFlow, start: Poses, generator: torch.Generator) -> Poses:
        return integrate(flow, start, HAND_MADE[grid](flow.clock, steps), rule)

    return sample


@torch.no_grad()
def redock(
    model: DockingModel, complexes: Sequence[Complex], sampler: Sampler, poses: int, seed: int, score_scale: float
) -> Redocking:
    """Dock each complex `poses` times from pure noise; the start poses depend on `seed` alone.

    Raises:
        ValueError: if a complex has no bound pose, or `poses` is not positive.
        InputError: if a ligand has too many symmetries to correct for.
    """
    if poses < 1:
        raise ValueError(f"poses must be at least 1, got {poses}")
    seconds = 0.0
    rmsd = np.empty((len(complexes), poses))
    for index, rows in enumerate(_rows_by_size(complexes)):
        batch = collate([complexes[i] for i in rows])
        generator = torch.Generator().manual_seed(1_000_003 * seed + index)
        began = time.perf_counter()
        flow = DockingFlow(model, batch, score_scale)
        start = flow.start(torch.arange(len(rows)).repeat_interleave(poses), generator)
        end = sampler(flow, start, generator).positions.double().numpy()
        seconds += time.perf_counter() - began
        for k, i in enumerate(rows):
            docked = end[k * poses : (k + 1) * poses, : complexes[i].ligand.n_atoms]
            rmsd[i] = _rmsd(complexes[i], docked + batch.origin[k].double().numpy())
    return Redocking(tuple(c.name for c in complexes), rmsd, seconds / rmsd.size)


def _rows_by_size(complexes: Sequence[Complex]) -> Iterator[list[int]]:
    order = sorted(range(len(complexes)), key=lambda i: complexes[i].ligand.n_atoms)
    return (order[i : i + BATCH] for i in range(0, len(order), BATCH))


def _rmsd(complex_: Complex, docked: NDArray[np.float64]) -> NDArray[np.float64]:
    if complex_.reference is None:
        raise ValueError(f"complexes: {complex_.name} has no bound pose to compare with")
    return symmetric_rmsd(docked, complex_.reference, automorphisms(complex_.ligand))
