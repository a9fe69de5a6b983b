"""Rows of poses -> rows of methods with bootstrap intervals, and paired differences between methods.

A pose that failed counts: as no success, as not valid, and as +inf in a median.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.comparison import LEARNED, SHIPPED, Bounds, Paired, bounds_of, estimate_of, paired
from benchmarks.docking.methods import LOW_TEMPERATURE, SCALED, Method
from benchmarks.docking.pose_rows import PoseRow
from domains.bootstrap import Interval, Statistic, bootstrap_interval
from domains.docking.poses.validity import Validity

Value = Callable[[PoseRow], float | None]
Key = tuple[str, int]
"""Name of a method and its NFE."""


@dataclass(frozen=True)
class MethodRow:
    """One line of the table.

    Rates are fractions of poses, lengths are in Å, ``_ci`` are 95% bootstrap intervals (complexes, then poses, are
    resampled). None stands for "there is no such number": no bound pose is known, or so many poses failed that a median
    is infinite.

    Attributes:
        method, solver, nfe: what ran.
        score_scale: c that the score was multiplied by.
        same_as: the method whose grid this one's is.
        n_complexes, n_poses: that were docked.
        n_references: complexes of which the bound pose is known; the others have no success and no RMSD.
        success_2A, success_5A: poses nearer than that to the bound pose, without ranking.
        best_2A: complexes of which at least one pose is within 2 Å: what a perfect ranking would find.
        distinct: distinct poses of a complex (clusters at 1 Å among its poses), mean over complexes.
        median_rmsd, centroid_distance: medians over poses.
        rmsd_to_teacher: median RMSD to the teacher's pose from the same start.
        valid: share of the `n_checked` poses, the first of each complex, that pass all of PoseBusters' checks.
        failed: poses that are not finite.
        ms_per_pose: wall time on a batch that all methods of the run were timed on, one after the other.
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
    best_2A: float | None
    best_2A_ci: Bounds
    distinct: float
    success_5A: float | None
    success_5A_ci: Bounds
    median_rmsd: float | None
    median_rmsd_ci: Bounds
    rmsd_to_teacher: float | None
    rmsd_to_teacher_ci: Bounds
    centroid_distance: float | None
    failed: int
    valid: float | None = None
    valid_ci: Bounds = None
    n_checked: int = 0
    ms_per_pose: float | None = None


