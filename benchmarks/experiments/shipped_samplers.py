"""The learned grids that docking takes for weights, and why it takes none where it does not."""

from __future__ import annotations

from collections.abc import Sequence

from domains.docking.general_grids import grid_path
from domains.docking.networks.weights import DockingModel
from domains.docking.samplers import HAND_MADE_GRID, Sampler, usual_sampler
from domains.docking.settings import SOLVER
from ld3.learn import FitResult


def learned_samplers(model: DockingModel, numbers: Sequence[int]) -> dict[int, Sampler]:
    """Evaluations -> the learned grid that docking takes for these weights, where it takes one.

    Raises:
        InputError: if a grid's file is no saved fit.
    """
    found = {nfe: usual_sampler(model, nfe) for nfe in numbers}
    return {nfe: sampler for nfe, (sampler, path) in found.items() if path is not None}


def grid_name(model: DockingModel, nfe: int) -> str:
    """What docking takes at a number of evaluations, in words.

    Raises:
        InputError: if a grid's file is no saved fit.
    """
    return f"{nfe} NFE on {'the learned grid' if nfe in learned_samplers(model, (nfe,)) else HAND_MADE_GRID}"


def verdict(model: DockingModel, nfe: int) -> str:
    """What is known of the grid beside the weights: the fit's final test, or why there is none."""
    path = None if model.path is None else grid_path(model.path, SOLVER, nfe)
    if path is None or not path.exists():
        return "no grid lies beside the weights"
    fit = FitResult.load(path)
    if fit.learned and fit.grid.mismatch(model.noise_range.clock(model.score_scale), end=False):
        return (
            f"learned at score scale {fit.grid.score_scale:g}, and the weights' own is {model.score_scale:g}: not used"
        )
    return fit.verdict()
