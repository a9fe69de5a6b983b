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

from ld3.solvers.node import Node, Rule

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
    weights = [single(h)] if len(others) == 1 else _lagrange(r, moments(h, len(others)))
    u = -torch.expm1(-h) * start.clean
    for node, r_k, w_k in zip(others, r, weights, strict=True):
        u = u + (w_k / r_k) * (node.clean - start.clean)
    return u


def _lagrange(r: Sequence[Tensor], g: Sequence[Tensor]) -> list[Tensor]:
    """The w with Σ_k w_k r_k^(j-1) = g_j: the functional s^(j-1) -> g_j of each Lagrange polynomial.

    A factor (s - r_j)/(r_k - r_j) of the polynomial turns the values g_j into (g_{j+1} - r_j g_j)/(r_k - r_j).
    """
    weights = []
    for k, r_k in enumerate(r):
        values = list(g)
        for r_j in (*r[:k], *r[k + 1 :]):
            values = [(upper - r_j * lower) / (r_k - r_j) for lower, upper in pairwise(values)]
        weights.extend(values)
    return weights


def moments(h: Tensor, n: int) -> list[Tensor]:
    """g_1 .. g_n, to rounding: g_j = 1 - j g_{j-1}/h loses all digits upwards as h -> 0, downwards as h grows."""
    return _upwards(h, n) if h > 1 else _downwards(h, n)


def _upwards(h: Tensor, n: int) -> list[Tensor]:
    """From g_0 = 1 - e^-h."""
    g = [-torch.expm1(-h)]
    for j in range(1, n + 1):
        g.append(1 - j * g[-1] / h)
    return g[1:]


def _downwards(h: Tensor, n: int) -> list[Tensor]:
    """From g_n = Σ_m (-1)^m h^(m+1) n!/(n+m+1)!, of which 16 terms are enough for h <= 1."""
    series = [(-1) ** m * math.factorial(n) / math.factorial(n + m + 1) for m in range(16)]
    g = [h.new_tensor(series) @ h ** torch.arange(1, 17, device=h.device)]
    for j in range(n, 1, -1):
        g.insert(0, (1 - g[0]) * h / j)
    return g[:n]
