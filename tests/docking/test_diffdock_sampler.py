"""DiffDock's samplers against its own recorded runs, and against the moments of a Gaussian flow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import data
from flows import F64, GaussianFlow
from torch import Tensor

from domains.docking.poses import kinematics
from domains.docking.poses.diffdock_sampler import sample_ode, sample_sde
from domains.docking.poses.diffusion import FACTORS, NoiseRange
from ld3 import VE, Levels, ProbabilityFlow, Tangent
from ld3.solvers import Node, noise_from
from ld3.solvers.sde import euler_maruyama

# Limits of the recorded runs, as in the file's t_to_sigma/diffdock_l_assumed/limits.
RANGE = NoiseRange(tr=(0.1, 19.0), rot=(0.03, 1.55), tor=(0.0314, 3.14))


class ReplayFlow(ProbabilityFlow[Tensor]):
    """Moves the ligand 6o5u with the scores of a recorded run, asked for in the order and at the times of that run."""

    prior_scale: Mapping[str, float] = {"tr": 19.0, "rot": 1.55, "tor": 3.14}

    def __init__(self, record: Path, ligand: Path, run: str) -> None:
        self.clock = RANGE.clock()
        with np.load(record) as file:
            self.scores = {f: torch.from_numpy(file[f"{run}/{f}_score"]).double() for f in FACTORS}
            self.schedule = file[f"{run}/schedule"]
        with np.load(ligand) as file:
            directed = torch.from_numpy(file["6o5u/edge_index"].T[file["6o5u/edge_mask"].astype(bool)])
            sides = torch.from_numpy(file["6o5u/mask_rotate"].astype(bool))
        self.bonds, self.sides = directed.expand(4, -1, -1), sides.expand(4, -1, -1)
        self.step = 0

    def prior(self, n: int, generator: torch.Generator) -> Tensor:
        raise NotImplementedError

    def displacement(self, x: Tensor, levels: Levels) -> Tangent:
        np.testing.assert_allclose([t.item() for t in self.clock.time(levels).values()], self.schedule[self.step])
        sigma = self.clock.sigma(levels)
        self.step += 1
        return {f: sigma[f] ** 2 * self.scores[f][self.step - 1] for f in FACTORS}

    def retract(self, x: Tensor, v: Tangent) -> Tensor:
        mask = torch.ones(x.shape[:2], dtype=torch.bool)
        return kinematics.move(x, mask, self.bonds, self.sides, v["tr"], v["rot"], v["tor"])

    def zero_tangent(self, x: Tensor) -> Tangent:
        return {f: torch.zeros_like(self.scores[f][0]) for f in FACTORS}

    def distance(self, x: Tensor, target: Tensor) -> Tensor:
        raise NotImplementedError

    def norm(self, v: Tangent) -> Mapping[str, Tensor]:
        raise NotImplementedError

    def fingerprint(self) -> str:
        raise NotImplementedError


@pytest.mark.parametrize("steps", [5, 20])
def test_ode_follows_the_recorded_trajectory(steps: int) -> None:
    record = data("diffdock_runs.npz")
    flow = ReplayFlow(record, data("diffdock_conformers.npz"), f"ode/{steps}steps")
    with np.load(record) as file:
        start = torch.from_numpy(file["ode/start_pos"]).double()
        expected = file[f"ode/{steps}steps/traj_pos"]
    trajectory: list[Tensor] = []
    sample_ode(flow, start, steps, on_step=lambda i, n, x: trajectory.append(x))
    # The reference works in float32 with coordinates up to 100 Å.
    np.testing.assert_allclose(torch.stack(trajectory).numpy(), expected, rtol=0, atol=5e-4)


def test_sde_steps_are_the_recorded_ones() -> None:
    """Each recorded update follows from the score, the noise and the two times; the last one is without noise."""
    clock, (rule, spread) = RANGE.clock(), euler_maruyama()
    with np.load(data("diffdock_runs.npz")) as file:
        times = torch.tensor([*file["sde_plain/schedule"], 0.0], dtype=F64)
        sigmas = clock.sigma(clock.levels(times))
        for f, sigma in sigmas.items():
            scores, noise = file[f"sde_plain/{f}_score"], file[f"sde_plain/{f}_z"]
            noise = np.concatenate([noise, np.zeros_like(noise[:1])])
            for i, expected in enumerate(file[f"sde_plain/{f}_update"]):
                displacement = sigma[i].square() * torch.from_numpy(scores[i]).double()
                z = torch.from_numpy(noise[i]).double()
                first, last = (-sigma[k].log() for k in (i, i + 1))
                drift = rule([Node(first, -displacement / sigma[i], displacement)], last)
                update = (drift + spread(first, last, 1.0) * z).numpy()
                np.testing.assert_allclose(update, expected, rtol=0, atol=3e-7 * np.abs(expected).max())


SCHEDULE = VE(0.02, 20.0)


def moments(flow: GaussianFlow, steps: int) -> tuple[Tensor, Tensor]:
    """Mean and variance of what Euler-Maruyama gives from N(0, σ_max²): every step is linear in x."""
    sigmas = SCHEDULE.sigma(torch.linspace(1, 0, steps + 1, dtype=F64))
    mean, variance = torch.zeros(3, dtype=F64), torch.full((3,), 20.0**2, dtype=F64)
    for i, sigma in enumerate(sigmas[:-1]):
        h = torch.log(sigma / sigmas[i + 1])
        factor = 1 - 2 * flow.clock.score_scale * h * sigma**2 / (flow.std**2 + sigma**2)
        mean = flow.mean + factor * (mean - flow.mean)
        variance = factor**2 * variance + (2 * h * sigma**2 if i + 1 < steps else 0.0)
    return mean, variance


@pytest.mark.parametrize("score_scale", [1.0, 3.0])
@pytest.mark.parametrize("steps", [20, 300])
def test_sde_has_the_moments_of_euler_maruyama(steps: int, score_scale: float) -> None:
    """The score is multiplied by the score scale, the noise is not."""
    flow, generator, n = GaussianFlow(SCHEDULE, score_scale=score_scale), torch.Generator().manual_seed(0), 20_000
    x = sample_sde(flow, flow.prior(n, generator), steps, noise_from(generator))
    mean, variance = moments(flow, steps)
    # Five standard errors of a Gaussian sample.
    assert ((x.mean(0) - mean).abs() < 5 * (variance / n).sqrt()).all()
    assert ((x.var(0) / variance - 1).abs() < 5 * (2 / n) ** 0.5).all()


def test_many_sde_steps_reach_the_data() -> None:
    flow, generator = GaussianFlow(SCHEDULE), torch.Generator().manual_seed(1)
    x = sample_sde(flow, flow.prior(20_000, generator), 500, noise_from(generator))
    np.testing.assert_allclose(x.mean(0), flow.mean, atol=0.06)
    np.testing.assert_allclose(x.var(0), flow.std**2, rtol=0.06)


def test_last_sde_step_is_drift_without_noise() -> None:
    flow = GaussianFlow(SCHEDULE)
    trajectory: list[Tensor] = []
    start = flow.prior(5, torch.Generator().manual_seed(2))
    sample_sde(
        flow, start, 4, noise_from(torch.Generator().manual_seed(3)), on_step=lambda i, n, x: trajectory.append(x)
    )
    lam = flow.clock.levels(torch.linspace(1, 0, 5, dtype=F64))["x"]
    displacements = [flow.displacement(x, {"x": lam[i]})["x"] for i, x in enumerate([start, *trajectory[:3]])]
    moves = torch.stack(trajectory) - torch.stack([start, *trajectory[:3]])
    h = lam[1] - lam[0]
    rest = moves - 2 * h * torch.stack(displacements)
    np.testing.assert_allclose(rest[3], 0.0, atol=1e-12)
    # The others leave σ √(2h) z, whose z are the numbers that the generator gives.
    generator = torch.Generator().manual_seed(3)
    for i in range(3):
        z = torch.randn(5, 3, generator=generator, dtype=F64)
        np.testing.assert_allclose(rest[i], torch.exp(-lam[i]) * (2 * h).sqrt() * z, rtol=1e-9)


def test_sde_repeats_with_its_seed() -> None:
    flow = GaussianFlow(SCHEDULE)
    start = flow.prior(3, torch.Generator().manual_seed(0))
    runs = [sample_sde(flow, start, 5, noise_from(torch.Generator().manual_seed(seed))) for seed in (1, 1, 2)]
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def test_sde_refuses_no_steps() -> None:
    generator = torch.Generator().manual_seed(0)
    flow = GaussianFlow(SCHEDULE)
    with pytest.raises(ValueError, match="n must be at least 1 step, got 0"):
        sample_sde(flow, flow.prior(2, generator), 0, noise_from(generator))
