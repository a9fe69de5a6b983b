"""Rows of the images benchmark: distances to the teacher and to real images, and what the learned grid gains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.common.names import LEARNED
from benchmarks.images.methods import Made, Method
from domains.bootstrap import Interval, bootstrap_difference, bootstrap_interval
from domains.images.conditioned import Conditioned, ConditionedFlow
from domains.images.metrics.quality import DigitsQuality

Bounds = tuple[float | None, float | None]


@dataclass(frozen=True)
class ImageRow:
    """One line of the table. None stands for "there is no such number".

    Attributes:
        method, solver, nfe: what ran.
        same_as: the method whose grid this one's is.
        n_images: that were made.
        n_compared: those of them whose start the teacher has brought to a finite image.
        distance: mean over images of the distance to the teacher's image from the same start.
        distance_ci: 95% bootstrap interval over images.
        frechet_pixels, frechet_features: to real images, where the model's data are known.
        failed: images that are not finite; each makes the distance infinite, and no Fréchet distance has them.
        ms_per_image: wall time.
    """

    method: str
    solver: str
    nfe: int
    same_as: str | None
    n_images: int
    n_compared: int
    distance: float | None
    distance_ci: Bounds
    frechet_pixels: float | None
    frechet_features: float | None
    failed: int
    ms_per_image: float


@dataclass(frozen=True)
class Paired:
    """The learned grid minus the best hand-made one at the same NFE, over the same starts: less is better.

    The best one is the best on these very images, which favours it.
    """

    nfe: int
    best_hand: str
    learned: float
    hand: float
    difference: float
    ci: Bounds


class Table:
    """Rows of all methods so far.

    Args:
        flow: whose images are measured.
        starts: of all methods.
        quality: of images, where the model's data are known.
        seed: of the bootstrap.
    """

    def __init__(
        self, flow: ConditionedFlow, starts: Sequence[Conditioned], quality: DigitsQuality | None, seed: int
    ) -> None:
        self.rows: list[ImageRow] = []
        self._flow, self._starts, self._quality, self._seed = flow, starts, quality, seed
        self._goals: Made | None = None
        self._distances: dict[tuple[str, int], NDArray[np.float64]] = {}

    def add(self, method: Method, made: Made) -> None:
        """A method's images, the teacher's first."""
        if self._goals is None:
            self._goals = made
        distances = self._to_teacher(made, self._goals)
        self._distances[method.name, method.nfe] = distances
        interval = bootstrap_interval([distances], "mean", self._seed)
        pixels, features = self._quality_of(made)
        row = ImageRow(
            method=method.name,
            solver=method.solver.name,
            nfe=method.nfe,
            same_as=method.same_as,
            n_images=len(made.x),
            n_compared=len(distances),
            distance=_finite(interval.estimate),
            distance_ci=_bounds(interval),
            frechet_pixels=pixels,
            frechet_features=features,
            failed=int((~finite_images(made.x)).sum()),
            ms_per_image=made.ms_per_image,
        )
        self.rows.append(row)

    def best_hand(self, nfe: int) -> str | None:
        """The hand-made grid nearest to the teacher; None where none has a finite distance."""
        able = {row.method: row.distance for row in self.rows if row.nfe == nfe and row.distance is not None}
        able = {name: distance for name, distance in able.items() if name not in (LEARNED, self.rows[0].method)}
        return min(able, key=able.__getitem__) if able else None

    def paired(self) -> list[Paired]:
        """Differences at every NFE that has a learned grid with a finite distance."""
        found = []
        for row in self.rows:
            best = self.best_hand(row.nfe)
            if row.method == LEARNED and row.distance is not None and best is not None:
                own, hand = self._distances[LEARNED, row.nfe], self._distances[best, row.nfe]
                gap = bootstrap_difference([own], [hand], "mean", self._seed)
                found.append(Paired(row.nfe, best, row.distance, float(hand.mean()), gap.estimate, _bounds(gap)))
        return found

    def _to_teacher(self, made: Made, goals: Made) -> NDArray[np.float64]:
        """One distance an image, +inf for one that is not finite; without those that the teacher failed to make."""
        found, low = [], 0
        for start in self._starts:
            rows = slice(low, low := low + len(start.x))
            own, goal = (Conditioned(x[rows].to(start.x), start.condition) for x in (made.x, goals.x))
            with torch.no_grad():
                found.append(self._flow.distance(own, goal).double().cpu())
        distance = torch.cat(found)[finite_images(goals.x)]
        return torch.where(distance.isfinite(), distance, torch.inf).numpy()

    def _quality_of(self, made: Made) -> tuple[float | None, float | None]:
        images = made.x[finite_images(made.x)]
        if self._quality is None or len(images) < 2:
            return None, None
        condition = torch.zeros(len(images), dtype=torch.int64)
        return self._quality.measure(self._flow.decode(Conditioned(images, condition)))


def finite_images(x: Tensor) -> Tensor:
    """Which of B images are finite, (B,)."""
    return x.flatten(1).isfinite().all(1)


def _bounds(interval: Interval) -> Bounds:
    return _finite(interval.low), _finite(interval.high)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
