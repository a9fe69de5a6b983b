"""Vina itself in the study of ranking: its first poses, and rows beside those of the chosen ranker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.docking.vina import dock_by_vina
from benchmarks.docking.vina_limit import dock_within
from benchmarks.experiments.ranking_poses import Scored, top
from benchmarks.experiments.ranking_rows import MEAN, Row, grouped, rank_rows
from benchmarks.experiments.ranking_validity import Checker, Weights
from benchmarks.experiments.study import Kept
from domains.bootstrap import bootstrap_interval
from domains.docking.poses.metrics import symmetric_rmsd
from domains.docking.ranking.consensus import symmetries
from domains.docking.structures.complexes import Complex
from domains.docking.structures.pocket import PocketChoice
from domains.docking.training.clusters import Clusters

MISSED: Final = "Vina, what it did not dock counted as missed"
STOPPED: Final = "vina-stopped"
"""Under which the study keeps that Vina was."""

_MINUTE: Final = 60.0  # s


class _StoppedError(Exception):
    """Vina would take longer than it may."""


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
    choice: PocketChoice | None = None,
    minutes: float | None = None,
) -> dict[str, VinaRun | None]:
    """Name of a complex -> what Vina found, None where it takes more than `minutes` of CPU time, now or when its run
    was kept; one of each split in turn, so that an interrupted run has some of all.

    The box is that of `choice`, as :func:`benchmarks.docking.vina.box_of` says.
    """
    found: dict[str, VinaRun | None] = {}
    for complex_ in chain.from_iterable(zip_longest(*splits.values())):
        if complex_ is None:
            continue

        key, how = (complex_.name, exhaustiveness, seed), (exhaustiveness, 1, seed + 1, choice)

        def make(complex_: Complex = complex_, key: object = key, how: Any = how) -> dict[str, Any]:  # noqa: ANN401
            if minutes is None:
                docked = dock_by_vina(complex_, *how)
            elif kept.holds(STOPPED, (key, minutes)) or (run := dock_within(minutes, complex_, *how)) is None:
                raise _StoppedError
            else:
                docked = run
            return {"pose": docked.positions[:1].tolist(), "seconds": docked.cpu_seconds}

        try:
            plain = kept("vina", key, make)
            run = VinaRun(np.array(plain["pose"], dtype=np.float32), plain["seconds"])
            # What is kept may be of a call without this limit.
            found[complex_.name] = run if minutes is None or run.cpu_seconds <= _MINUTE * minutes else None
        except _StoppedError:
            kept(STOPPED, (key, minutes), lambda: True)
            found[complex_.name] = None
        on_complex()
    return found


def vina_rows(
    split: str,
    exhaustiveness: int,
    docked: Mapping[str, VinaRun | None],
    tables: Mapping[tuple[int, int], Sequence[Scored]],
    weights: Weights,
    chosen: str,
    checker: Checker,
    clusters: Clusters | None = None,
) -> list[Row]:
    """Vina, and on the complexes that it docked the chosen ranker's first refined pose and a random one. Where it was
    stopped, its share with these as misses is a row of its own.

    Args:
        split: what rows call it.
        exhaustiveness: of Vina.
        docked: name of a complex -> what Vina found; None where it was stopped.
        tables: (network evaluations, poses) -> all complexes of the split; validity is asked for at the first.
        weights: of the combinations.
        chosen: the ranker.
        checker: of validity.
        clusters: which proteins are alike.
    """
    first = next(iter(tables))
    own = {key: [s for s in table if docked.get(s.complex.name) is not None] for key, table in tables.items()}
    if not own[first]:
        return []
    runs = [(scored, run) for scored in own[first] if (run := docked[scored.complex.name]) is not None]
    near = [_is_near(scored.complex, run.pose) for scored, run in runs]
    valid = [answers[0] for answers in checker.poses([(scored.complex, run.pose) for scored, run in runs])]
    rows = [
        Row(
            split,
            0,
            1,
            f"exhaustiveness {exhaustiveness}",
            "Vina",
            len(runs),
            bootstrap_interval(grouped(split, own[first], near, clusters), "mean", seed=0),
            None,
            float(np.mean(valid)),
            bootstrap_interval(grouped(split, own[first], _both(near, valid), clusters), "mean", seed=0),
            float(np.mean([run.cpu_seconds for _, run in runs])),
        )
    ]
    if None in docked.values():
        named = {scored.complex.name: right for (scored, _), right in zip(runs, near, strict=True)}
        tried = [scored for scored in tables[first] if scored.complex.name in docked]
        right = [named.get(scored.complex.name, np.array([False])) for scored in tried]
        interval = bootstrap_interval(grouped(split, tried, right, clusters), "mean", seed=0)
        rows.append(Row(split, 0, 1, f"exhaustiveness {exhaustiveness}", MISSED, len(tried), interval, None))
    verdicts = [answers["refined", chosen] for answers in checker.first_poses(own[first], weights, chosen)]
    for (nfe, samples), table in own.items():
        for row in rank_rows(split, nfe, "refined", table, weights["refined"], clusters):
            if row.ranker not in (chosen, MEAN):
                continue
            more: dict[str, Any] = {}
            if row.ranker == chosen and (nfe, samples) == first:
                places = [top(s, "refined", weights["refined"].of(s.complex.name, chosen)) for s in table]
                right = [np.array([s.rmsd["refined"][i] < 2.0]) for s, i in zip(table, places, strict=True)]
                both = grouped(split, table, _both(right, verdicts), clusters)
                more = {"valid": float(np.mean(verdicts)), "valid_near": bootstrap_interval(both, "mean", seed=0)}
            rows.append(replace(row, **more))
    return rows


def _is_near(complex_: Complex, pose: NDArray[np.float32]) -> NDArray[np.bool_]:
    assert complex_.reference is not None
    return np.asarray(symmetric_rmsd(pose, complex_.reference, symmetries(complex_)) < 2.0)


def _both(near: Sequence[NDArray[np.bool_]], valid: Sequence[bool]) -> list[NDArray[np.float64]]:
    return [own.astype(np.float64) * float(is_valid) for own, is_valid in zip(near, valid, strict=True)]
