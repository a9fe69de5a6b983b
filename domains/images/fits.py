"""Learns a grid for an image model: where its few network evaluations go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ld3
from domains.images.conditioned import ConditionedFlow
from domains.images.export import Target, check_target
from domains.images.settings import BATCH, FIT_PAIRS, FITS, SOLVER, TEACHER, Learn
from domains.schedule_record import schedule_record
from domains.seeds import seed_of
from ld3.grids import ays
from ld3.learn import FitConfig, FitResult, Teacher
from ld3.single_path import STRAIGHT, unit_is_close
from ld3.solvers import Solver, get_solver


def learn_grid(
    model: ConditionedFlow,
    nfe: int,
    *,
    solver: str | Solver = SOLVER,
    learn: Learn | FitConfig = "joint",
    pairs: int = FIT_PAIRS,
    seed: int = 0,
    batch: int = BATCH,
    teacher: Teacher = TEACHER,
    target: Target = "json",
    folder: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> FitResult:
    """Learn a grid of `nfe` evaluations from the best of the grids made by hand, Align Your Steps among them where it
    is published for the model.

    Args:
        model: as `load` gives it; the fit holds for its labels or prompts and its guidance.
        nfe: network evaluations an image.
        solver: a name of ld3.solvers; or a solver.
        learn: what: "times" (of the solver alone, which every other sampler can take), "joint" (also the levels that
            the network is given, better), "coefficients" (of a multistep solver) or "all"; or settings of a fit.
        pairs: teacher runs, one in five of them to choose the best grid by and one in five for the final test; with
            fewer than 20 for it, the best grid made by hand comes back. None is one that `sample` starts from.
        seed: of starts and batches.
        batch: images side by side; lower it where memory runs out.
        teacher: that it learns from.
        target: who is to sample, as `ld3 export --to` has it: what it could not be told is refused, not learned.
        folder: where an interrupted fit goes on.
        on_progress: called with the network evaluations made so far, per image, and the most that there can be.

    Raises:
        ValueError: before anything is computed, if the solver cannot spend `nfe` or a setting does not fit; or if too
            many of the teacher's images are not finite.
    """
    if pairs < 2 or batch < 1:
        raise ValueError(f"pairs must be at least 2 and batch at least 1, got {pairs} and {batch}")
    if isinstance(learn, str) and learn not in FITS:
        raise ValueError(f"learn must be one of {', '.join(FITS)}, got {learn!r}")
    rule = get_solver(solver) if isinstance(solver, str) else solver
    config = replace(FITS[learn] if isinstance(learn, str) else learn, seed=seed, chunk=batch)
    check_target(target, rule, config, straight=type(model.schedule).__name__ in STRAIGHT)
    steps, table = rule.steps(nfe), model.published_table
    fit = ld3.learn_grid(
        model,
        nfe,
        solver=rule,
        start=model.starts(pairs, seed_of(seed, "fit")),
        config=config,
        teacher=replace(teacher, chunk=batch),
        baselines={} if table is None else {"ays": ays(model.clock, steps, table)},
        folder=folder,
        on_progress=on_progress,
    )
    return with_words(model, fit)


def with_words(model: ConditionedFlow, fit: FitResult) -> FitResult:
    """The fit with what it was learned on: model, prompts and options, noise schedule, and the calls of the network for
    an image where it is sampled."""
    thrown_away = not model.scales_noise and not unit_is_close(fit.path["x"])
    calls = fit.nfe + 1 if thrown_away else fit.nfe
    return replace(fit, about={**model.about, **schedule_record(model.clock), "network_calls": calls})
