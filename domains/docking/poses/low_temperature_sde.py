"""DiffDock's published sampler: the reverse SDE at a low temperature, which concentrates on likely poses.

Each step of length dt in t, with g² = dσ²/dt and z standard normal, is (Corso et al. 2024, arXiv 2402.18396, after
Ingraham et al. 2023, Chroma)

    g² dt (λ(σ) + T ψ / 2) score + g √(dt (1 + ψ)) z,    λ(σ) = (σ_data + σ) / (σ_data + σ / T).

In the terms of :mod:`domains.docking.poses.diffdock_sampler`, h = ln(σ/σ_next) and d = σ² score:
2 h (λ + T ψ / 2) d + σ √(2 h (1 + ψ)) z. At T = 1 and ψ = 0 it is the plain SDE with λ = 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, final

import torch
from torch import Tensor

from domains.docking.poses.diffdock_sampler import Noise, OnStep
from ld3.flow import ProbabilityFlow
from ld3.grids import uniform_t
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

    def drift(self, sigma: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
        """λ(σ) + T ψ / 2."""
        data = torch.exp(self.sigma_data * highest.log() + (1 - self.sigma_data) * lowest.log())
        return (data + sigma) / (data + sigma / self.sampling) + self.sampling * self.psi / 2


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
    """Steps from t = 1, 1 - 1/n, ...; the last of those that are run ends at t = 0 and is without noise.

    Args:
        flow: with a clock of score scale 1, which temperatures take the place of.
        start: B samples of pure noise.
        noise: called once in every step but the last.
        settings: temperatures and steps; one network evaluation for each step that is run.
        on_step: called as `on_step(i, run, x)` after step i = 1..run.

    Raises:
        ValueError: if the clock has another score scale.
    """
    if flow.clock.score_scale != 1:
        raise ValueError(f"flow must have score scale 1: temperatures take its place, got {flow.clock.score_scale}")
    steps, run, temperatures = settings.steps, settings.run, settings.temperatures
    grid = uniform_t(flow.clock, steps)
    sigmas = flow.clock.sigma(grid.solver)
    x = start
    for i in range(run):
        last = i + 1 == run
        d = flow.displacement(x, {name: lam[i] for name, lam in grid.network.items()})
        z = flow.zero_tangent(x) if last else noise(d)
        step = {
            name: low_temperature_update(d[name], z[name], sigma, i, steps if last else i + 1, temperatures[name])
            for name, sigma in sigmas.items()
        }
        x = flow.retract(x, step)
        if on_step is not None:
            on_step(i + 1, run, x)
    return x


def low_temperature_update(
    displacement: Tensor, noise: Tensor, sigmas: Tensor, i: int, j: int, temperature: Temperature
) -> Tensor:
    """Update of one factor from node `i` to node `j` of the noise levels `sigmas`, highest first."""
    sigma, h = sigmas[i], torch.log(sigmas[i] / sigmas[j])
    drift = 2 * h * temperature.drift(sigma, sigmas[-1], sigmas[0]) * displacement
    return drift + sigma * torch.sqrt(2 * h * (1 + temperature.psi)) * noise
