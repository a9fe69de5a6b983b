"""A fit as results.json has it."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.common.store import finite
from ld3.learn import FitResult, Pairs


def fit_entry(
    fit: FitResult, file: str, train: Pairs[Any] | None, valid: Pairs[Any] | None, teacher_evaluations: int | None
) -> dict[str, object]:
    """What a fit found and cost; pairs and `teacher_evaluations` are None for one that was read from a file."""
    return {
        "nfe": fit.nfe,
        "solver": fit.solver,
        "seconds": fit.seconds,
        "network_evaluations": fit.network_evaluations,
        "gradient_evaluations": fit.gradient_evaluations,
        "loss_hand": finite(fit.loss_hand),
        "loss_start": finite(fit.loss_start),
        "loss_learned": finite(fit.loss_learned),
        "start": fit.start,
        "hand": {name: finite(loss) for name, loss in fit.hand.items()},
        # JSON has no infinity, which a limit may be.
        "config": {name: str(x) if x in (math.inf, -math.inf) else x for name, x in fit.config.items()},
        "file": file,
        "fitted_here": train is not None,
        "teacher_evaluations": teacher_evaluations,
        "n_train": None if train is None else len(train),
        "n_valid": None if valid is None else len(valid),
    }
