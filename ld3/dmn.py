"""Levels at which the network's errors add up to the least (Xue et al., arXiv 2402.17376: "DMN").

The exponential multistep method of order 3 (the predictor of UniPC) is linear in the clean predictions. In the chart x̂
it reads

    e^{λ_N} x̂_N = e^{λ_0} x̂_0 + Σ_s Σ_i w_si x̂₀(λ_i),    w_si = ∫ e^λ L_i(λ) dλ over step s,

with L_i the Lagrange polynomials of the nodes that step s uses; the order rises from 1 and falls back to 1. If the
clean prediction at λ_i is off by η_i, the result is off by at most Σ_i |Σ_s w_si η_i|, and that is what the levels
minimise. The paper takes η = σ^p/α: p = 1 for pixels, 2 for latents. No network is needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Array = NDArray[np.float64]
Numbers = NDArray[Any]  # real, or complex for the derivatives

ORDER = 3
APART = 3
"""First steps whose errors do not cancel against others': each is bounded by itself, by the root of its squares."""

NARROWEST = 0.1
"""No step is shorter than this share of the mean one: the bound knows nothing of discretisation, and with many steps
would put nodes on top of each other."""

MAX_ITERATIONS = 200
TOLERANCE = 1e-7
TINY = 1e-200  # imaginary step of the derivatives


def least_error_levels(start: float, end: float, n: int, sharpness: float = 1.0, power: float = 1.0) -> Array:
    """λ at the n + 1 nodes from `start` to `end` with the least `error_bound`, found by SLSQP.

    The bound has kinks where a sum changes its sign, so that it is minimised as Σ z_i under -z_i <= c_i(λ) <= z_i.

    The authors' code lets the errors of the first steps cancel when there are more than seven; the bound is then least
    where the first step vanishes, which their solver does not reach. Keeping the first `APART` apart at every n leaves
    one minimum, the same from every start that we tried.

    Raises:
        ValueError: if there is no step, or `start` is not below `end`.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1 step, got {n}")
    if not start < end:
        raise ValueError(f"start must be below end, got {start} and {end}")
    uniform = np.linspace(start, end, n + 1)
    if n == 1:
        return uniform
    scale = error_bound(uniform, sharpness, power)
    narrowest = NARROWEST * (end - start) / n
    inner = n - 1

    def levels(x: Array) -> Array:
        return np.concatenate([[start], x[:inner], [end]])

    def room(x: Array) -> Array:
        parts = bounded_sums(levels(x), sharpness, power) / scale
        return np.concatenate([x[inner:] - parts, x[inner:] + parts, np.diff(levels(x)) - narrowest])

    def room_jacobian(x: Array) -> Array:
        parts = derivative(levels(x), sharpness, power)[:, 1:-1] / scale
        one = np.eye(len(parts))
        gaps = np.diff(np.eye(n + 1), axis=0)[:, 1:-1]
        return np.block([[-parts, one], [parts, one], [gaps, np.zeros((n, len(parts)))]])

    first = np.concatenate([uniform[1:-1], np.abs(bounded_sums(uniform, sharpness, power)) / scale])
    weights = np.concatenate([np.zeros(inner), np.ones(len(first) - inner)])
    found = minimize(
        lambda x: weights @ x,
        first,
        jac=lambda x: weights,
        method="SLSQP",
        bounds=[(start, end)] * inner + [(0, None)] * (len(first) - inner),
        constraints={"type": "ineq", "fun": room, "jac": room_jacobian},
        options={"maxiter": MAX_ITERATIONS, "ftol": TOLERANCE},
    )
    best = levels(found.x)
    assert error_bound(best, sharpness, power) <= scale * (1 + 1e-6), found.message
    return best


def error_bound(lam: Array, sharpness: float = 1.0, power: float = 1.0) -> float:
    """What the errors of the clean predictions may add up to at the end, times e^{λ_N}, for λ (n + 1,)."""
    return float(np.abs(bounded_sums(lam, sharpness, power)).sum())


def bounded_sums(lam: Numbers, sharpness: float, power: float) -> Numbers:
    """The c whose absolute values make up the bound: one for each step kept apart, one for each node.

    Args:
        lam: (..., n + 1), real or complex.

    Returns:
        (..., min(APART, n) + n).
    """
    weights = step_weights(lam)
    error = assumed_error(lam[..., :-1], sharpness, power)
    for back in range(weights.shape[-1]):
        weights[..., back:, back] *= error[..., : error.shape[-1] - back]
    alone = np.sqrt((weights[..., :APART, :] ** 2).sum(-1))
    weights[..., :APART, :] = 0
    nodes = weights[..., 0].copy()
    for back in range(1, weights.shape[-1]):
        nodes[..., :-back] += weights[..., back:, back]
    return np.concatenate([alone, nodes], axis=-1)


def derivative(lam: Array, sharpness: float, power: float) -> Array:
    """∂ `bounded_sums` / ∂λ, shape (sums, n + 1): Im f(λ + iτ)/τ, which cancels no digits (Squire & Trapp 1998)."""
    moved = lam + 1j * TINY * np.eye(len(lam))
    sums: Array = bounded_sums(moved, sharpness, power).imag.T / TINY
    return sums


def assumed_error(lam: Numbers, sharpness: float, power: float) -> Numbers:
    """η = σ^p/α at the noise level σ̂ = e^{-λ/c} that the network sees, with α² + σ² = 1: σ̂^p (1 + σ̂²)^((1-p)/2)."""
    noise = np.exp(-lam / sharpness)
    return noise**power * (1 + noise**2) ** ((1 - power) / 2)


def step_weights(lam: Numbers) -> Numbers:
    """w of each step's newest node, the one before, and the one before that; shape (..., n, ORDER).

    With nodes at 0, -a and -b from the start of a step of length h, and H_k = ∫₀ʰ e^s s^k ds, the three are
    (H_2 + (a+b) H_1 + ab H_0)/ab, -(H_2 + b H_1)/a(b-a), (H_2 + a H_1)/b(b-a), times e^λ of the start.
    """
    n = lam.shape[-1] - 1
    h = np.diff(lam)
    zero = np.expm1(h)
    one = h * np.exp(h) - zero
    two = h**2 * np.exp(h) - 2 * one
    # The first two steps have no such nodes; any number does there, as the order is lower.
    a = np.concatenate([h[..., :1], h[..., :-1]], axis=-1)
    b = a + np.concatenate([h[..., :1], h[..., :1], h[..., :-2]], axis=-1)[..., :n]
    step = np.arange(n)
    choice = np.minimum(np.minimum(step + 1, n - step), ORDER) - 1
    none = np.zeros_like(h)
    newest = np.choose(choice, [zero, zero + one / a, (two + (a + b) * one + a * b * zero) / (a * b)])
    before = np.choose(choice, [none, -one / a, -(two + b * one) / (a * (b - a))])
    oldest = np.choose(choice, [none, none, (two + a * one) / (b * (b - a))])
    return np.exp(lam[..., :-1])[..., None] * np.stack([newest, before, oldest], axis=-1)
