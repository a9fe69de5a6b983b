"""Rows of the images benchmark: distances to the teacher and to real images, as a table and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.common.comparison import LEARNED, TEACHER_ROW, Bounds, Paired, bounds_of, estimate_of, paired
from benchmarks.common.tables import Table, decimal, difference, significant
from benchmarks.images.methods import Method
from domains.bootstrap import bootstrap_interval
from domains.images.conditioned import Conditioned, ConditionedFlow
from domains.images.metrics.quality import DigitsQuality

HEADINGS: Final = ("method", "NFE", "to teacher", "95%", "FD pixels", "FD features", "failed", "ms/image")


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
        ms_per_image: wall time on a batch that all methods of the run were timed on, one after the other.
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
    ms_per_image: float | None = None


class Summary:
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
        self._rows: dict[tuple[str, int], ImageRow] = {}
        self._flow, self._starts, self._quality, self._seed = flow, starts, quality, seed
        self._goals: Tensor | None = None
        self._sound: Tensor | None = None
        self._distances: dict[tuple[str, int], NDArray[np.float64]] = {}

    @property
    def rows(self) -> list[ImageRow]:
        """Of the table."""
        return list(self._rows.values())

    def add(self, method: Method, x: Tensor) -> None:
        """A method's images x̂ (B, C, H, W), the teacher's first."""
        if self._goals is None or self._sound is None:
            self._goals, self._sound = x, sound_goals(self._flow, self._starts, x)
        key = method.name, method.nfe
        distances = self._to_teacher(x, self._goals)[self._sound.numpy()]
        lost = ~self._sound if x is self._goals else ~finite_images(x[~self._sound])
        failed = int(np.isinf(distances).sum()) + int(lost.sum())
        self._distances[key] = distances
        interval = bootstrap_interval([distances], "mean", self._seed)
        pixels, features = self._quality_of(x)
        self._rows[key] = ImageRow(
            method=method.name,
            solver=method.solver.name,
            nfe=method.nfe,
            same_as=method.same_as,
            n_images=len(x),
            n_compared=len(distances),
            distance=estimate_of(interval),
            distance_ci=bounds_of(interval),
            frechet_pixels=pixels,
            frechet_features=features,
            failed=failed,
        )

    def add_time(self, method: Method, ms_per_image: float) -> None:
        """What an image takes, for a method that has been added."""
        key = method.name, method.nfe
        self._rows[key] = replace(self._rows[key], ms_per_image=ms_per_image)

    def best_hand(self, nfe: int) -> str | None:
        """The grid that was not learned and is nearest to the teacher; None where none has a finite distance."""
        able = {row.method: row.distance for row in self.rows if row.nfe == nfe and row.distance is not None}
        able = {name: distance for name, distance in able.items() if name not in (LEARNED, TEACHER_ROW)}
        return min(able, key=able.__getitem__) if able else None

    def paired(self) -> list[Paired]:
        """The learned grid minus the best other one at every NFE that has both: less is better.

        The best one is the best on these very images, which favours it.
        """
        found = []
        for own in (row for row in self.rows if row.method == LEARNED and row.distance is not None):
            if (best := self.best_hand(own.nfe)) is not None:
                first, second = (LEARNED, own.nfe), (best, own.nfe)
                figures = own.distance, self._rows[second].distance
                values = [self._distances[first]], [self._distances[second]]
                found.append(paired("distance", first, second, figures, values, "mean", self._seed))
        return found

    def _to_teacher(self, x: Tensor, goals: Tensor) -> NDArray[np.float64]:
        """One distance an image, +inf for one that is not finite."""
        found, low = [], 0
        for start in self._starts:
            rows = slice(low, low := low + len(start.x))
            own, goal = (Conditioned(part[rows].to(start.x), start.condition) for part in (x, goals))
            with torch.no_grad():
                found.append(self._flow.distance(own, goal).double().cpu())
        distance = torch.cat(found)
        return torch.where(distance.isfinite(), distance, torch.inf).numpy()

    def _quality_of(self, x: Tensor) -> tuple[float | None, float | None]:
        images = x[finite_images(x)]
        if self._quality is None or len(images) < 2:
            return None, None
        condition = torch.zeros(len(images), dtype=torch.int64)
        return self._quality.measure(self._flow.decode(Conditioned(images, condition)))


@torch.no_grad()
def sound_goals(flow: ConditionedFlow, starts: Sequence[Conditioned], goals: Tensor) -> Tensor:
    """Which of the teacher's B images are finite, decoded, (B,)."""
    sound, low = [], 0
    for start in starts:
        part = goals[low : (low := low + len(start.x))].to(start.x)
        sound.append(finite_images(flow.decode(Conditioned(part, start.condition))).cpu())
    return torch.cat(sound)


def finite_images(x: Tensor) -> Tensor:
    """Which of B images are finite, (B,)."""
    return x.flatten(1).isfinite().all(1)


def caption(distance: str) -> str:
    """What the columns are; `distance` is the name of the measure."""
    return (
        f"to teacher: mean {distance} to the teacher's image from the same noise; 95%: bootstrap over images; FD: "
        "Fréchet distance to real images, in pixels and in features of a small classifier of theirs; ms/image: side by "
        "side on one batch"
    )


def table(rows: Sequence[ImageRow]) -> Table:
    """One line a method and NFE; "-" where there is no such number."""
    return Table(HEADINGS, [_cells(row) for row in rows], ruled_by=(1,))


def _cells(row: ImageRow) -> tuple[str, ...]:
    low, high = row.distance_ci or (None, None)
    return (
        f"{row.method} (= {row.same_as})" if row.same_as else row.method,
        str(row.nfe),
        significant(row.distance),
        f"{significant(low)} - {significant(high)}",
        significant(row.frechet_pixels),
        significant(row.frechet_features),
        str(row.failed),
        decimal(row.ms_per_image, 1),
    )


def sentence(pair: Paired, distance: str) -> str:
    """The paired difference in words."""
    own, other = pair.values
    quotient = f", {own / other:.2g} times the other's" if own is not None and other else ""
    return (
        f"{pair.nfe} NFE, {pair.first} minus best that is not learned ({pair.second}), {distance} to the teacher: "
        f"{difference(pair.difference, pair.ci, style='.2g')}{quotient}"
    )


def search(name: str, evaluations: int) -> str:
    """What it took to find a baseline's grids, in words."""
    return f"{name}: finding its grids took {evaluations} evaluations, once for all NFE"
