"""Measures how close generated digits are to real ones: Fréchet distances in pixels and in a classifier's features."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, final

import torch
from torch import Tensor

from domains.images.metrics.frechet import Gaussian, frechet_distance, gaussian
from domains.images.models import digits
from domains.images.models.classifier import load_classifier

_DRAWS: Final = 4  # dequantisations of every real image
_SEED: Final = 0


@final
class DigitsQuality:
    """Measures images against all 1797 real ones, or those of some classes.

    Args:
        labels: classes; None among them, or none at all, stands for all digits.
    """

    def __init__(self, labels: Collection[int | None]) -> None:
        self._classifier = load_classifier()
        generator = torch.Generator().manual_seed(_SEED)
        real = []
        for part in digits.load():
            chosen = [None in labels or not labels or int(label) in labels for label in part.label]
            rows = torch.tensor(chosen).nonzero().flatten()
            real += [part.pixels(generator, rows) for _ in range(_DRAWS)]
        self._real = self._moments(torch.cat(real))

    def measure(self, images: Tensor) -> tuple[float, float]:
        """Fréchet distances of images (n, 1, 8, 8): in pixel space, and in feature space.

        Raises:
            ValueError: if there are fewer than two images.
        """
        pixels, features = (
            frechet_distance(own, real) for own, real in zip(self._moments(images), self._real, strict=True)
        )
        return pixels, features

    def _moments(self, images: Tensor) -> tuple[Gaussian, Gaussian]:
        images = images.float().cpu()
        return gaussian(images.flatten(1)), gaussian(self._classifier.features(images))
