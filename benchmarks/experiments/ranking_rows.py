"""How often the first pose of each ranker is right: rows of the ranking study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.experiments.ranking_poses import PLAIN, Scored, top
from benchmarks.experiments.ranking_weights import Fitted
from domains.bootstrap import Interval, bootstrap_difference, bootstrap_interval
from domains.docking.training.clusters import Clusters

KNOWN: Final = "held-out ligands of known targets"
UNSEEN: Final = "unseen targets"
MEAN: Final = "a random pose"
BEST: Final = "the best of all"


@dataclass(frozen=True)
class Row:
    """Of one ranker on one split; shares of complexes.

    Attributes:
        split, nfe, samples, poses, ranker: what was ranked, and how; poses are "docked" or "refined".
        complexes: how many.
        success: first pose within 2 Å, with a 95% interval, see :func:`grouped`.
        minus_mean: of `success`, paired, minus the mean of all poses; None for the mean itself.
        valid, valid_near: first poses that pass PoseBusters, and those that are within 2 Å as well; None if not asked.
        cpu_seconds: a ligand, all poses, one thread.
    """

    split: str
    nfe: int
    samples: int
    poses: str
    ranker: str
    complexes: int
    success: Interval
    minus_mean: Interval | None
    valid: float | None = None
    valid_near: Interval | None = None
    cpu_seconds: float | None = None


def grouped(
    split: str, table: Sequence[Scored], values: Sequence[NDArray[Any]], clusters: Clusters | None = None
) -> list[NDArray[np.float64]]:
    """One array a cluster where it is known which proteins are alike; else one a ligand, or a target where targets are
    what is drawn.
    """
    if clusters is None and split != UNSEEN:
        return [np.asarray(own, dtype=np.float64) for own in values]
    alike = clusters or Clusters()
    groups: dict[str, list[NDArray[Any]]] = {}
    for scored, own in zip(table, values, strict=True):
        groups.setdefault(alike.of(scored.complex.name), []).append(own)
    return [np.concatenate(own).astype(np.float64) for own in groups.values()]


def rank_rows(
    split: str, nfe: int, kind: str, table: Sequence[Scored], weights: Fitted, clusters: Clusters | None = None
) -> list[Row]:
    """A random pose, each ranker, and the best of all."""
    if not table:
        return []
    samples = len(table[0].rmsd[kind])
    near = [scored.rmsd[kind] < 2.0 for scored in table]
    mean = grouped(split, table, near, clusters)
    seconds = float(np.mean([sum(scored.cpu_seconds.values()) for scored in table])) if kind == "refined" else None

    def row(ranker: str, values: Sequence[NDArray[Any]]) -> Row:
        own = grouped(split, table, [np.repeat(v, samples // len(v)) for v in values], clusters)
        single = grouped(split, table, values, clusters)
        gap = None if ranker == MEAN else bootstrap_difference(own, mean, "mean", seed=0)
        success = bootstrap_interval(single, "mean", seed=0)
        return Row(split, nfe, samples, kind, ranker, len(table), success, gap, cpu_seconds=seconds)

    picked = {
        name: [
            own[top(scored, kind, weights.of(scored.complex.name, name)) :][:1]
            for scored, own in zip(table, near, strict=True)
        ]
        for name in (*PLAIN, *weights.final)
    }
    best = [np.array([own.any()]) for own in near]
    return [row(MEAN, near), *(row(name, values) for name, values in picked.items()), row(BEST, best)]


def best_ranker(rows: Sequence[Row], split: str) -> str:
    """Of the refined poses of a split, summed over all numbers of evaluations and poses; of equal ones the simplest."""
    totals: dict[str, float] = {}
    for row in rows:
        if row.split == split and row.poses == "refined" and row.ranker not in (MEAN, BEST):
            totals[row.ranker] = totals.get(row.ranker, 0.0) + row.success.estimate
    return max(totals, key=lambda name: (round(totals[name], 9), -name.count("+")))
