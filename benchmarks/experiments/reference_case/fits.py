"""Our fits on the reference case, under the published code's own limits.

same_pairs: the published code's 100 pairs and nothing else, and a fifth of its network evaluations. The seed draws
which 50 are learned from; the others stay unused.

own_pairs: pairs from a teacher of our own, whose starts the seed draws; the teacher's evaluations count, and all
together are no more than the published code's. First fits to a few of the pairs, one from each of several hand-made
grids, end in different minima; the best of them on many other pairs is the start of the fit to all.

with_coefficients: the same, but the fit to all pairs learns the solver's coefficients as well (S4S, arXiv 2502.17423).

An evaluation is one sample once through the network. A gradient adds none, here as in the reference's count.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Final, Literal, final

import torch
from torch import Tensor

from benchmarks.experiments.reference_case.case import ReferenceCase
from ld3.grids import Grid
from ld3.learn import FitConfig, FitResult, Pairs, Phase, Teacher, fit, run_teacher
from ld3.solvers import get_solver

Setting = Literal["same_pairs", "own_pairs", "with_coefficients"]
WITH_COEFFICIENTS: Final = "with_coefficients"
SETTINGS: Final[tuple[Setting, ...]] = ("same_pairs", "own_pairs", WITH_COEFFICIENTS)
SHARE: Final = 5
"""In same_pairs, the published code's evaluations over ours."""

_STEPS: Final = 1000  # more than any budget allows
_FEWEST: Final = 8  # pairs of our own that are worth a fit
_TEACHER_SHARE: Final = 4  # our own teacher has at most one in so many of all evaluations

CONFIG: Final = FitConfig(optimiser="bfgs", phases=("joint",), steps=_STEPS, chunk=256, validate_every=_STEPS)
"""Validated at the start and the end only. Now and then a grid sends a pair to another mode, far away: among the
iterates of one fit, a few pairs held back choose by whether such a pair is among them."""

TEACHER: Final = Teacher(solver="unipc_bh1_3", grid="edm", nfe=32, tolerance=1e-5, checked=8, chunk=256)


@final
@dataclass(frozen=True)
class PairCounts:
    """How many pairs are used for what.

    Attributes:
        choose: of those learned from, for the choice of the hand-made grid to start from.
        own: of own_pairs; fewer where the evaluations do not suffice.
        few: of own_pairs' first fits.
        few_steps: gradients of each.
        many: of own_pairs, that the first fits have not seen, for the choice among them.
        starts: hand-made grids of the first fits.
    """

    choose: int = 16
    own: int = 256
    few: int = 32
    few_steps: int = 24
    many: int = 64
    starts: tuple[str, ...] = ("dmn", "uniform_log_snr", "edm")


PAIRS: Final = PairCounts()


@final
@dataclass(frozen=True)
class Fitted:
    """A fit.

    Attributes:
        result: what was learned.
        network_evaluations, cpu_seconds: what it has cost, teacher included.
        teacher_disagreement: median mse of our own teacher to the same one at twice the steps; None with the pairs of
            the case.
    """

    result: FitResult
    network_evaluations: int
    cpu_seconds: float
    teacher_disagreement: float | None


def fit_case(case: ReferenceCase, setting: Setting, solver: str, nfe: int, seed: int, limit: int) -> Fitted:
    """One fit.

    Args:
        limit: evaluations that the published code needed.

    Raises:
        ValueError: if the solver has no such name or cannot spend `nfe`, or `limit` leaves nothing for a fit.
    """
    began = time.process_time()
    generator = torch.Generator().manual_seed(seed)
    disagreement: float | None = None
    if setting == "same_pairs":
        result = _same_pairs(case, solver, nfe, generator, limit)
        spent = result.network_evaluations
    else:
        phase: Phase = "joint" if setting == "own_pairs" else "all"
        result, spent, disagreement = _own_pairs(case, solver, nfe, generator, limit, phase)
    return Fitted(result, spent, time.process_time() - began, disagreement)


def _same_pairs(case: ReferenceCase, solver: str, nfe: int, generator: torch.Generator, limit: int) -> FitResult:
    order = torch.randperm(len(case.pairs), generator=generator)
    train = case.pairs.take(order[: len(order) // 2])
    config = replace(CONFIG, max_evaluations=limit // SHARE)
    return fit(case.flow, train, train.take(slice(0, PAIRS.choose)), get_solver(solver), nfe, config)


def _own_pairs(
    case: ReferenceCase, solver: str, nfe: int, generator: torch.Generator, limit: int, phase: Phase
) -> tuple[FitResult, int, float]:
    """The fit, evaluations in all, and the teacher's disagreement with itself."""
    own = min(PAIRS.own, limit // (_TEACHER_SHARE * TEACHER.nfe))
    if own < _FEWEST:
        raise ValueError(f"the published code's {limit} evaluations at {nfe} NFE do not suffice for {_FEWEST} pairs")
    pairs = run_teacher(case.flow, case.flow.prior(own, generator), TEACHER)
    spent = pairs.network_evaluations

    def further(train: Pairs[Tensor], valid: Pairs[Tensor], config: FitConfig, starts: dict[str, Grid]) -> FitResult:
        nonlocal spent
        config = replace(config, max_evaluations=limit - spent)
        result = fit(case.flow, train, valid, get_solver(solver), nfe, config, starting_grids=starts)
        spent += result.network_evaluations
        return result

    first = min(PAIRS.few, own // 2)
    few, many = pairs.take(slice(0, first)), pairs.take(slice(first, first + PAIRS.many))
    grids = {}
    for start in PAIRS.starts:
        config = replace(CONFIG, initial_grid=start, steps=PAIRS.few_steps)
        grids[f"from {start}"] = further(few, few.take(slice(0, PAIRS.choose)), config, {}).grid
    result = further(pairs, many, replace(CONFIG, phases=(phase,)), grids)
    return result, spent, float(pairs.disagreement.median())
