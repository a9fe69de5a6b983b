"""How finely the trajectories of GITS are solved."""

from __future__ import annotations

from typing import Final

_PAPER: Final = 60


def fine_steps(finest: int) -> int:
    """As many as in the paper (arXiv 2405.11326), and at least twice as many as the grid of `finest` steps, which has
    to be found among them.
    """
    return max(_PAPER, 2 * finest)
