"""Poses of both kinds to train a confidence head on, with what the network knows of them; kept on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from domains.docking.engine import dock
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.metrics import symmetric_rmsd
from domains.docking.ranking.confidence import pose_features
from domains.docking.ranking.consensus import symmetries
from domains.docking.samplers import hand_made_sampler
from domains.docking.settings import SOLVER
from domains.docking.structures.complexes import Complex
from ld3.fingerprint import fingerprint

WAYS: Final = ((10, None), (5, 1.0), (3, None))
"""Network evaluations and score scale (None = the model's) of the poses of a complex. Ten at the model's scale end
near the bound pose on complexes of training, three do not get as far, and at scale 1 poses spread."""


@final
@dataclass(frozen=True, eq=False)
class LabelledPoses:
    """S poses of one complex.

    Attributes:
        name: of the complex.
        features: (S, A, F), see :func:`domains.docking.ranking.confidence.pose_features`.
        near: (S,) whether a pose is within 2 Å.
    """

    name: str
    features: Tensor
    near: Tensor


def labelled_poses(
    model: DockingModel, complexes: Sequence[Complex], each: int, seed: int, folder: Path, done: Callable[[int], None]
) -> list[LabelledPoses]:
    """`each` poses of every complex by each of `WAYS`; one that failed is left out.

    Args:
        model: whose poses and features they are.
        complexes: with known poses.
        each: poses of a complex and way.
        seed: of starts.
        folder: where finished complexes are kept, and found again.
        done: told after each complex that one more is done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network, found = fingerprint(model.network), []
    for complex_ in complexes:
        pocket, bound = complex_.pocket, complex_.ligand.positions
        structure = (pocket.positions.tobytes(), bound.tobytes())
        key = fingerprint(network, model.score_scale, complex_.name, structure, each, seed, WAYS)
        path = folder / f"{key}.safetensors"
        try:
            kept = load_file(path)
        except (OSError, SafetensorError):
            kept = _made(model, complex_, each, seed)
            part = path.with_suffix(".part")
            save_file(kept, part)
            os.replace(part, path)
        found.append(LabelledPoses(complex_.name, kept["features"].float(), kept["near"].bool()))
        done(1)
    return found


def _made(model: DockingModel, complex_: Complex, each: int, seed: int) -> dict[str, Tensor]:
    assert complex_.reference is not None
    features, near = [], []
    for way, (nfe, c) in enumerate(WAYS):
        own = model if c is None else replace(model, score_scale=c)
        # Starts of their own for every way.
        sampler = hand_made_sampler("edm", SOLVER, nfe)
        poses = dock(own, [complex_], sampler, samples=each, seed=len(WAYS) * seed + way).positions[complex_.name]
        rmsd = torch.from_numpy(symmetric_rmsd(poses, complex_.reference, symmetries(complex_)))
        sound = rmsd.isfinite()
        features.append(pose_features(model, complex_, poses[sound.numpy()]).half())
        near.append((rmsd < 2.0)[sound])
    return {"features": torch.cat(features), "near": torch.cat(near).to(torch.uint8)}
