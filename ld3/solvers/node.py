"""The vocabulary in which solvers are written: what an evaluation leaves behind, and rules that combine it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor


class Node(NamedTuple):
    """What one factor remembers of one evaluation of the network.

    Attributes:
        lam: solver level cλ of the node, shape (); c is the score scale, which rules need not know.
        noise: -d/σ̂^c there, the ε̂ of the plain flow at c = 1, tangent of shape (B, ...).
        clean: displacement from the *current* point to the clean prediction made there, tangent of shape (B, ...).
    """

    lam: Tensor
    noise: Tensor
    clean: Tensor


Rule = Callable[[Sequence[Node], Tensor], Tensor]
"""(history, newest last; λ_next) -> displacement of one factor, from the start of the step to λ_next.

A rule has the order for which it is handed nodes. A predictor starts from the newest node; a corrector from the one
before, the newest then being the predicted arrival at λ_next itself. All `clean` are measured from the start point.
"""
