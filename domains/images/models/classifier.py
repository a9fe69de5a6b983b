"""A small classifier of the digits, whose features the Fréchet distance is also measured in.

``python -m domains.images.models.classifier --out FILE`` trains it in seconds; the file in ``weights/`` was made so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import torch
import torch.nn.functional as F
import tyro
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from domains.images.models import digits
from domains.images.models.digits import Digits
from domains.weight_files import check_tensors, read_weights, write_tensors

CLASSIFIER_WEIGHTS: Final = Path(__file__).parents[1] / "weights" / "classifier.safetensors"

_FORMAT: Final = "ld3-digits-classifier-1"
_OURS: Final = "give a file written by domains.images.models.classifier"
_HIDDEN, _FEATURES = 128, 64


@final
@dataclass(frozen=True)
class ClassifierConfig:
    """Options of the training."""

    out: Path
    """safetensors file to write"""
    steps: int = 3000
    batch: int = 128
    learning_rate: float = 1e-3
    dropout: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive and finite, got {self.learning_rate}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if not self.out.parent.is_dir():
            raise ValueError(f"out must be a file in a folder that there is, got {self.out}")


@final
class Classifier(nn.Module):
    """Images (B, 1, 8, 8) -> logits (B, 10), by way of 64 features."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        pixels = digits.SHAPE[0] * digits.SHAPE[1] * digits.SHAPE[2]
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(pixels, _HIDDEN), nn.ReLU(), nn.Dropout(dropout), nn.Linear(_HIDDEN, _FEATURES)
        )
        self.head = nn.Linear(_FEATURES, digits.CLASSES)

    def features(self, images: Tensor) -> Tensor:
        """The last hidden layer, (B, 64)."""
        return F.relu(self.layers(images))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def train_classifier(config: ClassifierConfig, data: Digits, console: Console) -> Classifier:
    """Adam on the cross-entropy, with fresh dequantisation noise in every batch."""
    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    classifier = Classifier(config.dropout)
    optimiser = torch.optim.Adam(classifier.parameters(), lr=config.learning_rate)
    for _ in track(range(config.steps), "training", console=console):
        rows = torch.randint(len(data), (config.batch,), generator=generator)
        loss = F.cross_entropy(classifier(data.pixels(generator, rows)), data.label[rows])
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    return classifier.eval().requires_grad_(False)


def accuracy(classifier: Classifier, data: Digits, seed: int = 0) -> float:
    """Share of images that get their own label."""
    guess = classifier(data.pixels(torch.Generator().manual_seed(seed))).argmax(1)
    return float((guess == data.label).double().mean())


def load_classifier(path: Path = CLASSIFIER_WEIGHTS) -> Classifier:
    """The trained classifier, in evaluation mode.

    Raises:
        InputError: as :func:`domains.weight_files.read_weights`.
    """
    tensors, _ = read_weights(path, _FORMAT, _OURS)
    classifier = Classifier()
    check_tensors(path, tensors, classifier.state_dict(), _OURS)
    classifier.load_state_dict(tensors)
    return classifier.eval().requires_grad_(False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train on the training part of the digits, say how well the validation part is classified, and write the file."""
    config = tyro.cli(ClassifierConfig, description=__doc__, args=arguments)
    console = Console(stderr=True)
    data, valid = digits.load()
    classifier = train_classifier(config, data, console)
    found = {"train": accuracy(classifier, data), "validation": accuracy(classifier, valid)}
    write_tensors(config.out, classifier.state_dict(), {"format": _FORMAT, "accuracy": json.dumps(found)})
    console.print(f"accuracy: {found['train']:.1%} in training, {found['validation']:.1%} on validation digits")


if __name__ == "__main__":
    main()
