"""What the comparison of networks can be told, and what follows from it before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks.common.options import mistake
from domains.docking.networks.registry import NetworkName
from domains.docking.structures.complexes import Complex
from domains.docking.training.config import TrainConfig
from domains.docking.training.data import SPLITS, BatchSampler, Split
from ld3.fingerprint import fingerprint


@dataclass(frozen=True)
class Options:
    """Options of the comparison."""

    data: Path
    """folder with NAME/protein.pdb and NAME/ligands.sdf"""
    out: Path = Path("out/networks")
    """folder for the results; a comparison that was interrupted there goes on"""
    minutes: float = 15.0
    """of training, for each network; CPU time of one core"""
    networks: tuple[NetworkName, ...] = get_args(NetworkName)
    warm_up: int = 100
    """steps over which the learning rate rises"""
    score_scale: tuple[float, ...] = (1.0, 3.0, 5.0, 7.0)
    """values to choose from, for each network"""
    chosen_on: int = 22
    """held-out ligands, drawn with --seed, on which they are compared; the others are reported"""
    poses: int = 2
    """poses a ligand"""
    nfe: int = 20
    """network evaluations a pose, by the teacher's solver on its grid"""
    seed: int = 0
    """of training and of docking"""
    validation_ligands: Path = SPLITS / "validation_ligands.txt"
    validation_targets: Path = SPLITS / "validation_targets.txt"
    page: Path | None = None
    """Markdown page with the markers of the table"""


def check(options: Options) -> None:
    """Refuse what cannot be computed.

    Raises:
        InputError: naming the option.
    """
    for name in ("minutes", "warm_up", "poses", "nfe", "chosen_on"):
        if getattr(options, name) <= 0:
            raise mistake(name, f"got {getattr(options, name)}", "give a positive number")
    if not options.networks or len(set(options.networks)) < len(options.networks):
        raise mistake("networks", f"got {' '.join(options.networks) or 'none'}", "name each network once")
    if not options.score_scale or min(options.score_scale) <= 0:
        raise mistake("score_scale", f"got {options.score_scale}", "give positive numbers")


def config_of(options: Options, name: NetworkName) -> TrainConfig:
    """How a network is trained; its folder is named by all that the training depends on."""
    config = TrainConfig(
        options.data,
        options.out,
        network=name,
        warm_up=options.warm_up,
        seed=options.seed,
        threads=1,
        validation_ligands=options.validation_ligands,
        validation_targets=options.validation_targets,
    )
    described = {key: str(value) if isinstance(value, Path) else value for key, value in vars(config).items()}
    return replace(config, out=options.out / f"{name}-{fingerprint(described, options.minutes)}")


def sampler_of(parts: Split, embedded: Sequence[Complex], config: TrainConfig) -> BatchSampler:
    """What :mod:`domains.docking.train` trains on."""
    weights = [1.0] * len(parts.train) + [config.embedded_weight] * len(embedded)
    return BatchSampler([*parts.train, *embedded], weights, config.complexes, config.pocket_radii, config.shake)


def halves(ligands: Sequence[Complex], options: Options) -> tuple[list[Complex], list[Complex]]:
    """The held-out ligands that score scale is chosen on, and the others.

    Raises:
        InputError: if there are too few.
    """
    if len(ligands) <= options.chosen_on:
        message = f"got {options.chosen_on}, and {len(ligands)} ligands are held out"
        raise mistake("chosen_on", message, "leave some to report on")
    order = np.random.default_rng(options.seed).permutation(len(ligands))
    first = set(order[: options.chosen_on].tolist())
    parts: tuple[list[Complex], list[Complex]] = ([], [])
    for i, ligand in enumerate(ligands):
        parts[i not in first].append(ligand)
    return parts
