"""Fits on one array, as other people's samplers take them: one list of levels, and noise to begin with."""

from __future__ import annotations

from typing import Final

from ld3.learn.result import FitResult
from ld3.path_points import FactorPath

STRAIGHT: Final = ("RectifiedFlow",)
"""Schedules of straight paths."""
CLOSE: Final = 0.01
"""Networks are shown noise of this much another scale, as a share, rather than asked once more."""


def single_path(fit: FitResult, target: str) -> FactorPath:
    """The path of a fit on one array, whose score is taken as it is.

    Raises:
        ValueError: if the state has several factors, the fit was learned with the score multiplied, or its first step
            is taken without the network.
    """
    if list(fit.path) != ["x"]:
        raise ValueError(f"{target} samples one array, this fit has the factors {', '.join(fit.path)}")
    if fit.grid.score_scale != 1.0:
        raise ValueError(
            f"{target} takes a model's score as it is, this fit follows the flow with its score multiplied by "
            f"{fit.grid.score_scale:g}"
        )
    if fit.data_mean is not None:
        raise ValueError(
            f"{target} asks the network in every step, this fit takes its first one with the mean of the data; "
            "export it --to json, or learn it without an analytical first step"
        )
    return fit.path["x"]


def first_scale(path: FactorPath) -> float:
    """What noise of unit scale is to be multiplied by, for the network to see it at its first level: α σ̂_0, with σ̂_0
    the solver's first noise level and α that of the network's own."""
    return path.network.alpha[0] * path.solver.sigma[0] / path.solver.alpha[0]


def unit_is_close(path: FactorPath) -> bool:
    """Whether the network may be shown noise of unit scale rather than be asked once more."""
    return abs(first_scale(path) - 1.0) <= CLOSE
