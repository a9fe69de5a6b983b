"""What a fit will cost, said before it begins, and what there is time for."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import Final

import torch
from rich.console import Console

from ld3.flow import ProbabilityFlow
from ld3.learn import FitConfig, most_evaluations
from ld3.learn.teacher import Teacher, parts
from ld3.state import State, size

LEAST_PAIRS: Final = 40
"""Of which a fifth are for the final test, after which nothing is kept that did not win; with fewer there is none."""

_OF_TEACHER: Final = 0.5  # share of the minutes that the teacher may take
_PER_GRADIENT: Final = 2  # evaluations that a gradient takes, besides its own


@torch.no_grad()
def seconds_a_call(flow: ProbabilityFlow[State], start: State) -> float:
    """Seconds of one network evaluation of one sample, of those in `start` side by side; measured after one to warm
    up."""
    levels = {factor: torch.tensor(sum(ends) / 2, dtype=torch.float64) for factor, ends in flow.clock.bounds.items()}
    for _ in range(2):
        began = time.perf_counter()
        for part in flow.displacement(start, levels).values():
            part.cpu()
    return (time.perf_counter() - began) / size(start)


def afford(
    seconds: float, nfe: int, pairs: int, minutes: float | None, teacher: Teacher, config: FitConfig, log: Console
) -> tuple[int, FitConfig]:
    """How many pairs there is time for, and the fit within it; prints what it will cost.

    Args:
        seconds: of one network evaluation of one sample.
        nfe: evaluations of the student.
        pairs: teacher runs that are asked for.
        minutes: that there are; None = as long as it takes.

    Raises:
        ValueError: if there is not even time for the fewest.
    """
    if minutes is not None:
        budget = 60 * minutes
        pairs = min(pairs, int(_OF_TEACHER * budget / (seconds * teacher.nfe)))
        if pairs < LEAST_PAIRS:
            needed = LEAST_PAIRS * seconds * teacher.nfe / _OF_TEACHER / 60
            raise ValueError(f"--minutes must be at least {needed:.2g} for {LEAST_PAIRS} pairs, got {minutes:g}")
        config = replace(config, seconds=budget - seconds * teacher.evaluations(pairs))
    n_train, n_valid, n_test = parts(pairs)
    most = teacher.evaluations(pairs) + most_evaluations(config, n_train, n_valid, nfe, n_test=n_test)
    took = seconds * (most + _PER_GRADIENT * nfe * config.steps * len(config.phases) * n_train)
    if minutes is not None:
        took = min(took, 60 * minutes)
    log.print(
        f"at most {most:,} network evaluations of {pairs} pairs, {1000 * seconds:.3g} ms each here: "
        f"at most about {timedelta(seconds=round(took))}",
        markup=False,
    )
    return pairs, config
