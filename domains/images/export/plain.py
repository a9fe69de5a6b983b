"""Export of everything that a fit learned, as JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path

from domains.images.export.expressible import noise_levels
from ld3.learn.result import FitResult
from ld3.path_points import PathPoints
from ld3.saved_values import mean_lists


def plain_json(fit: FitResult, path: Path) -> str:
    """A JSON object: solver, evaluations, score scale, whether the last step goes on to no noise, coefficients, the
    mean of the data where the first step takes it for the network's clean prediction, and per factor the schedule and,
    for the solver and for what the network is given, lists of t, α, σ, σ̂ = σ/α and λ = -log σ̂."""
    coefficients = None if fit.coefficients is None else fit.coefficients.to_dict()
    factors = {
        factor: {"schedule": part.schedule, "solver": _lists(part.solver), "network": _lists(part.network)}
        for factor, part in fit.path.items()
    }
    content = {
        "solver": fit.solver,
        "network_evaluations": fit.nfe,
        "score_scale": fit.grid.score_scale,
        "clean_end": fit.grid.clean_end,
        "coefficients": coefficients,
        "data_mean": mean_lists(fit.data_mean),
        "factors": factors,
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _lists(points: PathPoints) -> dict[str, list[float]]:
    levels = noise_levels(points)
    return {
        "t": list(points.t),
        "alpha": list(points.alpha),
        "sigma": list(points.sigma),
        "noise_level": levels,
        "half_log_snr": [-math.log(level) for level in levels],
    }
