"""The settings of a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, final

import torch

from domains.docking.networks.pocket_net import PocketNetConfig
from domains.docking.poses.diffusion import NoiseRange
from domains.docking.training.data import SPLITS
from domains.training import check_settings

Precision = Literal["float32", "bf16"]


@final
@dataclass(frozen=True)
class TrainConfig:
    """Settings of the training run.

    Raises:
        ValueError: naming a value that is out of its range.
    """

    data: Path
    """folder with NAME/protein.pdb and NAME/ligands.sdf"""
    out: Path
    """where the run lives; an interrupted run found here is continued"""
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
    embedded_weight: float = 4.0
    """how often the four complexes of the posebusters package are drawn, relative to one of --data"""
    pocket_radii: tuple[float, float] = (5.5, 7.5)
    """pockets are cut at a random radius (Å) in this range"""
    shake: float = 0.1
    """standard deviation of the noise on pocket atoms, Å"""
    validation_ligands: Path = SPLITS / "validation_ligands.txt"
    validation_targets: Path = SPLITS / "validation_targets.txt"
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
    device: str = "cpu"
    """as torch writes it: cpu, cuda, cuda:1"""
    precision: Precision = "float32"
    """bf16: matrix products of the network in bfloat16 (autocast), everything else in float32"""
    pocket: PocketNetConfig = field(default_factory=PocketNetConfig)
    """sizes of the network"""
    noise: NoiseRange = field(default_factory=NoiseRange)

    def __post_init__(self) -> None:
        whole = ("steps", "warm_up", "complexes", "poses", "validate_every", "dock_every", "threads")
        positive = ("learning_rate", "embedded_weight", "dock_score_scale", "save_minutes", "score_scale")
        check_settings(self, whole, positive, ("decay", "ema"))
        if self.precision not in ("float32", "bf16"):
            raise ValueError(f"precision is {self.precision!r}; use 'float32' or 'bf16'")
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:  # a torch without CUDA asserts that it has it
            raise ValueError(f"device is {self.device!r}, which cannot be used here ({error})") from error
        low, high = self.pocket_radii
        if not 0 < low <= high:
            raise ValueError(f"pocket_radii must be two lengths > 0, the smaller one first, got {self.pocket_radii}")
        for name in ("shake", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")
