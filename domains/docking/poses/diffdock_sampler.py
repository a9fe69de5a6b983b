"""The samplers that DiffDock uses: left Euler steps of equal length in t, for its reverse SDE and for its ODE.

The noise is σ(t) = σ_min (σ_max/σ_min)^t with g² = dσ²/dt (Corso et al., arXiv 2210.01776, algorithm 2). A step of
length dt in t is one of h = ln(σ_max/σ_min) dt in λ = -ln σ, and g² dt = 2 h σ². A displacement is d = σ² score, so
that in the core's terms the updates g² dt score + g √dt z and ½ g² dt score read 2 h d + σ √(2h) z and h d.

At score scale c both follow c times the score: 2 c h d + σ √(2h) z and c h d. With c > 1 they seek modes.
"""

from __future__ import annotations

from ld3.flow import ProbabilityFlow
from ld3.grids import uniform_t
from ld3.solvers import EULER_MARUYAMA, Noise, OnStep, get_solver, integrate
from ld3.state import State


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
    return integrate(flow, start, uniform_t(flow.clock, steps), EULER_MARUYAMA, on_step=on_step, noise=noise)


def sample_ode(flow: ProbabilityFlow[State], start: State, steps: int, on_step: OnStep[State] | None = None) -> State:
    """DiffDock's probability-flow ODE: `euler_lambda` on `uniform_t`. Arguments as in :func:`sample_sde`."""
    return integrate(flow, start, uniform_t(flow.clock, steps), get_solver("euler_lambda"), on_step=on_step)
