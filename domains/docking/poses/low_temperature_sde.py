"""DiffDock's published sampler: the reverse SDE at a low temperature, which concentrates on likely poses.

Each step of length dt in t, with g² = dσ²/dt and z standard normal, is (Corso et al. 2024, arXiv 2402.18396, after
Ingraham et al. 2023, Chroma)

    g² dt (λ(σ) + T ψ / 2) score + g √(dt (1 + ψ)) z,    λ(σ) = (σ_data + σ) / (σ_data + σ / T).

With h = ln(σ/σ_next) and d = σ² score that is 2 h τ d + σ √(2 h (1 + ψ)) z, τ = λ + T ψ / 2: Euler and Maruyama's step
of :mod:`ld3.solvers.sde`. At T = 1 and ψ = 0 it is the plain SDE.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, final

import torch
from torch import Tensor

from ld3.clock import Clock
from ld3.fingerprint import fingerprint
from ld3.flow import ProbabilityFlow
from ld3.grids import Grid, uniform_t
from ld3.solvers import Noise, OnStep, Solver, integrate
from ld3.solvers.sde import Drift, euler_maruyama, exponential, stochastic
from ld3.state import State


@final
@dataclass(frozen=True)
class Temperature:
    """Of one factor.

    Attributes:
        sampling: T of the drift; above 1 it is stronger than the score's, which means colder.
        psi: how much more noise than the plain SDE's.
        sigma_data: where in ln σ, from 0 at the lowest noise to 1 at the highest, λ turns from T to 1.
    """

    sampling: float
    psi: float
    sigma_data: float

    def drift(self, first: float, last: float) -> Drift:
        """τ at a level, on a clock whose levels run from `first`, where σ is highest, to `last`."""
        data = math.exp(-self.sigma_data * first - (1 - self.sigma_data) * last)

        def tau(lam: Tensor) -> Tensor:
            sigma = torch.exp(-lam)
            return (data + sigma) / (data + sigma / self.sampling) + self.sampling * self.psi / 2

        return tau


@final
@dataclass(frozen=True)
class LowTemperature:
    """What of the sampler is chosen for a set of weights.

    Attributes:
        temperatures: factor -> its temperature.
        steps: n, of equal length in t.
        run: how many of them are run.

    Raises:
        ValueError: if there are fewer steps than are to be run, none to run, or a temperature is not positive.
    """

    temperatures: Mapping[str, Temperature]
    steps: int = 20
    run: int = 19

    def __post_init__(self) -> None:
        if not 1 <= self.run <= self.steps:
            raise ValueError(f"run must be from 1 to the number of steps, {self.steps}, got {self.run}")
        for name, temperature in self.temperatures.items():
            if not (temperature.sampling > 0 and temperature.psi > -1):
                raise ValueError(f"temperatures: {name} must have sampling > 0 and psi > -1, got {temperature}")

    def grid(self, clock: Clock) -> Grid:
        """Of the published sampler: steps of equal length in t, and the last of those that are run goes to the end."""
        levels = uniform_t(clock, self.steps).solver
        kept = {factor: torch.cat([lam[: self.run], lam[-1:]]) for factor, lam in levels.items()}
        return Grid.coupled(kept, f"{self.run} of {self.steps} steps", clock.score_scale)

    def solver(self, clock: Clock, *, exact: bool = False) -> Solver:
        """Of these temperatures, for any grid; steps as published, or with `exact` those that do not overshoot.

        Raises:
            ValueError: if the clock has a score scale, which temperatures take the place of.
        """
        if clock.score_scale != 1:
            raise ValueError(f"clock must have score scale 1: temperatures take its place, got {clock.score_scale:g}")
        step = exponential if exact else euler_maruyama
        parts = {name: step(own.drift(*clock.bounds[name]), own.psi) for name, own in self.temperatures.items()}
        name = f"low_temperature_{'exponential' if exact else 'euler_maruyama'}-{fingerprint(self.temperatures)}"
        return stochastic(name, parts, finite_end=not exact)

    def plain(self) -> dict[str, Any]:
        """As JSON has it; :meth:`of_plain` reads it."""
        return asdict(self)

    @staticmethod
    def of_plain(values: Mapping[str, Any]) -> LowTemperature:
        """What :meth:`plain` wrote; KeyError, TypeError or ValueError if it is something else."""
        found = {name: Temperature(**own) for name, own in values["temperatures"].items()}
        return LowTemperature(found, int(values["steps"]), int(values["run"]))


PUBLISHED: Final = LowTemperature(
    {
        "tr": Temperature(1.170050527854316, 0.727287304570729, 0.9299802531572672),
        "rot": Temperature(2.06391612594481, 0.9022615585677628, 0.7464326999906034),
        "tor": Temperature(7.044261621607846, 0.5946212391366862, 0.6943254174849822),
    }
)
"""DiffDock-L's, from its default_inference_args.yaml."""


def sample_low_temperature_sde(
    flow: ProbabilityFlow[State],
    start: State,
    noise: Noise,
    settings: LowTemperature = PUBLISHED,
    on_step: OnStep[State] | None = None,
) -> State:
    """The published sampler.

    Args:
        flow: with a clock of score scale 1, which temperatures take the place of.
        start: B samples of pure noise.
        noise: called once in every step but the last.
        settings: temperatures and steps; one network evaluation for each step that is run.
        on_step: called as `on_step(i, run, x)` after step i = 1..run.

    Raises:
        ValueError: if the clock has another score scale.
    """
    grid, solver = settings.grid(flow.clock), settings.solver(flow.clock)
    return integrate(flow, start, grid, solver, on_step=on_step, noise=noise)
