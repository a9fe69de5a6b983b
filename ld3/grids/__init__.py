"""Where a few steps go: the grid itself, and every way to make one without training."""

from ld3.grids.ays import ays
from ld3.grids.dmn import dmn
from ld3.grids.gits import TRAJECTORY_SOLVER, Jumps, gits, jump_costs
from ld3.grids.grid import Grid
from ld3.grids.hand_made import HAND_MADE, edm, from_times, hand_made, quadratic_t, uniform_log_snr, uniform_t

__all__ = [
    "HAND_MADE",
    "TRAJECTORY_SOLVER",
    "Grid",
    "Jumps",
    "ays",
    "dmn",
    "edm",
    "from_times",
    "gits",
    "hand_made",
    "jump_costs",
    "quadratic_t",
    "uniform_log_snr",
    "uniform_t",
]
