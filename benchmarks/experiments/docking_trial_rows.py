"""Figures of docked poses in the studies of docking fits, and a row a fit with paired differences to one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domains.bootstrap import Interval, Statistic, bootstrap_difference, bootstrap_interval
from domains.docking.docked_poses import DockedPoses
from domains.docking.poses.metrics import clusters, success, symmetric_rmsd
from domains.docking.structures.symmetry import automorphisms


@dataclass(frozen=True, eq=False)
class Figures:
    """Of the poses of one method and seed, by complex.

    Attributes:
        near: which are within 2 Å of the bound pose, (S,); a pose that failed is not.
        to_teacher: Å to the teacher's pose from the same start, (S,); +inf where one of the two failed.
        distinct: clusters at 1 Å among the poses.
    """

    near: Mapping[str, NDArray[np.bool_]]
    to_teacher: Mapping[str, NDArray[np.float64]]
    distinct: Mapping[str, int]


@dataclass(frozen=True)
class Row:
    """Figures of one fit, or of a sampler to compare with; success is a fraction of poses, lengths are in Å.

    Attributes:
        name, asks: of the fit; asks is empty where a study does not say it.
        poses: of all complexes and seeds.
        success_2A, rmsd_to_teacher: mean and median, with 95% intervals (complexes, then poses, resampled).
        best_2A: fraction of complexes and seeds with a pose within 2 Å among the samples.
        distinct: mean number of clusters at 1 Å among the samples of a complex and seed.
        success_difference, rmsd_difference: paired, to the fit it is compared with; None for that one itself.
        seconds: wall time of each fit.
    """

    name: str
    asks: str
    poses: int
    success_2A: Interval
    best_2A: float
    distinct: float
    rmsd_to_teacher: Interval
    success_difference: Interval | None
    rmsd_difference: Interval | None
    seconds: tuple[float, ...]


def figures_of(docked: DockedPoses, goals: DockedPoses) -> Figures:
    """Of docked poses, and the teacher's from the same starts."""
    near = {name: success(rmsd, 2.0) for name, rmsd in docked.rmsd().items()}
    symmetries = {c.name: automorphisms(c.ligand) for c in docked.complexes}
    to_teacher = {}
    for name, poses in docked.positions.items():
        both = zip(poses, goals.positions[name], strict=True)
        rmsd = [
            symmetric_rmsd(pose[None], goal, symmetries[name])[0] if np.isfinite(goal).all() else np.inf
            for pose, goal in both
        ]
        to_teacher[name] = np.nan_to_num(np.array(rmsd), nan=np.inf)
    distinct = {name: int(clusters(poses, symmetries[name]).max()) + 1 for name, poses in docked.positions.items()}
    return Figures(near, to_teacher, distinct)


def summarise(
    found: Mapping[str, Sequence[Figures]],
    compared_with: str,
    asks: Mapping[str, str] | None = None,
    seconds: Mapping[str, Sequence[float]] | None = None,
) -> list[Row]:
    """One row a method, in the order of `found`, over all seeds.

    Args:
        found: name -> its figures, a seed each.
        compared_with: name of the method that differences are to.
        asks, seconds: name -> what a row says of it; nothing where it is left out.
    """
    asks, seconds = asks or {}, seconds or {}
    near = {name: by_complex([figures.near for figures in own]) for name, own in found.items()}
    to_teacher = {name: by_complex([figures.to_teacher for figures in own]) for name, own in found.items()}

    def gap(values: Mapping[str, Sequence[NDArray[np.float64]]], name: str, statistic: Statistic) -> Interval | None:
        if name == compared_with:
            return None
        return bootstrap_difference(values[name], values[compared_with], statistic, seed=0)

    return [
        Row(
            name=name,
            asks=asks.get(name, ""),
            poses=sum(map(len, near[name])),
            success_2A=bootstrap_interval(near[name], "mean", seed=0),
            best_2A=float(np.mean([part.any() for figures in own for part in figures.near.values()])),
            distinct=float(np.mean([n for figures in own for n in figures.distinct.values()])),
            rmsd_to_teacher=bootstrap_interval(to_teacher[name], "median", seed=0),
            success_difference=gap(near, name, "mean"),
            rmsd_difference=gap(to_teacher, name, "median"),
            seconds=tuple(seconds.get(name, ())),
        )
        for name, own in found.items()
    ]


def by_complex(seeds: Sequence[Mapping[str, NDArray[Any]]]) -> list[NDArray[np.float64]]:
    """One array a complex, seed after seed."""
    return [np.concatenate([own[name] for own in seeds]).astype(float) for name in seeds[0]]
