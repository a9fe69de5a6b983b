"""Poses for the study of ranking: docked, refined, with every ranker's scores; each complex is computed once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from benchmarks.experiments.study import Kept
from domains import docking
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.metrics import symmetric_rmsd
from domains.docking.ranking.consensus import Consensus, symmetries
from domains.docking.ranking.residual import Residual
from domains.docking.ranking.vina_score import VinaScore
from domains.docking.refine.local import Refinement
from domains.docking.samplers import usual_sampler
from domains.docking.structures.complexes import Complex
from ld3.fingerprint import fingerprint

PLAIN: Final = ("consensus", "residual", "vina")


@final
@dataclass(frozen=True, eq=False)
class Scored:
    """The S poses of one complex at one number of evaluations.

    Attributes:
        complex: that was docked.
        positions: "docked" and "refined" -> (S, A, 3), Å.
        rmsd: the same -> (S,), Å.
        scores: the same -> name of a ranker -> (S,), higher is better.
        cpu_seconds: "dock", "refine" and "rank" -> of all S poses, one thread.
    """

    complex: Complex
    positions: Mapping[str, NDArray[np.float32]]
    rmsd: Mapping[str, NDArray[np.float64]]
    scores: Mapping[str, Mapping[str, NDArray[np.float64]]]
    cpu_seconds: Mapping[str, float]

    def first(self, n: int) -> Scored:
        """The first n poses, as if no others had been docked; seconds in proportion."""
        kinds = list(self.positions)
        share = n / len(self.positions[kinds[0]])
        scores = {
            kind: {**{name: own[:n] for name, own in self.scores[kind].items()}, "consensus": self._consensus(kind, n)}
            for kind in kinds
        }
        return Scored(
            self.complex,
            {kind: self.positions[kind][:n] for kind in kinds},
            {kind: self.rmsd[kind][:n] for kind in kinds},
            scores,
            {name: share * seconds for name, seconds in self.cpu_seconds.items()},
        )

    def _consensus(self, kind: str, n: int) -> NDArray[np.float64]:
        """The only score of a pose that depends on the others."""
        return Consensus().rank(self.complex, self.positions[kind][:n]).score


def score_poses(
    model: DockingModel,
    complexes: Sequence[Complex],
    nfe: int,
    samples: int,
    seed: int,
    refinement: Refinement,
    kept: Kept,
    on_complex: Callable[[], None],
) -> list[Scored]:
    """Dock, refine and score each complex; one with a pose that failed is refused."""
    found = []
    grid = fingerprint(usual_sampler(model, nfe)[0].key)
    for complex_ in complexes:

        def make(complex_: Complex = complex_) -> dict[str, Any]:
            return _made(model, complex_, nfe, samples, seed, refinement)

        plain = kept(f"scored-{nfe}", (complex_.name, nfe, grid, samples, seed, repr(refinement)), make)
        found.append(_read(complex_, plain))
        on_complex()
    return found


def _made(
    model: DockingModel, complex_: Complex, nfe: int, samples: int, seed: int, refinement: Refinement
) -> dict[str, Any]:
    began = time.process_time()
    docked = docking.dock(model, [complex_], nfe, samples=samples, seed=seed).positions[complex_.name]
    after_docking = time.process_time()
    refined = refinement(complex_, docked)
    after_refining = time.process_time()
    positions = {"docked": docked, "refined": refined.positions}
    rankers = (Consensus(), Residual(model), VinaScore(None))
    scores = {
        kind: {ranker.name: ranker.rank(complex_, own).score for ranker in rankers} for kind, own in positions.items()
    }
    # Vina's score of a docked pose is that after local optimisation.
    scores["docked"]["vina"] = scores["refined"]["vina"]
    ended = time.process_time()
    seconds = (after_docking - began, after_refining - after_docking, (ended - after_refining) / 2)
    return {
        "positions": {kind: own.tolist() for kind, own in positions.items()},
        "scores": {kind: {name: own.tolist() for name, own in table.items()} for kind, table in scores.items()},
        "cpu_seconds": dict(zip(("dock", "refine", "rank"), seconds, strict=True)),
    }


def _read(complex_: Complex, plain: Mapping[str, Any]) -> Scored:
    assert complex_.reference is not None
    positions = {kind: np.array(own, dtype=np.float32) for kind, own in plain["positions"].items()}
    rmsd = {kind: symmetric_rmsd(own, complex_.reference, symmetries(complex_)) for kind, own in positions.items()}
    scores = {kind: {name: np.array(own) for name, own in table.items()} for kind, table in plain["scores"].items()}
    return Scored(complex_, positions, rmsd, scores, plain["cpu_seconds"])


def combined(scored: Scored, kind: str, weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Σ weight x score, (S,)."""
    return np.sum([weight * scored.scores[kind][name] for name, weight in weights.items()], axis=0)


def top(scored: Scored, kind: str, weights: Mapping[str, float]) -> int:
    """Place of the best pose."""
    return int(combined(scored, kind, weights).argmax())
