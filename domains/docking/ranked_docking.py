"""Docks complexes with the engine, refines, ranks and checks their poses: what `ld3 dock` and a notebook run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from domains.docking.engine import OnProgress, dock, size
from domains.docking.networks.weights import DockingModel
from domains.docking.outlook import Outlook
from domains.docking.poses.validity import check_all
from domains.docking.ranked_poses import RankedPoses
from domains.docking.ranking.combination import Combination
from domains.docking.ranking.ranker import PoseScores, Ranker
from domains.docking.refine.local import Refinement
from domains.docking.samplers import Sampler
from domains.docking.settings import poses_at_once
from domains.docking.structures.complexes import Complex
from domains.docking.structures.conformers import conformers
from domains.docking.structures.ligand import Ligand
from domains.errors import InputError, InputProblem
from ld3.fingerprint import fingerprint

_CHECKED_AT_ONCE: Final = 64  # poses; PoseBusters' workers take seconds to start


@final
@dataclass(frozen=True, eq=False)
class DockPlan:
    """How each ligand is docked.

    Attributes:
        model: at its score scale.
        sampler: from noise to a pose.
        ranker: orders the poses.
        samples: poses a ligand, dealt to its conformers.
        seed: of starts, noise and conformers.
        conformers: how many the ligand is docked with: the input's, and fresh ones of RDKit.
        refinement: moves poses out of clashes; None = they stay where the sampler ends.
        check: whether PoseBusters is asked about every pose.
        processes: of PoseBusters.
        tags: of every pose: nfe, seed, grid, weights.
        outlook: what can be expected of the poses; None = nothing is said.
    """

    model: DockingModel
    sampler: Sampler
    ranker: Ranker
    samples: int
    seed: int
    conformers: int
    refinement: Refinement | None
    check: bool
    processes: int
    tags: Mapping[str, str]
    outlook: Outlook | None = None

    def __post_init__(self) -> None:
        for name in ("samples", "conformers", "processes"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")

    @property
    def identity(self) -> dict[str, Any]:
        """All that ranked poses depend on beside the complex, in plain values."""
        ranker = self.ranker
        return {
            "weights": fingerprint(self.model.network),
            "score_scale": self.model.score_scale,
            "nfe": self.sampler.nfe,
            "grid": self.tags["grid"],
            "levels": fingerprint(self.sampler.key),
            "refinement": repr(self.refinement),
            "ranker": ranker.name,
            "ranker_weights": dict(ranker.weights) if isinstance(ranker, Combination) else {},
            "samples": self.samples,
            "conformers": self.conformers,
            "seed": self.seed,
        }


class Cancelled(Exception):
    """Raised by `on_progress` when somebody wants to stop."""


def _never(error: Exception) -> bool:
    return False


def dock_ranked(
    plan: DockPlan,
    complexes: Sequence[Complex],
    on_progress: OnProgress | None = None,
    *,
    made: Mapping[str, Sequence[Ligand]] | None = None,
    is_fatal: Callable[[Exception], bool] = _never,
) -> Iterator[RankedPoses | InputProblem]:
    """Ranked poses of each complex, or why there are none, as they come: small ones first.

    Args:
        plan: how.
        complexes: with names of their own.
        on_progress: called with the network evaluations made so far, and in all; may raise :class:`Cancelled`.
        made: name -> the conformers to dock it with, where somebody has made them already.
        is_fatal: whether an error of a complex that is docked by itself is raised, and not taken for the complex's own.
    """
    docking = _Docking(plan, made or {}, is_fatal)
    width = max(1, poses_at_once(plan.model.device) // plan.samples)
    order = sorted(complexes, key=size)
    each, done = plan.sampler.nfe * plan.samples, 0
    waiting: list[RankedPoses] = []
    for first in range(0, len(order), width):
        chunk = order[first : first + width]

        def count(now: int, total: int, before: int = done, share: int = each * len(chunk)) -> None:
            if on_progress is not None:
                on_progress(before + now * share // total, each * len(order))

        for found in docking.ranked(chunk, count):
            if isinstance(found, InputProblem):
                yield found
            else:
                waiting.append(found)
        done += each * len(chunk)
        if waiting and (first + width >= len(order) or sum(map(len, waiting)) >= _CHECKED_AT_ONCE):
            yield from _checked(plan, waiting)
            waiting = []
    yield from _checked(plan, waiting)


@final
@dataclass(frozen=True)
class _Docking:
    plan: DockPlan
    made: Mapping[str, Sequence[Ligand]]
    is_fatal: Callable[[Exception], bool]

    def ranked(self, chunk: Sequence[Complex], count: OnProgress) -> list[RankedPoses | InputProblem]:
        """Of a chunk docked side by side; one by one if that fails, so that one ligand cannot stop others."""
        try:
            return self._docked(chunk, count)
        except Cancelled:
            raise
        except Exception as error:
            if len(chunk) > 1:
                return [found for alone in chunk for found in self.ranked([alone], count)]
            if self.is_fatal(error):
                raise
            return [_problem(chunk[0], error)]

    def _docked(self, chunk: Sequence[Complex], count: OnProgress) -> list[RankedPoses | InputProblem]:
        plan, began = self.plan, time.perf_counter()
        variants = {found.name: self._variants(found) for found in chunk}
        each = -(-plan.samples // plan.conformers)
        flat = [variant for own in variants.values() for variant in own]
        poses = dock(plan.model, flat, plan.sampler, samples=each, seed=plan.seed, on_progress=count)
        seconds = (time.perf_counter() - began) / len(chunk)
        return [
            _finished(plan, found, _dealt(poses.positions, variants[found.name], plan.samples), seconds)
            for found in chunk
        ]

    def _variants(self, complex_: Complex) -> list[Complex]:
        """The complex with each of its conformers, the input's first."""
        plan, name = self.plan, complex_.name
        ligands = self.made.get(name) or conformers(complex_.ligand, plan.conformers, plan.seed, name)
        return [
            replace(complex_, name=name if k == 1 else f"{name}, conformer {k}", ligand=ligand)
            for k, ligand in enumerate(ligands, start=1)
        ]


