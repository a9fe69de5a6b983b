"""The options of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from domains.images.models import digits
from domains.images.models.preconditioning import NoiseDistribution
from domains.images.models.unet import UNetConfig
from domains.training import check_settings


@final
@dataclass(frozen=True)
class TrainConfig:
    """Options of the training run.

    Raises:
        ValueError: naming the one that is out of its range.
    """

    out: Path
    """where the run lives; an interrupted run found here is continued"""
    steps: int = 15_000
    batch: int = 128
    learning_rate: float = 1e-3
    warm_up: int = 200
    """steps over which the learning rate rises"""
    decay: float = 0.4
    """the learning rate falls linearly to zero over this last part of the steps"""
    class_dropout: float = 0.15
    """how often a training image loses its label, so that the network also learns the digits of any class"""
    ema: float = 0.999
    """decay of the moving average of the weights, a step"""
    validate_every: int = 500
    """steps between measurements of the validation loss; the weights with the lowest one are kept"""
    save_minutes: float = 2.0
    seed: int = 0
    threads: int = 2
    network: UNetConfig = field(default_factory=UNetConfig)
    noise: NoiseDistribution = field(default_factory=NoiseDistribution)

    def __post_init__(self) -> None:
        whole = ("steps", "batch", "warm_up", "validate_every", "threads")
        check_settings(self, whole, ("learning_rate", "save_minutes"), ("decay", "class_dropout", "ema"))
        network = self.network
        shape = (network.image_channels, network.resolution, network.resolution)
        if (shape, network.classes) != (digits.SHAPE, digits.CLASSES):
            raise ValueError(
                f"network must be for images {digits.SHAPE} of {digits.CLASSES} classes, "
                f"got {shape} and {network.classes} classes"
            )
