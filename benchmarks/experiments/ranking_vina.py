"""Vina itself in the study of ranking: its first poses, and rows beside those of the chosen ranker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.docking.vina import dock_by_vina
from benchmarks.experiments.ranking_poses import Scored
from benchmarks.experiments.ranking_rows import MEAN, Row, grouped, rank_rows, top
from benchmarks.experiments.ranking_validity import Checker, Weights, ways
from benchmarks.experiments.study import Kept
from domains.bootstrap import bootstrap_interval
from domains.docking.poses.metrics import symmetric_rmsd
from domains.docking.ranking.consensus import symmetries
from domains.docking.structures.complexes import Complex


class VinaRun(NamedTuple):
    """Of one complex.

    pose         (1, A, 3) float32, Å, Vina's first.
    cpu_seconds  of maps and search, one thread.
    """

    pose: NDArray[np.float32]
    cpu_seconds: float


def dock_in_turn(
    splits: Mapping[str, Sequence[Complex]],
    exhaustiveness: int,
    seed: int,
    kept: Kept,
    on_complex: Callable[[], None],
) -> dict[str, VinaRun]:
    """Name of a complex -> what Vina found; one of each split in turn, so that an interrupted run has some of all."""
    found = {}
    for complex_ in chain.from_iterable(zip_longest(*splits.values())):
        if complex_ is None:
            continue

        def make(complex_: Complex = complex_) -> dict[str, Any]:
            docked = dock_by_vina(complex_, exhaustiveness, 1, seed + 1)
            return {"pose": docked.positions[:1].tolist(), "seconds": docked.cpu_seconds}

        plain = kept("vina", (complex_.name, exhaustiveness, seed), make)
        found[complex_.name] = VinaRun(np.array(plain["pose"], dtype=np.float32), plain["seconds"])
        on_complex()
    return found


def vina_rows(
    split: str,
    exhaustiveness: int,
    docked: Mapping[str, VinaRun],
    tables: Mapping[int, Sequence[Scored]],
    weights: Weights,
    chosen: str,
    checker: Checker,
) -> list[Row]:
    """Vina, and on the same complexes the chosen ranker's first refined pose and a random one.

    Args:
        split: what rows call it.
        exhaustiveness: of Vina.
        docked: name of a complex -> what Vina found.
        tables: network evaluations -> poses of all complexes of the split; validity is asked for at the first.
        weights: of the combinations.
        chosen: the ranker.
        checker: of validity.
    """
    first = next(iter(tables))
    own = {nfe: [scored for scored in table if scored.complex.name in docked] for nfe, table in tables.items()}
    if not own[first]:
        return []
    runs = [(scored, docked[scored.complex.name]) for scored in own[first]]
    near = [_is_near(scored.complex, run.pose) for scored, run in runs]
    valid = [answers[0] for answers in checker.poses([(scored.complex, run.pose) for scored, run in runs])]
    rows = [
        Row(
            split,
            0,
            f"exhaustiveness {exhaustiveness}",
            "Vina",
            len(runs),
            bootstrap_interval(grouped(split, own[first], near), "mean", seed=0),
            None,
            float(np.mean(valid)),
            bootstrap_interval(grouped(split, own[first], _both(near, valid)), "mean", seed=0),
            float(np.mean([run.cpu_seconds for _, run in runs])),
        )
    ]
    verdicts = [answers["refined", chosen] for answers in checker.first_poses(own[first], weights, chosen)]
    for nfe, table in own.items():
        seconds = float(np.mean([sum(scored.cpu_seconds.values()) for scored in table]))
        for row in rank_rows(split, nfe, "refined", table, weights["refined"]):
            if row.ranker not in (chosen, MEAN):
                continue
            more: dict[str, Any] = {"cpu_seconds": seconds}
            if row.ranker == chosen and nfe == first:
                used = ways(weights, "refined", chosen)
                right = [np.array([scored.rmsd["refined"][top(scored, "refined", used)] < 2.0]) for scored in table]
                both = grouped(split, table, _both(right, verdicts))
                more |= {"valid": float(np.mean(verdicts)), "valid_near": bootstrap_interval(both, "mean", seed=0)}
            rows.append(replace(row, **more))
    return rows


def _is_near(complex_: Complex, pose: NDArray[np.float32]) -> NDArray[np.bool_]:
    assert complex_.reference is not None
    return np.asarray(symmetric_rmsd(pose, complex_.reference, symmetries(complex_)) < 2.0)


def _both(near: Sequence[NDArray[np.bool_]], valid: Sequence[bool]) -> list[NDArray[np.float64]]:
    return [own.astype(np.float64) * float(is_valid) for own, is_valid in zip(near, valid, strict=True)]