def _problem(complex_: Complex, error: Exception) -> InputProblem:
    if isinstance(error, InputError):
        return replace(error.problem, file=complex_.name)
    said = " ".join(str(error).split())
    message = f"docking it failed ({type(error).__name__}{': ' if said else ''}{said})"
    return InputProblem(complex_.name, "", message, "leave it out, or report it with its files")


def _dealt(
    positions: Mapping[str, NDArray[np.float32]], variants: Sequence[Complex], samples: int
) -> NDArray[np.float32]:
    """(samples, A, 3): the first pose of each conformer, then the second ones, ..."""
    stacked = np.stack([positions[variant.name] for variant in variants], axis=1)
    return stacked.reshape(-1, *stacked.shape[2:])[:samples]


def _finished(
    plan: DockPlan, complex_: Complex, positions: NDArray[np.float32], seconds: float
) -> RankedPoses | InputProblem:
    finite = np.isfinite(positions).all((1, 2))
    if not finite.any():
        message = f"all {len(positions)} poses failed: their coordinates are not finite"
        return InputProblem(complex_.name, "", message, "check the model's weights, or use another --grid")
    samples = np.flatnonzero(finite)
    own, moved = positions[samples], None
    times = [time.perf_counter()]
    if plan.refinement is not None:
        own, moved, _ = plan.refinement(complex_, own)
    times.append(time.perf_counter())
    scores = plan.ranker.rank(complex_, own)
    times.append(time.perf_counter())
    order = scores.order
    return RankedPoses(
        complex=complex_,
        positions=own[order],
        samples=samples[order],
        scores=PoseScores(scores.score[order], {name: part[order] for name, part in scores.parts.items()}),
        moved=None if moved is None else moved[order],
        validities=None,
        failed=tuple(np.flatnonzero(~finite).tolist()),
        tags=plan.tags,
        outlook=plan.outlook,
        seconds={"dock": seconds, "refine": times[1] - times[0], "rank": times[2] - times[1]},
    )


def _checked(plan: DockPlan, found: Sequence[RankedPoses]) -> list[RankedPoses]:
    """With PoseBusters' verdicts, if the plan asks for them."""
    if not plan.check or not found:
        return list(found)
    began = time.perf_counter()
    answers = check_all([(own.complex, own.positions) for own in found], plan.processes)
    seconds = (time.perf_counter() - began) / len(found)
    return [
        replace(own, validities=tuple(verdicts), seconds={**own.seconds, "check": seconds})
        for own, verdicts in zip(found, answers, strict=True)
    ]
