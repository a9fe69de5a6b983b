"""UniPC in data prediction (Zhao et al., arXiv 2302.04867).

With s the fraction of a step of length h, the exact displacement is

    u = ∫₀¹ h e^{-h(1-s)} d(s) ds.

UniPC puts the polynomial through the known d_k at s = r_k for d(s), r_0 = 0 being the start:

    u = g_0 d_0 + Σ_k w_k (d_k - d_0)/r_k     with  Σ_k w_k r_k^(j-1) = g_j,  g_j = ∫₀¹ h e^{-h(1-s)} s^j ds.

The paper's w_k = B(h) ρ_k solve a system whose right-hand side carries 1/B(h), so that B(h) cancels. It matters only
where the paper fixes ρ = 1/2 instead of solving: with a single d_k.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ld3.solvers.integrate import Node, Rule

SingleWeight = Callable[[Tensor], Tensor]


def bh1(h: Tensor) -> Tensor:
    """w of a single difference for B(h) = h."""
    return h / 2


def bh2(h: Tensor) -> Tensor:
    """w of a single difference for B(h) = 1 - e^-h."""
    return -torch.expm1(-h) / 2


def predictor(single: SingleWeight) -> Rule:
    """UniP: the polynomial through the start and the nodes before it."""

    def rule(history: Sequence[Node], lam_next: Tensor) -> Tensor:
        return _displacement(history[-1], history[:-1], lam_next, single)

    return rule


def corrector(single: SingleWeight) -> Rule:
    """UniC: the polynomial through the start, the nodes before it, and the predicted arrival."""

    def rule(history: Sequence[Node], lam_next: Tensor) -> Tensor:
        return _displacement(history[-2], [*history[:-2], history[-1]], lam_next, single)

    return rule


def _displacement(start: Node, others: Sequence[Node], lam_next: Tensor, single: SingleWeight) -> Tensor:
    h = lam_next - start.lam
    r = [(node.lam - start.lam) / h for node in others]
    weights = [single(h)] if len(others) == 1 else _lagrange(r, _moments(h, len(others)))
    u = -torch.expm1(-h) * start.clean
    for node, r_k, w_k in zip(others, r, weights, strict=True):
        u = u + (w_k / r_k) * (node.clean - start.clean)
    return u


def _lagrange(r: Sequence[Tensor], moments: Sequence[Tensor]) -> list[Tensor]:
    """The w with Σ_k w_k r_k^j = moments[j]: the functional s^j -> moments[j] of each Lagrange polynomial.

    A factor (s - r_j)/(r_k - r_j) of the polynomial turns the moments m_j into (m_{j+1} - r_j m_j)/(r_k - r_j).
    """
    weights = []
    for k, r_k in enumerate(r):
        reduced = list(moments)
        for r_j in (*r[:k], *r[k + 1 :]):
            reduced = [(upper - r_j * lower) / (r_k - r_j) for lower, upper in pairwise(reduced)]
        weights.extend(reduced)
    return weights


def _moments(h: Tensor, n: int) -> list[Tensor]:
    """g_1 .. g_n, which obey g_j = 1 - j g_{j-1}/h and g_0 = 1 - e^-h.

    Upwards the recurrence loses all digits as h -> 0; there g_n = Σ_m (-1)^m h^(m+1) n!/(n+m+1)! starts it downwards.
    """
    if n == 0:
        return []
    moments: list[Tensor] = []
    if h > 1:
        g = -torch.expm1(-h)
        for j in range(1, n + 1):
            g = 1 - j * g / h
            moments.append(g)
        return moments
    series = [(-1) ** m * math.factorial(n) / math.factorial(n + m + 1) for m in range(16)]
    g = h.new_tensor(series) @ h ** torch.arange(1, 17, device=h.device)
    for j in range(n, 0, -1):
        moments.insert(0, g)
        g = (1 - g) * h / j
    return moments
