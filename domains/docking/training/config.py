"""The settings of a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, final

import torch
import tyro

from domains.docking.networks.pocket_net import PocketNetConfig
from domains.docking.poses.diffusion import NoiseRange
from domains.docking.training.data import SPLITS
from domains.docking.training.pockets import PocketVariation
from domains.training import check_settings

Precision = Literal["float32", "bf16"]


@final
@dataclass(frozen=True)
class TrainConfig:
    """Settings of the training run.

    Raises:
        ValueError: naming a value that is out of its range.
    """

    data: tuple[Path, ...]
    """folders with NAME/protein.pdb and NAME/ligands.sdf"""
    out: Path
    """where the run lives; an interrupted run found here is continued"""
    start: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """weights file that a new run starts from, with a fresh optimiser: to fine-tune a model, or to go on from one"""
    steps: int = 30_000
    warm_up: int = 500
    """steps over which the learning rate rises to its full value"""
    decay: float = 0.3
    """the learning rate falls linearly to zero over this last part of the steps"""
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    complexes: int = 4
    """complexes a step"""
    poses: int = 8
    """noisy poses per complex and step"""
    ema: float = 0.999
    """decay of the moving average of the weights, a step"""
    embedded_weight: float = 0.0
    """how often each of the four complexes of the posebusters package is drawn, relative to one of --data of the same
    cluster size; 0: they are left out, so that the model has not seen them"""
    balance: float = 1.0
    """a cluster of n complexes is drawn n^balance times as often as one of a single complex: 1 = by numbers, 0 = all
    clusters alike"""
    pseudo_share: float = 0.0
    """share of batches of ligands that are cut out of the same proteins"""
    conformer_share: float = 0.0
    """how often a ligand is drawn as a conformer of RDKit with the bound torsions, laid over the bound pose"""
    pockets: PocketVariation = field(default_factory=PocketVariation)
    """how they vary from draw to draw"""
    clusters: Path | None = None
    """which proteins are alike, one cluster a line, members separated by tabs; without it each is for itself"""
    validation_ligands: Path = SPLITS / "validation_ligands.txt"
    validation_targets: Path = SPLITS / "validation_targets.txt"
    """kept out of training, and with --clusters all that are in a cluster with one of them"""
    validate_every: int = 1000
    """steps between measurements of the denoising losses of the validation complexes"""
    dock_every: int = 5000
    """steps between redockings of the validation complexes, one pose each"""
    dock_score_scale: float = 3.0
    """of these redockings"""
    save_minutes: float = 3.0
    score_scale: float = 1.0
    """written into the weights file; chosen by domains.docking.score_scale afterwards"""
    seed: int = 0
    threads: int = 2
    workers: int = 0
    """processes beside this one that draw what the steps see, for a GPU that would wait for it; they change no step"""
    device: str = "cpu"
    """as torch writes it: cpu, cuda, cuda:1"""
    precision: Precision = "float32"
    """bf16: matrix products of the network in bfloat16 (autocast), everything else in float32"""
    pocket: PocketNetConfig = field(default_factory=PocketNetConfig)
    """sizes of the network"""
    noise: NoiseRange = field(default_factory=NoiseRange)

    def __post_init__(self) -> None:
        whole = ("steps", "warm_up", "complexes", "poses", "validate_every", "dock_every", "threads")
        positive = ("learning_rate", "dock_score_scale", "save_minutes", "score_scale")
        check_settings(self, whole, positive, ("decay", "ema"))
        if not self.data:
            raise ValueError("data must be at least one folder, got none")
        if self.precision not in ("float32", "bf16"):
            raise ValueError(f"precision is {self.precision!r}; use 'float32' or 'bf16'")
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:  # a torch without CUDA asserts that it has it
            raise ValueError(f"device is {self.device!r}, which cannot be used here ({error})") from error
        for name in ("balance", "pseudo_share", "conformer_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if self.workers < 0:
            raise ValueError(f"workers must be at least 0, got {self.workers}")
        for name in ("embedded_weight", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")
