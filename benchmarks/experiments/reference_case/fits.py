"""Our fits on the reference case, under the published code's own limits.

same_pairs: the published code's 100 pairs and nothing else, and a fifth of its network evaluations. The seed draws
which 50 are learned from; the others stay unused.

own_pairs: pairs from a teacher of our own, whose starts the seed draws; the teacher's evaluations count, and all
together are no more than the published code's. First fits to a few of the pairs, one from each of several hand-made
grids, end in different minima; the best of them on many other pairs is the start of the fit to all.

with_coefficients: the same, but the fit to all pairs learns the solver's coefficients as well (S4S, arXiv 2502.17423).

everything: pairs of our own, as many as the evaluations allow, and a student with weights over all answers whose first
step is taken with the mean of the teacher's ends, so that the network is asked one step later. Gauss-Newton steps, on a
few of the pairs and then on all; at many evaluations a search by BFGS, with the curvature of one on a few pairs.

An evaluation is one sample once through the network. A gradient adds none, here as in the published code's count, and
neither do the directions of a Jacobian; how many of these there were is kept as well.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, final

import torch
from torch import Tensor

from benchmarks.experiments.reference_case.case import ReferenceCase
from ld3 import Grid, get_solver
from ld3.learn import FitConfig, FitResult, Pairs, Phase, Teacher, fit, run_teacher

Setting = Literal["same_pairs", "own_pairs", "with_coefficients", "everything"]
WITH_COEFFICIENTS: Final = "with_coefficients"
EVERYTHING: Final = "everything"
SHARE: Final = 5
"""In same_pairs, the published code's evaluations over ours."""

_FEWEST: Final = 8  # pairs of our own that are worth a fit
_TEACHER_SHARE: Final = 4  # our own teacher has at most one in so many of all evaluations


@final
@dataclass(frozen=True)
class PairCounts:
    """How many pairs are used for what."""

    choose: int
    """of those learned from, for the choice of the hand-made grid to start from"""
    own: int
    """of own_pairs; fewer where the evaluations do not suffice"""
    few: int
    """of own_pairs' first fits"""
    few_steps: int
    """gradients of each of these"""
    many: int
    """of own_pairs, that the first fits have not seen, for the choice among them"""
    starts: tuple[str, ...]
    """hand-made grids of the first fits"""


@final
@dataclass(frozen=True)
class Everything:
    """Of the setting `everything`."""

    teacher_nfe: int
    gauss_newton: int
    """steps are Gauss-Newton's up to this many network evaluations a sample; beyond, there is so much to learn that a
    Jacobian costs more time than BFGS's whole fit"""
    few: int
    """pairs of Gauss-Newton's first search, and of every Jacobian"""
    few_steps: int
    """gradients of this first search"""
    steps: int
    """gradients on all pairs for which evaluations are set aside"""
    pairs_bfgs: int
    few_bfgs: int
    """pairs of BFGS's first search"""
    few_steps_bfgs: int
    """gradients of that one"""
    choose: int
    """of the pairs, that have to agree that a search has led nearer"""
    start: str
    """hand-made grid to start from"""


@dataclass(frozen=True)
class Options:
    """Options of the reference case."""

    fit: FitConfig
    teacher: Teacher
    """our own"""
    pairs: PairCounts
    everything: Everything
    settings: tuple[Setting, ...]
    """which fits are made"""
    solvers: tuple[str, ...]
    """of ours, with which fits are made"""
    nfe: tuple[int, ...]
    """network evaluations a sample"""
    seeds: tuple[int, ...]
    """one fit each"""
    out: Path
    """folder for the results; a run that was interrupted there goes on"""
    hand_made: bool = True
    """whether every solver is tried on every grid that nobody learned"""
    page: Path | None = None
    """Markdown page with the markers of the table"""
    block: str = "reference case"
    """which of the page's tables"""
    test_starts: int = 2000
    """how many of the test set are used"""
    fd_samples: int = 10_000
    """samples of a Fréchet distance; 0 = none is taken"""


@final
@dataclass(frozen=True)
class Fitted:
    """A fit.

    Attributes:
        result: what was learned.
        network_evaluations, cpu_seconds: what it has cost, teacher included.
        pairs: of our own teacher; None with those of the case.
        teacher_disagreement: median mse of our own teacher to the same one at twice the steps; None with the pairs of
            the case.
    """

    result: FitResult
    network_evaluations: int
    cpu_seconds: float
    teacher_disagreement: float | None
    pairs: int | None = None


