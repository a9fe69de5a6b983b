"""Teacher pairs of a fit: how many learn and how many choose, which of them are left out, what a fit on them costs."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ld3.grids.grid import HAND_MADE
from ld3.learn import FitConfig, Pairs
from ld3.state import State, take


def fit_split(pairs: int) -> tuple[int, int]:
    """How many pairs train, and how many choose the best grid: one in five."""
    valid = max(1, pairs // 5)
    return pairs - valid, valid


def finite_part(pairs: Pairs[State], finite: Tensor, part: slice) -> Pairs[State]:
    """The pairs of `part` whose ends are finite.

    Args:
        pairs: B of them.
        finite: which are, (B,), bool.
        part: of B.
    """
    rows = torch.arange(len(finite))[part]
    rows = rows[finite[part]]
    return replace(pairs, start=take(pairs.start, rows), end=take(pairs.end, rows))


def fit_work(config: FitConfig, train: int, valid: int, nfe: int, more_starts: int) -> float:
    """The most evaluations that a fit can make.

    Args:
        config: of the fit.
        train, valid: numbers of pairs.
        nfe: evaluations that a pair costs.
        more_starts: grids to start from besides those made by hand.
    """
    rounds = len(config.phases) * config.steps
    validations = len(HAND_MADE) + more_starts + rounds // config.validate_every
    return nfe * (validations * valid + rounds * (min(config.batch, train) or train))
