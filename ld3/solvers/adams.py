"""iPNDM: Adams-Bashforth in σ̂."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ld3.solvers.node import Node

WEIGHTS: tuple[tuple[float, ...], ...] = (
    (1.0,),
    (-1 / 2, 3 / 2),
    (5 / 12, -16 / 12, 23 / 12),
    (-9 / 24, 37 / 24, -59 / 24, 55 / 24),
)
"""Adams-Bashforth weights for equal steps, oldest node first, by number of nodes."""


def adams_bashforth(history: Sequence[Node], lam_next: Tensor) -> Tensor:
    """u = (σ̂_next - σ̂) Σ_k b_k ε_k over one to four nodes (Zhang & Chen, arXiv 2204.13902).

    The weights belong to equal steps in σ̂. On a grid whose steps grow or shrink gradually the order is 2 from two nodes
    on; where neighbouring steps keep a fixed ratio it is 1.
    """
    weighted = sum(b * node.noise for b, node in zip(WEIGHTS[len(history) - 1], history, strict=True))
    return (torch.exp(-lam_next) - torch.exp(-history[-1].lam)) * weighted
