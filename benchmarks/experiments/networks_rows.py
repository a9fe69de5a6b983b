"""What a trained score network costs and how well it docks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common.store import Store
from domains.bootstrap import bootstrap_difference
from domains.docking.engine import DockedPoses, dock, hand_made_sampler
from domains.docking.networks.score import ScoreNetwork
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.diffusion import NoiseRange, perturb
from domains.docking.poses.metrics import success
from domains.docking.score_scale import Row, summarise
from domains.docking.settings import TEACHER
from domains.docking.structures.complexes import Complex
from domains.docking.train import ValidationSet

_REPEATS: Final = 3  # of a timing; the fastest counts
_POSES: Final = 2  # of each complex of a batch, which makes 16 side by side


@dataclass(frozen=True)
class NetworkRow:
    """One network after its training; rates are fractions of poses, times are of one CPU core."""

    network: str
    parameters: int
    steps: int
    training_seconds: float
    ms_per_evaluation: float  # of one pose, 16 side by side
    ms_per_encoding: float  # of one complex, once
    losses: Mapping[str, float]  # "split/factor", 1 = predicting zero
    chosen: float  # score scale
    choice: Sequence[Row]  # that it was chosen from, on complexes of its own
    best: Row  # at the chosen score scale
    plain: Row  # at score scale 1
    hits_per_cpu_hour: float  # poses within 2 Å, at the chosen score scale


@dataclass(frozen=True)
class Difference:
    """Success at 2 Å of the first network minus that of another, on the same ligands from the same starts."""

    first: str
    second: str
    points: float
    interval: tuple[float, float]


@torch.no_grad()
def milliseconds(network: ScoreNetwork[Any], held: ValidationSet, noise: NoiseRange, seed: int) -> tuple[float, float]:
    """CPU time of an evaluation, per pose, and of an encoding, per complex: mean over the held-out complexes.

    Poses are bound ones with noise of all levels.
    """
    generator = torch.Generator().manual_seed(seed)
    encoding = scoring = 0.0
    poses = 0
    for batch in held.batches:
        row = torch.arange(len(batch)).repeat(_POSES)
        noisy = perturb(batch, row, noise, generator)
        encodings, scorings = [], []
        for _ in range(_REPEATS):
            began = time.process_time()
            encoded = network.encode(batch)
            between = time.process_time()
            network.score(encoded, row, noisy.poses.positions, noisy.sigma)
            encodings.append(between - began)
            scorings.append(time.process_time() - between)
        encoding += min(encodings)
        scoring += min(scorings)
        poses += len(row)
    return 1000 * scoring / poses, 1000 * encoding / len(held.complexes)


def redock(
    model: DockingModel, complexes: Sequence[Complex], score_scale: float, nfe: int, poses: int, seed: int, store: Store
) -> DockedPoses:
    """Dock by the teacher's solver and grid with `nfe` evaluations, or find that in `store`."""
    sampler = hand_made_sampler(TEACHER.grid, TEACHER.solver, nfe, score_scale)
    return dock(model, complexes, sampler, samples=poses, seed=seed, cache=store)


def row_of(name: str, docked: DockedPoses, seed: int) -> Row:
    """Rates with bootstrap intervals."""
    return summarise(f"{name}, {TEACHER.solver} {TEACHER.grid}", docked, seed)


def difference(
    first: str, a: Mapping[str, NDArray[np.float64]], second: str, b: Mapping[str, NDArray[np.float64]], seed: int
) -> Difference:
    """Paired bootstrap of success at 2 Å, given complex -> RMSD (S,) of both."""
    hits_a, hits_b = ([success(result[name], 2.0) for name in a] for result in (a, b))
    found = bootstrap_difference(hits_a, hits_b, "mean", seed)
    return Difference(first, second, found.estimate, (found.low, found.high))
