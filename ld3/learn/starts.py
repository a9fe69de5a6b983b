"""Grids that a fit may start from."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ld3.clock import Clock
from ld3.grids.grid import HAND_MADE, Grid

_SAME_END = 1e-6  # of λ


def candidates(clock: Clock, n_steps: int, given: Mapping[str, Grid]) -> dict[str, Grid]:
    """Name -> grid: the hand-made ones, and those `given`, which take their names.

    Raises:
        ValueError: if one of `given` has a hand-made one's name, other steps or other ends.
    """
    grids = {name: make(clock, n_steps) for name, make in HAND_MADE.items()}
    for name, grid in given.items():
        _check(name, grid, grids)
    return grids | {name: grid._replace(name=name) for name, grid in given.items()}


def _check(name: str, grid: Grid, hand_made: Mapping[str, Grid]) -> None:
    """Raise a ValueError if `grid` cannot be started from under that name."""
    like = next(iter(hand_made.values()))
    if name in hand_made or name == "best":
        raise ValueError(f"starts must not use the name of a hand-made grid, got {name!r}")
    if grid.solver.keys() != like.solver.keys() or grid.n_steps != like.n_steps:
        raise ValueError(
            f"starts[{name!r}] must have {like.n_steps} steps of {sorted(like.solver)}, "
            f"got {grid.n_steps} of {sorted(grid.solver)}"
        )
    for factor, levels in grid.solver.items():
        if not torch.allclose(levels[[0, -1]], like.solver[factor][[0, -1]], rtol=0, atol=_SAME_END):
            raise ValueError(
                f"starts[{name!r}] must run from {like.solver[factor][0]:.6g} to {like.solver[factor][-1]:.6g} in "
                f"{factor!r}, got {levels[0]:.6g} to {levels[-1]:.6g}"
            )
