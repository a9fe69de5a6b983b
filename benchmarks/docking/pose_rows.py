"""Docked poses -> one row each: how far from the bound pose, how far from the teacher's, whether plausible."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.docking.inputs import Inputs
from benchmarks.docking.methods import Method
from domains.docking.poses.metrics import centroid_distance, clusters, symmetric_rmsd
from domains.docking.poses.validity import Validity
from domains.docking.structures.complexes import Complex

NOT_FINITE = "NaN or infinite coordinates"

Positions = Mapping[str, NDArray[np.float32]]
"""Complex -> poses (S, A, 3), Å, in the protein's frame."""


@dataclass(frozen=True)
class PoseRow:
    """One line of poses.jsonl.

    Attributes:
        complex: its name.
        method, solver, nfe: how the pose was docked.
        sample: number of the pose; the same number is the same start in every method.
        seed: that the complex's starts were drawn with.
        rmsd: Å to the bound pose, symmetry-corrected; None if none is known, or the pose failed.
        rmsd_to_teacher: Å to the teacher's pose from the same start; None if one of the two failed.
        centroid_distance: Å to the bound pose.
        failed: why there is no pose; None if there is one.
        cluster: number of the distinct pose that this one is, among those of the complex and method; -1 if it failed.
        checked: whether PoseBusters was asked.
        valid: its verdict; None if it was not asked or gave no answer.
        problems: checks that the pose does not pass, or why there is no answer.
        undecided: checks that could not be run.
    """

    complex: str
    method: str
    solver: str
    nfe: int
    sample: int
    seed: int
    rmsd: float | None
    rmsd_to_teacher: float | None
    centroid_distance: float | None
    failed: str | None
    cluster: int
    checked: bool = False
    valid: bool | None = None
    problems: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()

    def with_verdict(self, verdict: Validity) -> PoseRow:
        """The row with what PoseBusters says."""
        problems = (*verdict.failed, verdict.reason) if verdict.reason else verdict.failed
        return replace(self, checked=True, valid=verdict.valid, problems=problems, undecided=verdict.undecided)


def pose_rows(
    inputs: Inputs, seeds: Mapping[str, int], teacher: Positions, method: Method, docked: Positions
) -> list[PoseRow]:
    """One row a pose, complex by complex."""
    return [
        PoseRow(found.name, method.name, method.solver, method.nfe, sample, seeds[found.name], *figures)
        for found in inputs.complexes
        for sample, figures in enumerate(
            _figures(found, inputs.symmetries[found.name], teacher[found.name], docked[found.name])
        )
    ]


_Figures = tuple[float | None, float | None, float | None, str | None, int]


def _figures(
    complex_: Complex, symmetries: NDArray[np.intp], goals: NDArray[np.float32], poses: NDArray[np.float32]
) -> Iterator[_Figures]:
    """(rmsd, rmsd_to_teacher, centroid_distance, failed, cluster) of each pose (S, A, 3)."""
    reference = complex_.reference
    unknown = np.full(len(poses), np.nan)
    rmsd = unknown if reference is None else symmetric_rmsd(poses, reference, symmetries)
    distance = unknown if reference is None else centroid_distance(poses, reference)
    cluster = clusters(poses, symmetries)
    for i, (pose, goal) in enumerate(zip(poses, goals, strict=True)):
        to_teacher = symmetric_rmsd(pose[None], goal, symmetries)[0] if np.isfinite(goal).all() else np.nan
        failed = None if np.isfinite(pose).all() else NOT_FINITE
        yield _number(rmsd[i]), _number(to_teacher), _number(distance[i]), failed, int(cluster[i])


def _number(value: float) -> float | None:
    """JSON has no NaN; None says that there is no such number."""
    return float(value) if np.isfinite(value) else None
