"""What a budget of network evaluations buys: ways to dock, their refined and ranked poses, and a row a budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from benchmarks.experiments.docking_sets import by_cluster
from benchmarks.experiments.study import Kept
from domains.bootstrap import Interval, bootstrap_interval
from domains.docking.engine import dock_groups, make_groups
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.metrics import success, symmetric_rmsd
from domains.docking.ranked_docking import DockPlan
from domains.docking.ranking.consensus import Consensus, symmetries
from domains.docking.ranking.ranker import Ranker
from domains.docking.samplers import HAND_MADE_GRID, Sampler, diffdock_low_temperature_sde, hand_made_sampler
from domains.docking.settings import SOLVER
from domains.docking.structures.complexes import Complex
from domains.docking.training.clusters import Clusters
from ld3.fingerprint import fingerprint

SDE: Final = "diffdock_sde"


@final
@dataclass(frozen=True, eq=False)
class Way:
    """A sampler, as tables call it."""

    name: str
    score_scale: float
    sampler: Sampler

    def samples(self, budget: int) -> int:
        """Poses that a budget pays for."""
        return budget // self.sampler.nfe


def ways_of(
    model: DockingModel,
    learned: Mapping[int, Sampler],
    nfe: Sequence[int],
    long_nfe: int,
    score_scales: Sequence[float],
) -> list[Way]:
    """Learned grids, hand-made ones, the hand-made one of the last of `nfe` at other score scales, and DiffDock's SDE
    where temperatures were chosen for the weights.
    """
    own, hand = model.score_scale, HAND_MADE_GRID
    found = [Way("learned", own, sampler) for sampler in learned.values()]
    found += [Way(hand, own, hand_made_sampler(hand, SOLVER, n)) for n in dict.fromkeys((*nfe, long_nfe))]
    found += [Way(hand, c, hand_made_sampler(hand, SOLVER, nfe[-1], c)) for c in score_scales if c != own]
    if model.low_temperature is not None:
        found.append(Way(SDE, 1.0, diffdock_low_temperature_sde(model)))
    return found


@final
@dataclass(frozen=True, eq=False)
class Found:
    """Poses (S, A, 3) Å of a complex as docked, and refined, NaN where one failed; RMSDs (S,) Å of both to the bound
    pose.
    """

    complex: Complex
    docked: NDArray[np.float32]
    refined: NDArray[np.float32]
    rmsd: NDArray[np.float64]
    rmsd_refined: NDArray[np.float64]


def dock_and_refine(
    plan: DockPlan,
    complexes: Sequence[Complex],
    way: Way,
    samples: int,
    kept: Kept,
    on_evaluations: Callable[[int, int], None],
    on_refined: Callable[[], None],
) -> list[Found]:
    """Poses of each complex, refined as the plan says; kept, so that an interrupted study goes on.

    Args:
        plan: of docking; its sampler and number of poses are not used.
        complexes: with known poses.
        way: how to dock.
        samples: poses a complex.
        kept: what there is already.
        on_evaluations: told how many evaluations were made so far, and are in all.
        on_refined: told of each complex whose poses are refined.
    """
    refinement = plan.refinement
    assert refinement is not None
    groups = make_groups(plan.model, complexes, samples, plan.seed)
    docked = dock_groups(groups, way.sampler, kept.store, on_evaluations)
    found = []
    for complex_ in docked.complexes:
        own = docked.positions[complex_.name]
        sound = np.isfinite(own).all((1, 2))

        def make(complex_: Complex = complex_, poses: NDArray[np.float32] = own[sound]) -> Any:  # noqa: ANN401
            return refinement(complex_, poses).positions.tolist() if len(poses) else []

        refined = np.full_like(own, np.nan)
        refined[sound] = np.reshape(
            kept("refined", (complex_.name, fingerprint(own.tobytes()), repr(refinement)), make), (-1, *own.shape[1:])
        )
        assert complex_.reference is not None
        both = (symmetric_rmsd(poses, complex_.reference, symmetries(complex_)) for poses in (own, refined))
        found.append(Found(complex_, own, refined, *both))
        on_refined()
    return found


def first_of(complex_: Complex, poses: NDArray[np.float32], ranker: Ranker) -> int | None:
    """Place of the pose (S, A, 3) Å that is ranked first; None where all failed."""
    sound = np.flatnonzero(np.isfinite(poses).all((1, 2)))
    return int(sound[ranker.rank(complex_, poses[sound]).order[0]]) if len(sound) else None


@dataclass(frozen=True)
class Row:
    """A way to dock on one set, at one budget; shares of complexes or poses, with 95% intervals over clusters.

    Attributes:
        of: the set.
        name, score_scale, nfe, samples, budget: how a ligand was docked.
        complexes: how many.
        first: first pose by the ranking that ships within 2 Å.
        by_consensus: the same, ranked by consensus alone, poses not refined.
        mean: of all poses, not refined.
        best: complexes with a pose within 2 Å among theirs, refined.
    """

    of: str
    name: str
    score_scale: float
    nfe: int
    samples: int
    budget: int
    complexes: int
    first: Interval
    by_consensus: Interval
    mean: Interval
    best: Interval


def row_of(of: str, way: Way, budget: int, found: Sequence[Found], ranker: Ranker, clusters: Clusters) -> Row:
    """What the first poses that the budget pays for would have given; a pose that failed is a miss."""
    n = way.samples(budget)

    def first(own: Found, poses: NDArray[np.float32], rmsd: NDArray[np.float64], by: Ranker) -> NDArray[np.bool_]:
        place = first_of(own.complex, poses[:n], by)
        return np.array([place is not None and rmsd[place] < 2.0])

    def interval(values: Callable[[Found], NDArray[np.bool_]]) -> Interval:
        groups = by_cluster({own.complex.name: values(own) for own in found}, clusters)
        return bootstrap_interval(groups, "mean", seed=0)

    return Row(
        of=of,
        name=way.name,
        score_scale=way.score_scale,
        nfe=way.sampler.nfe,
        samples=n,
        budget=budget,
        complexes=len(found),
        first=interval(lambda own: first(own, own.refined, own.rmsd_refined, ranker)),
        by_consensus=interval(lambda own: first(own, own.docked, own.rmsd, Consensus())),
        mean=interval(lambda own: success(own.rmsd[:n], 2.0)),
        best=interval(lambda own: np.array([success(own.rmsd_refined[:n], 2.0).any()])),
    )