class Summary:
    """Rows of poses of all methods so far.

    Args:
        references: complexes of which the bound pose is known.
        seed: of the bootstrap.
        group: complex -> what it is drawn with in intervals; each for itself if None.
    """

    def __init__(self, references: AbstractSet[str], seed: int, group: Callable[[str], str] | None = None) -> None:
        self._group = group or str
        self._rows: dict[Key, MethodRow] = {}
        self._poses: dict[Key, list[PoseRow]] = {}
        self._references = references
        self._seed = seed
        self._no_teacher: set[tuple[str, int]] = set()

    @property
    def rows(self) -> list[MethodRow]:
        """Of the table."""
        return list(self._rows.values())

    @property
    def poses(self) -> list[PoseRow]:
        """All rows of poses."""
        return [row for rows in self._poses.values() for row in rows]

    def add(self, method: Method, poses: list[PoseRow]) -> None:
        """A method's poses, the teacher's first: from a start where it failed there is nothing to compare with."""
        if not self._rows:
            self._no_teacher = {(row.complex, row.sample) for row in poses if row.failed}
        key = method.name, method.nfe
        self._poses[key] = poses
        two, five = (self._interval(self._values(poses, self._within(limit)), "mean") for limit in (2.0, 5.0))
        best = self._interval(self._best_values(poses), "mean")
        rmsd, to_teacher, distance = (
            self._interval(self._values(poses, value), "median")
            for value in (self._rmsd, self._to_teacher, self._distance)
        )
        found = {row.complex for row in poses}
        self._rows[key] = MethodRow(
            method=method.name,
            solver=method.solver,
            nfe=method.nfe,
            score_scale=method.score_scale,
            same_as=method.same_as,
            n_complexes=len(found),
            n_references=len(self._references),
            n_poses=len(poses),
            success_2A=estimate_of(two),
            success_2A_ci=bounds_of(two),
            best_2A=estimate_of(best),
            best_2A_ci=bounds_of(best),
            distinct=len({(row.complex, row.cluster) for row in poses if row.failed is None}) / len(found),
            success_5A=estimate_of(five),
            success_5A_ci=bounds_of(five),
            median_rmsd=estimate_of(rmsd),
            median_rmsd_ci=bounds_of(rmsd),
            rmsd_to_teacher=estimate_of(to_teacher),
            rmsd_to_teacher_ci=bounds_of(to_teacher),
            centroid_distance=estimate_of(distance),
            failed=sum(row.failed is not None for row in poses),
        )

    def add_verdicts(self, method: Method, verdicts: Mapping[str, Sequence[Validity]]) -> None:
        """PoseBusters on the first poses of each complex, for a method that has been added. No answer is no pass."""
        key = method.name, method.nfe
        self._poses[key] = [
            row.with_verdict(verdicts[row.complex][row.sample])
            if row.sample < len(verdicts.get(row.complex, ()))
            else row
            for row in self._poses[key]
        ]
        values = self._values(self._poses[key], lambda row: float(row.valid is True) if row.checked else None)
        valid = self._interval(values, "mean")
        self._rows[key] = replace(
            self._rows[key], valid=estimate_of(valid), valid_ci=bounds_of(valid), n_checked=sum(map(len, values))
        )

    def add_time(self, method: Method, ms_per_pose: float) -> None:
        """What a pose takes, for a method that has been added."""
        key = method.name, method.nfe
        self._rows[key] = replace(self._rows[key], ms_per_pose=ms_per_pose)

    def paired(self, hand_made: Sequence[str]) -> list[Paired]:
        """What the shipped and the fitted grids gain over the best hand-made one of the same NFE, and over DiffDock's
        samplers: what the score scale gains there, and what solver and grid gain at equal score scale.

        The best one is the best on these very poses, which favours it.
        """
        found: list[Paired | None] = []
        own = [key for key in self._rows if key[0] in (SHIPPED, LEARNED)]
        for key in own:
            others = [other for other in self._rows if other[1] == key[1] and other[0] in hand_made]
            found += [
                self._paired("success_2A", key, self._best("success_2A", others, max)),
                self._paired("rmsd_to_teacher", key, self._best("rmsd_to_teacher", others, min)),
            ]
        peers = [key for key in self._rows if key[0] == LOW_TEMPERATURE]
        found += [self._paired("success_2A", key, peer) for peer in peers for key in own]
        for plain, scaled in SCALED.items():
            first, second = ([key for key in self._rows if key[0] == name] for name in (plain, scaled))
            for at_one, at_c in zip(first, second or first, strict=True):
                found += [self._paired("success_2A", at_c, at_one)] if second else []
                found += [self._paired("success_2A", key, at_c) for key in own]
        return [pair for pair in found if pair is not None]

    def _best(self, metric: str, keys: Sequence[Key], choose: Callable[..., Key]) -> Key | None:
        able = {key: figure for key in keys if (figure := getattr(self._rows[key], metric)) is not None}
        return choose(able, key=able.__getitem__) if able else None

    def _paired(self, metric: str, first: Key, second: Key | None) -> Paired | None:
        if second is None:
            return None
        figures = getattr(self._rows[first], metric), getattr(self._rows[second], metric)
        if None in figures:
            return None
        rate = metric == "success_2A"
        value = self._within(2.0) if rate else self._to_teacher
        values = self._values(self._poses[first], value), self._values(self._poses[second], value)
        return paired(metric, first, second, figures, values, "mean" if rate else "median", self._seed)

    def _interval(self, values: Sequence[NDArray[np.float64]], statistic: Statistic) -> Interval | None:
        return bootstrap_interval(values, statistic, self._seed) if values else None

    def _values(self, poses: Sequence[PoseRow], value: Value) -> list[NDArray[np.float64]]:
        """One array a complex, or a group of them, without the poses that have no such value."""
        columns: dict[str, list[float]] = {}
        for row in poses:
            if (number := value(row)) is not None:
                columns.setdefault(self._group(row.complex), []).append(number)
        return [np.array(column) for column in columns.values()]

    def _best_values(self, poses: Sequence[PoseRow]) -> list[NDArray[np.float64]]:
        """Whether a complex has a pose within 2 Å, in arrays as those of `_values`."""
        best: dict[str, float] = {}
        near = self._within(2.0)
        for row in poses:
            if (number := near(row)) is not None:
                best[row.complex] = max(number, best.get(row.complex, 0.0))
        columns: dict[str, list[float]] = {}
        for name, number in best.items():
            columns.setdefault(self._group(name), []).append(number)
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