def limit(case: ReferenceCase, solver: str, nfe: int) -> int:
    """What the published code needed at least, in network evaluations."""
    return min(published.network_evaluations for published in case.fits[solver, nfe])


def fit_case(case: ReferenceCase, options: Options, setting: Setting, solver: str, nfe: int, seed: int) -> Fitted:
    """One fit.

    Raises:
        ValueError: if the published code's evaluations leave nothing for a fit.
    """
    began = time.process_time()
    generator = torch.Generator().manual_seed(seed)
    if setting == "same_pairs":
        order = torch.randperm(len(case.pairs), generator=generator)
        train = case.pairs.take(order[: len(order) // 2])
        config = replace(options.fit, max_evaluations=limit(case, solver, nfe) // SHARE)
        result = fit(case.flow, train, train.take(slice(0, options.pairs.choose)), get_solver(solver), nfe, config)
        return Fitted(result, result.network_evaluations, time.process_time() - began, None)
    if setting == EVERYTHING:
        return _everything(case, options, solver, nfe, generator, began)
    phase: Phase = "joint" if setting == "own_pairs" else "all"
    result, spent, disagreement = _own_pairs(case, options, solver, nfe, generator, phase)
    return Fitted(result, spent, time.process_time() - began, disagreement)


def _own_pairs(
    case: ReferenceCase, options: Options, solver: str, nfe: int, generator: torch.Generator, phase: Phase
) -> tuple[FitResult, int, float]:
    """The fit, evaluations in all, and the teacher's disagreement with itself."""
    allowed, counts = limit(case, solver, nfe), options.pairs
    own = min(counts.own, allowed // (_TEACHER_SHARE * options.teacher.nfe))
    if own < _FEWEST:
        raise ValueError(f"the published code's {allowed} evaluations at {nfe} NFE do not suffice for {_FEWEST} pairs")
    pairs = run_teacher(case.flow, case.flow.prior(own, generator), options.teacher)
    spent = pairs.network_evaluations

    def further(train: Pairs[Tensor], valid: Pairs[Tensor], config: FitConfig, starts: dict[str, Grid]) -> FitResult:
        nonlocal spent
        config = replace(config, max_evaluations=allowed - spent)
        result = fit(case.flow, train, valid, get_solver(solver), nfe, config, starting_grids=starts)
        spent += result.network_evaluations
        return result

    first = min(counts.few, own // 2)
    few, many = pairs.take(slice(0, first)), pairs.take(slice(first, first + counts.many))
    grids = {}
    for start in counts.starts:
        config = replace(options.fit, initial_grid=start, steps=counts.few_steps)
        grids[f"from {start}"] = further(few, few.take(slice(0, counts.choose)), config, {}).grid
    result = further(pairs, many, replace(options.fit, phases=(phase,)), grids)
    return result, spent, float(pairs.disagreement.median())


def _everything(
    case: ReferenceCase, options: Options, solver: str, nfe: int, generator: torch.Generator, began: float
) -> Fitted:
    """Of Gauss-Newton, on as many pairs as the evaluations allow; or of BFGS."""
    allowed, settings, flow = limit(case, solver, nfe), options.everything, case.flow
    teacher = replace(options.teacher, nfe=settings.teacher_nfe)
    few, few_steps, n = settings.few_bfgs, settings.few_steps_bfgs, settings.pairs_bfgs
    second_order = nfe <= settings.gauss_newton
    if second_order:
        few, few_steps = settings.few, settings.few_steps
        left = allowed - 2 * teacher.nfe * teacher.checked - nfe * few * 2 * few_steps
        n = left // (teacher.nfe + nfe * settings.steps)
        if n < few:
            raise ValueError(f"the published code's {allowed} evaluations at {nfe} NFE do not suffice for everything")
    pairs = run_teacher(flow, flow.prior(n, generator), teacher)
    spent = pairs.network_evaluations
    student = replace(get_solver(solver), data_mean=flow.data_mean(pairs.end))
    config = replace(
        options.fit,
        optimiser="gauss-newton" if second_order else "bfgs",
        initial_grid=settings.start,
        phases=("all",),
        coefficient_depth=student.steps(nfe),
        first_batch=few,
        first_steps=few_steps,
        curvature_batch=few if second_order else 0,
        max_evaluations=allowed - spent,
    )
    result = fit(flow, pairs, pairs.take(slice(0, settings.choose)), student, nfe, config)
    spent += result.network_evaluations
    return Fitted(result, spent, time.process_time() - began, float(pairs.disagreement.median()), n)
