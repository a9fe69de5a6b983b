"""The samplers that DiffDock uses: left Euler steps of equal length in t, for its reverse SDE and for its ODE.

The noise is σ(t) = σ_min (σ_max/σ_min)^t with g² = dσ²/dt (Corso et al., arXiv 2210.01776, algorithm 2). A step of
length dt in t is one of h = ln(σ_max/σ_min) dt in λ = -ln σ, and g² dt = 2 h σ². A displacement is d = σ² score, so
that in the core's terms the updates g² dt score + g √dt z and ½ g² dt score read 2 h d + σ √(2h) z and h d.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ld3.flow import ProbabilityFlow
from ld3.grids.grid import uniform_t
from ld3.solvers import get_solver, integrate
from ld3.state import State, Tangent

OnStep = Callable[[int, int, State], None]


def sample_sde(
    flow: ProbabilityFlow[State],
    start: State,
    steps: int,
    generator: torch.Generator,
    on_step: OnStep[State] | None = None,
) -> State:
    """Euler-Maruyama on the reverse SDE, at t = 1, 1 - 1/n, ..., 1/n; no noise in the last step, as DiffDock's default.

    Args:
        flow: with a clock of score scale 1, for the SDE samples p.
        start: B samples of pure noise.
        steps: n; DiffDock takes 20, one evaluation of the network each.
        generator: of the noise, drawn in the order of the clock's factors.
        on_step: called as `on_step(i, n, x)` after step i = 1..n.

    Raises:
        ValueError: if the clock is sharpened, or there is no step.
    """
    if flow.clock.score_scale != 1:
        raise ValueError(f"flow must have score scale 1, for the SDE samples p, got {flow.clock.score_scale}")
    nodes = uniform_t(flow.clock, steps).solver
    x = start
    for i in range(steps):
        d = flow.displacement(x, {name: lam[i] for name, lam in nodes.items()})
        noise = _standard_normal(d, generator) if i + 1 < steps else flow.zero_tangent(x)
        step = {name: euler_maruyama(d[name], noise[name], lam[i], lam[i + 1]) for name, lam in nodes.items()}
        x = flow.retract(x, step)
        if on_step is not None:
            on_step(i + 1, steps, x)
    return x


def sample_ode(flow: ProbabilityFlow[State], start: State, steps: int, on_step: OnStep[State] | None = None) -> State:
    """DiffDock's probability-flow ODE: `euler_lambda` on `uniform_t`. Arguments as in :func:`sample_sde`."""
    return integrate(flow, start, uniform_t(flow.clock, steps), get_solver("euler_lambda"), on_step=on_step)


def euler_maruyama(displacement: Tensor, noise: Tensor, lam: Tensor, lam_next: Tensor) -> Tensor:
    """2 h d + σ √(2h) z, h = λ_next - λ, σ = e^-λ: the update of one factor."""
    h = lam_next - lam
    return 2 * h * displacement + torch.exp(-lam) * torch.sqrt(2 * h) * noise


def _standard_normal(like: Tangent, generator: torch.Generator) -> Tangent:
    return {
        name: torch.randn(v.shape, generator=generator, dtype=v.dtype, device=generator.device).to(v.device)
        for name, v in like.items()
    }
