"""Rows of poses -> rows of methods, with bootstrap intervals, and the paired difference of the learned grid.

A pose that failed counts: as no success, as not valid, and as +inf in a median.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.names import LEARNED
from benchmarks.docking.methods import Method
from benchmarks.docking.pose_rows import PoseRow
from domains.bootstrap import Interval, Statistic, bootstrap_difference, bootstrap_interval
from domains.docking.poses.validity import Validity

Bounds = tuple[float | None, float | None] | None
Value = Callable[[PoseRow], float | None]


@dataclass(frozen=True)
class MethodRow:
    """One line of the table.

    Rates are fractions of poses, lengths are in Å, ``_ci`` are 95% bootstrap intervals (complexes, then poses, are
    resampled). None stands for "there is no such number": no bound pose is known, or so many poses failed that a median
    is infinite.

    Attributes:
        method, solver, nfe: what ran.
        score_scale: c of the flow that was followed.
        same_as: the method whose grid this one's is.
        n_complexes, n_poses: that were docked.
        n_references: complexes of which the bound pose is known; the others have no success and no RMSD.
        success_2A, success_5A: poses nearer than that to the bound pose, without ranking.
        median_rmsd, centroid_distance: medians over poses.
        rmsd_to_teacher: median RMSD to the teacher's pose from the same start.
        valid: share of the `n_checked` poses, the first of each complex, that pass all of PoseBusters' checks.
        failed: poses that are not finite.
        ms_per_pose: wall time.
    """

    method: str
    solver: str
    nfe: int
    score_scale: float
    same_as: str | None
    n_complexes: int
    n_references: int
    n_poses: int
    success_2A: float | None
    success_2A_ci: Bounds
    success_5A: float | None
    success_5A_ci: Bounds
    median_rmsd: float | None
    median_rmsd_ci: Bounds
    rmsd_to_teacher: float | None
    rmsd_to_teacher_ci: Bounds
    centroid_distance: float | None
    valid: float | None
    n_checked: int
    failed: int
    ms_per_pose: float


@dataclass(frozen=True)
class Paired:
    """The learned grid minus the best hand-made one at the same NFE, over the same complexes and starts.

    The best one is the best on these very poses, which favours it. For "success_2A" more is better, for
    "rmsd_to_teacher" (medians, Å) less.
    """

    nfe: int
    solver: str
    metric: Literal["success_2A", "rmsd_to_teacher"]
    best_hand: str
    learned: float
    hand: float
    difference: float
    ci: Bounds


class Summary:
    """Rows of poses of all methods so far.

    Args:
        references: complexes of which the bound pose is known.
        score_scale: of the run.
        seed: of the bootstrap.
    """

    def __init__(self, references: AbstractSet[str], score_scale: float, seed: int) -> None:
        self.rows: list[MethodRow] = []
        self._poses: dict[tuple[str, int], list[PoseRow]] = {}
        self._references = references
        self._score_scale = score_scale
        self._seed = seed
        self._no_teacher: set[tuple[str, int]] = set()

    @property
    def poses(self) -> list[PoseRow]:
        """All rows of poses."""
        return [row for rows in self._poses.values() for row in rows]

    def add(self, method: Method, poses: list[PoseRow], ms_per_pose: float) -> None:
        """A method's poses, the teacher's first: from a start where it failed there is nothing to compare with."""
        if not self.rows:
            self._no_teacher = {(row.complex, row.sample) for row in poses if row.failed}
        self._poses[method.name, method.nfe] = poses
        success_2, success_5 = (self._interval(poses, self._within(limit), "mean") for limit in (2.0, 5.0))
        rmsd = self._interval(poses, self._rmsd, "median")
        to_teacher = self._interval(poses, self._to_teacher, "median")
        distance = self._interval(poses, self._distance, "median")
        row = MethodRow(
            method=method.name,
            solver=method.solver,
            nfe=method.nfe,
            score_scale=self._score_scale if method.score_scale is None else method.score_scale,
            same_as=method.same_as,
            n_complexes=len({row.complex for row in poses}),
            n_references=len(self._references),
            n_poses=len(poses),
            success_2A=_estimate(success_2),
            success_2A_ci=_bounds(success_2),
            success_5A=_estimate(success_5),
            success_5A_ci=_bounds(success_5),
            median_rmsd=_estimate(rmsd),
            median_rmsd_ci=_bounds(rmsd),
            rmsd_to_teacher=_estimate(to_teacher),
            rmsd_to_teacher_ci=_bounds(to_teacher),
            centroid_distance=_estimate(distance),
            valid=None,
            n_checked=0,
            failed=sum(row.failed is not None for row in poses),
            ms_per_pose=ms_per_pose,
        )
        self.rows.append(row)

    def judge(self, method: Method, verdicts: Mapping[str, Sequence[Validity]]) -> None:
        """PoseBusters on the first poses of each complex, for a method that has been added. No answer is no pass."""
        key = method.name, method.nfe
        self._poses[key] = [
            row.judged(verdicts[row.complex][row.sample]) if row.sample < len(verdicts.get(row.complex, ())) else row
            for row in self._poses[key]
        ]
        checked = [row for row in self._poses[key] if row.checked]
        valid = sum(row.valid is True for row in checked) / len(checked) if checked else None
        place = next(i for i, row in enumerate(self.rows) if (row.method, row.nfe) == key)
        self.rows[place] = replace(self.rows[place], valid=valid, n_checked=len(checked))

    def paired(self, hand_made: Sequence[str]) -> list[Paired]:
        """Differences at every NFE that has a learned grid."""
        found = []
        for row in self.rows:
            if row.method == LEARNED:
                hand = [other for other in self.rows if other.nfe == row.nfe and other.method in hand_made]
                found += [
                    self._paired(row, hand, "success_2A", self._within(2.0), "mean", more_is_better=True),
                    self._paired(row, hand, "rmsd_to_teacher", self._to_teacher, "median", more_is_better=False),
                ]
        return [pair for pair in found if pair is not None]

    def _paired(
        self,
        learned: MethodRow,
        hand: Sequence[MethodRow],
        metric: Literal["success_2A", "rmsd_to_teacher"],
        value: Value,
        statistic: Statistic,
        *,
        more_is_better: bool,
    ) -> Paired | None:
        def figure(row: MethodRow) -> float | None:
            found: float | None = getattr(row, metric)
            return found

        able = {row.method: number for row in hand if (number := figure(row)) is not None}
        own = figure(learned)
        if own is None or not able:
            return None
        best = (max if more_is_better else min)(able, key=able.__getitem__)
        first, second = (self._values(self._poses[name, learned.nfe], value) for name in (LEARNED, best))
        difference = bootstrap_difference(first, second, statistic, self._seed)
        return Paired(
            learned.nfe, learned.solver, metric, best, own, able[best], difference.estimate, _bounds(difference)
        )

    def _interval(self, poses: Sequence[PoseRow], value: Value, statistic: Statistic) -> Interval | None:
        values = self._values(poses, value)
        return bootstrap_interval(values, statistic, self._seed) if values else None

    def _values(self, poses: Sequence[PoseRow], value: Value) -> list[NDArray[np.float64]]:
        """One array a complex, without the poses that have no such value."""
        columns: dict[str, list[float]] = {}
        for row in poses:
            if (number := value(row)) is not None:
                columns.setdefault(row.complex, []).append(number)
        return [np.array(column) for column in columns.values()]

    def _rmsd(self, row: PoseRow) -> float | None:
        return _or_inf(row.rmsd) if row.complex in self._references else None

    def _distance(self, row: PoseRow) -> float | None:
        return _or_inf(row.centroid_distance) if row.complex in self._references else None

    def _to_teacher(self, row: PoseRow) -> float | None:
        return None if (row.complex, row.sample) in self._no_teacher else _or_inf(row.rmsd_to_teacher)

    def _within(self, limit: float) -> Value:
        def success(row: PoseRow) -> float | None:
            rmsd = self._rmsd(row)
            return None if rmsd is None else float(rmsd < limit)

        return success


def _or_inf(number: float | None) -> float:
    return math.inf if number is None else number


def _estimate(interval: Interval | None) -> float | None:
    return _finite(interval.estimate) if interval else None


def _bounds(interval: Interval | None) -> Bounds:
    return (_finite(interval.low), _finite(interval.high)) if interval else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def by_nfe(rows: Sequence[MethodRow]) -> Mapping[str, list[MethodRow]]:
    """Method -> its rows, by rising NFE."""
    found: dict[str, list[MethodRow]] = {}
    for row in sorted(rows, key=lambda row: row.nfe):
        found.setdefault(row.method, []).append(row)
    return found
