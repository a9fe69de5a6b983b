"""The reverse SDE as a solver: a step along the displacement, and fresh noise on top.

In the chart of all solvers, with d the displacement to the clean prediction and dw standard Brownian motion in λ,

    dx = 2 τ d dλ + σ √(2 (1 + ψ)) dw.

τ = 1 and ψ = 0 are the reverse SDE of the model (Song et al. 2021, arXiv 2011.13456); a larger τ is colder. With the τ
and σ of its start, a step of length h is by Euler and Maruyama

    2 τ h d + σ √(2 h (1 + ψ)) z,

and with only τ and the clean prediction held still, which leaves a linear SDE with a known solution,

    (1 - e^(-2τh)) d + σ_next √((1 + ψ) (1 - e^(-(4τ-2)h)) / (2τ - 1)) z.

The second is right to first order as well, but does not overshoot where 2 τ h is above 1, as it is in few steps. There
is no noise in the last step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Final

import torch
from torch import Tensor

from ld3.solvers.node import Node, Rule
from ld3.solvers.solver import Solver, Spread
from ld3.state import Tangent

Noise = Callable[[Tangent], Tangent]
"""Standard normal numbers of the shapes and on the devices of a tangent; new ones at every call."""

Drift = Callable[[Tensor], Tensor]
"""λ -> τ, both of shape ()."""


def noise_from(generator: torch.Generator) -> Noise:
    """Noise for the whole batch from one generator, drawn in the order of the factors."""

    def draw(like: Tangent) -> Tangent:
        return {
            name: torch.randn(v.shape, generator=generator, dtype=v.dtype, device=generator.device).to(v.device)
            for name, v in like.items()
        }

    return draw


def recorded(noise: Tangent) -> Noise:
    """The numbers of earlier calls, factor -> (B, calls, ...), one call after the other."""
    calls = count()

    def draw(like: Tangent) -> Tangent:
        i = next(calls)
        return {name: noise[name][:, i].to(v) for name, v in like.items()}

    return draw


def euler_maruyama(drift: Drift | None = None, extra: float = 0.0) -> tuple[Rule, Spread]:
    """Rule and spread of one factor; `drift` gives τ, 1 without it, and `extra` is ψ."""

    def rule(history: Sequence[Node], lam_next: Tensor) -> Tensor:
        now = history[-1]
        return 2 * _tau(drift, now.lam) * (lam_next - now.lam) * now.clean

    def spread(lam: Tensor, lam_next: Tensor, score_scale: float) -> Tensor:
        return torch.exp(-lam) * torch.sqrt(2 * (lam_next - lam) * (1 + extra))

    return rule, spread


def exponential(drift: Drift | None = None, extra: float = 0.0) -> tuple[Rule, Spread]:
    """As :func:`euler_maruyama`, with the linear part solved exactly."""

    def rule(history: Sequence[Node], lam_next: Tensor) -> Tensor:
        now = history[-1]
        return -torch.expm1(-2 * _tau(drift, now.lam) * (lam_next - now.lam)) * now.clean

    def spread(lam: Tensor, lam_next: Tensor, score_scale: float) -> Tensor:
        rate = 4 * score_scale * _tau(drift, lam) - 2
        return torch.exp(-lam_next) * torch.sqrt(2 * (1 + extra) * _decayed(rate, lam_next - lam))

    return rule, spread


def stochastic(
    name: str, parts: Mapping[str, tuple[Rule, Spread]] | tuple[Rule, Spread], *, finite_end: bool
) -> Solver:
    """A solver of rules and spreads, one pair for each factor or one for all."""
    if isinstance(parts, tuple):
        return Solver(name, 1, parts[0], finite_end=finite_end, spread=parts[1])
    rules = {factor: rule for factor, (rule, _) in parts.items()}
    return Solver(
        name, 1, rules, finite_end=finite_end, spread={factor: spread for factor, (_, spread) in parts.items()}
    )


EULER_MARUYAMA: Final = stochastic("euler_maruyama", euler_maruyama(), finite_end=True)
EXPONENTIAL_SDE: Final = stochastic("exponential_sde", exponential(), finite_end=False)


def _tau(drift: Drift | None, lam: Tensor) -> Tensor:
    return torch.ones_like(lam) if drift is None else drift(lam)


def _decayed(rate: Tensor, h: Tensor) -> Tensor:
    """∫₀ʰ e^(-rate·u) du."""
    small = rate.abs() < 1e-9
    safe = torch.where(small, 1.0, rate)
    return torch.where(small, h, -torch.expm1(-safe * h) / safe)
