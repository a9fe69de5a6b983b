"""The samplers that DiffDock uses: left Euler steps of equal length in t, for its reverse SDE and for its ODE.

The noise is σ(t) = σ_min (σ_max/σ_min)^t with g² = dσ²/dt (Corso et al., arXiv 2210.01776, algorithm 2). A step of
length dt in t is one of h = ln(σ_max/σ_min) dt in λ = -ln σ, and g² dt = 2 h σ². A displacement is d = σ² score, so
that in the core's terms the updates g² dt score + g √dt z and ½ g² dt score read 2 h d + σ √(2h) z and h d.

At score scale c both follow c times the score: 2 c h d + σ √(2h) z and c h d. With c > 1 they seek modes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ld3.flow import ProbabilityFlow
from ld3.grids import uniform_t
from ld3.solvers import get_solver, integrate
from ld3.state import State, Tangent

OnStep = Callable[[int, int, State], None]

Noise = Callable[[Tangent], Tangent]
"""Standard normal numbers of the shapes and on the devices of a tangent; new ones at every call."""


def sample_sde(
    flow: ProbabilityFlow[State], start: State, steps: int, noise: Noise, on_step: OnStep[State] | None = None
) -> State:
    """Euler-Maruyama on the reverse SDE, at t = 1, 1 - 1/n, ..., 1/n; no noise in the last step, as DiffDock's default.

    Args:
        flow: its clock's score scale c multiplies the score; at 1 the SDE is DiffDock's.
        start: B samples of pure noise.
        steps: n; DiffDock takes 20, one evaluation of the network each.
        noise: called once in every step but the last.
        on_step: called as `on_step(i, n, x)` after step i = 1..n.

    Raises:
        ValueError: if there is no step.
    """
    grid, c = uniform_t(flow.clock, steps), flow.clock.score_scale
    sigmas = flow.clock.sigma(grid.solver)
    x = start
    for i in range(steps):
        d = flow.displacement(x, {name: lam[i] for name, lam in grid.network.items()})
        z = noise(d) if i + 1 < steps else flow.zero_tangent(x)
        step = {name: euler_maruyama(d[name], z[name], sigma[i], sigma[i + 1], c) for name, sigma in sigmas.items()}
        x = flow.retract(x, step)
        if on_step is not None:
            on_step(i + 1, steps, x)
    return x


def sample_ode(flow: ProbabilityFlow[State], start: State, steps: int, on_step: OnStep[State] | None = None) -> State:
    """DiffDock's probability-flow ODE: `euler_lambda` on `uniform_t`. Arguments as in :func:`sample_sde`."""
    return integrate(flow, start, uniform_t(flow.clock, steps), get_solver("euler_lambda"), on_step=on_step)


def euler_maruyama(displacement: Tensor, noise: Tensor, sigma: Tensor, sigma_next: Tensor, c: float) -> Tensor:
    """2 c h d + σ √(2h) z, h = ln(σ/σ_next): the update of one factor."""
    h = torch.log(sigma / sigma_next)
    return 2 * c * h * displacement + sigma * torch.sqrt(2 * h) * noise


def noise_from(generator: torch.Generator) -> Noise:
    """Noise for the whole batch from one generator, drawn in the order of the factors."""

    def draw(like: Tangent) -> Tangent:
        return {
            name: torch.randn(v.shape, generator=generator, dtype=v.dtype, device=generator.device).to(v.device)
            for name, v in like.items()
        }

    return draw
