"""Grids that a fit may start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ld3.clock import Clock
from ld3.grids.grid import Grid
from ld3.grids.hand_made import HAND_MADE, hand_made


def candidates(clock: Clock, n_steps: int, given: Mapping[str, Grid]) -> dict[str, Grid]:
    """Name -> grid: the hand-made ones, and those `given`, which take their names.

    Raises:
        ValueError: if one of `given` has a hand-made one's name, another number of steps, or another range than the
            clock.
    """
    for name, grid in given.items():
        if name in HAND_MADE or name == "best":
            raise ValueError(f"starting_grids must not use the name of a hand-made grid, got {name!r}")
        if grid.n_steps != n_steps:
            raise ValueError(f"starting_grids[{name!r}] must have {n_steps} steps, got {grid.n_steps}")
        if problem := grid.mismatch(clock):
            raise ValueError(f"starting_grids[{name!r}] must go with the flow: {problem}")
    return hand_made(clock, n_steps) | {name: replace(grid, name=name) for name, grid in given.items()}
