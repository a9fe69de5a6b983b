"""Rules that remember nothing: DDIM, Euler in time, and Heun's trapezoid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ld3.solvers.node import Node


def ddim(history: Sequence[Node], lam_next: Tensor) -> Tensor:
    """u = (1 - e^-h) d, h = λ_next - λ: Euler in σ̂, exact while the clean prediction stands still.

    DDIM (Song et al., arXiv 2010.02502), DPM-Solver-1, and Euler's method of Karras et al. are this step.
    """
    node = history[-1]
    return -torch.expm1(node.lam - lam_next) * node.clean


def euler_lambda(history: Sequence[Node], lam_next: Tensor) -> Tensor:
    """u = h d, h = λ_next - λ: left Euler in λ.

    Euler in the time t where λ is affine in t (the geometric schedule `VE`), which is how DiffDock (arXiv 2210.01776)
    steps its probability-flow ODE.
    """
    node = history[-1]
    return (lam_next - node.lam) * node.clean


def trapezoid(history: Sequence[Node], lam_next: Tensor) -> Tensor:
    """u = (σ̂_next - σ̂)(ε + ε_next)/2: the corrector of Heun's method (Karras et al., arXiv 2206.00364, alg. 1)."""
    start, arrival = history[-2:]
    return (torch.exp(-lam_next) - torch.exp(-start.lam)) * (start.noise + arrival.noise) / 2
