"""How much errors of the network may add up to along a grid (Xue et al., arXiv 2402.17376: "DMN").

The exponential multistep method of order 3 (the predictor of UniPC) is linear in the clean predictions. In the chart x̂
it reads

    x̂_N = e^{λ_0 - λ_N} x̂_0 + Σ_s Σ_i w_si x̂₀(λ_i),    w_si = ∫ e^{λ - λ_N} L_i(λ) dλ over step s,

with L_i the Lagrange polynomials of the nodes that step s uses; the order rises from 1 and falls back to 1. If the
clean prediction at λ_i is off by η_i, the result is off by at most Σ_i |Σ_s w_si η_i|. The paper takes η = σ^p/α:
p = 1 for pixels, 2 for latents. No network is needed. Where the score is scaled by c,
the method takes its steps in cλ (:class:`ld3.clock.Clock`); all levels here are cλ.

All functions take steps by their levels (..., n, 4): of the two nodes before, of the start, of the end. Those of one
step are all that its weights depend on, which keeps derivatives cheap.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Array = NDArray[np.float64]
Numbers = NDArray[Any]  # real, or complex for derivatives

ORDER = 3
APART = 3
"""First steps whose errors do not cancel against others': each is bounded by itself, by the root of its squares."""


def error_bound(lam: Array, score_scale: float = 1.0, power: float = 1.0) -> float:
    """What the errors of the clean predictions may add up to at the end of a grid with levels λ (n + 1,)."""
    parts = mixing(len(lam) - 1) @ step_errors(steps_of(lam), lam[-1], score_scale, power).ravel()
    return float(np.sqrt(groups(len(lam) - 1) @ parts**2).sum())


def steps_of(lam: Numbers) -> Numbers:
    """The steps of a grid λ (..., n + 1); the first two get made-up nodes before them, which their order leaves out."""
    before = lam[..., :1] - np.arange(ORDER - 1, 0, -1)
    nodes = np.concatenate([before, lam], axis=-1)
    return np.stack([nodes[..., k : nodes.shape[-1] - ORDER + k] for k in range(ORDER + 1)], axis=-1)


def step_errors(steps: Numbers, end: float, score_scale: float, power: float) -> Numbers:
    """w η of each step's newest node, the one before, and the one before that; (..., n, ORDER)."""
    return step_weights(steps, end) * assumed_error(steps[..., -2::-1], score_scale, power)


def step_weights(steps: Numbers, end: float) -> Numbers:
    """w of each step's newest node, the one before, and the one before that; (..., n, ORDER).

    With nodes at 0, -a and -b from the start of a step of length h, and H_k = ∫₀ʰ e^{s-h} s^k ds, the three are
    (H_2 + (a+b) H_1 + ab H_0)/ab, -(H_2 + b H_1)/a(b-a), (H_2 + a H_1)/b(b-a), times e^{λ - λ_N} of the step's end.
    """
    oldest_node, node_before, start, stop = np.moveaxis(steps, -1, 0)
    h, a, b = stop - start, start - node_before, start - oldest_node
    n = h.shape[-1]
    order = np.minimum(np.minimum(np.arange(n) + 1, n - np.arange(n)), ORDER)
    zero = -np.expm1(-h)
    one = h - zero
    two = h**2 - 2 * one
    oldest = (order == 3) * (two + a * one) / (b * (b - a))
    before = (order == 2) * -one / a - (order == 3) * (two + b * one) / (a * (b - a))
    weights = np.stack([zero - before - oldest, before, oldest], axis=-1)  # they add up to H_0
    return np.exp(stop - end)[..., None] * weights


def assumed_error(lam: Numbers, score_scale: float, power: float) -> Numbers:
    """η = σ^p/α at the noise level σ̂ = e^{-λ/c} that the network sees, with α² + σ² = 1: σ̂^p (1 + σ̂²)^((1-p)/2)."""
    noise = np.exp(-lam / score_scale)
    return noise**power * (1 + noise**2) ** ((1 - power) / 2)


def mixing(n: int) -> csr_array:
    """(parts, n ORDER): which of the step errors add up before they are bounded.

    Of a step that is kept apart none, so that each is a part; else those of one node, over all steps that use it.
    """
    apart = min(APART, n)
    step, back = (index.ravel() for index in np.indices((n, ORDER)))
    part = np.where(step < apart, ORDER * step + back, ORDER * apart + step - back)
    used = (step < apart) | (back <= step)
    return _zeros_and_ones(part[used], np.flatnonzero(used), (ORDER * apart + n, n * ORDER))


def groups(n: int) -> csr_array:
    """(bounds, parts): which parts are bounded together, by the root of their squares."""
    apart = min(APART, n)
    group = np.concatenate([np.repeat(np.arange(apart), ORDER), apart + np.arange(n)])
    return _zeros_and_ones(group, np.arange(len(group)), (apart + n, len(group)))


def _zeros_and_ones(row: NDArray[np.int64], column: NDArray[np.int64], shape: tuple[int, int]) -> csr_array:
    """Ones at these places. Sparse, for products that no number of threads can round in another order."""
    return csr_array((np.ones(len(row)), (row, column)), shape)
