"""DiffDock's published sampler with its published network: the recorded run, and the plain SDE as a special case."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import count

import numpy as np
import pytest
import torch
from conftest import data
from diffdock_reference import FACTORS, complex_6o5u, largest_difference, network
from flows import GaussianFlow
from torch import Tensor

from domains.docking.networks.diffdock import ComplexGraph, DiffDockScoreModel
from domains.docking.poses import kinematics
from domains.docking.poses.diffdock_sampler import sample_ode, sample_sde
from domains.docking.poses.low_temperature_sde import (
    PUBLISHED,
    LowTemperature,
    Temperature,
    sample_low_temperature_sde,
)
from ld3 import VE, Levels, ProbabilityFlow, Tangent
from ld3.solvers import Node, noise_from
from ld3.solvers.sde import euler_maruyama

RUN = np.load(data("diffdock_low_temperature_run.npz"))


class ScoreModelFlow(ProbabilityFlow[Tensor]):
    """Poses (B, 33, 3) of 6o5u under the published network with random weights."""

    prior_scale: Mapping[str, float] = {"tr": 19.0, "rot": 1.55, "tor": 3.14}

    def __init__(self, model: DiffDockScoreModel, complex_: ComplexGraph) -> None:
        self.model, self.encoding, self.ligand = model, model.encode([complex_]), complex_.ligand
        self.clock = model.config.noise.clock()

    def prior(self, n: int, generator: torch.Generator) -> Tensor:
        raise NotImplementedError

    def displacement(self, x: Tensor, levels: Levels) -> Tangent:
        sigma, t = self.clock.sigma(levels), self.clock.time(levels)["tr"]
        scores = self.model(self.encoding, torch.zeros(len(x), dtype=torch.long), x, t, sigma)
        return {f: sigma[f].square() * getattr(scores, f) for f in FACTORS}

    def retract(self, x: Tensor, v: Tangent) -> Tensor:
        bonds = self.ligand.bonds.T[self.ligand.rotatable].expand(len(x), -1, -1)
        sides = self.ligand.turned.expand(len(x), -1, -1)
        step = {f: value.to(x) for f, value in v.items()}
        mask = torch.ones(x.shape[:2], dtype=torch.bool)
        return kinematics.move(x, mask, bonds, sides, step["tr"], step["rot"], step["tor"])

    def zero_tangent(self, x: Tensor) -> Tangent:
        return {"tr": x.new_zeros(len(x), 3), "rot": x.new_zeros(len(x), 3), "tor": x.new_zeros(len(x), 6)}

    def distance(self, x: Tensor, target: Tensor) -> Tensor:
        raise NotImplementedError

    def norm(self, v: Tangent) -> Mapping[str, Tensor]:
        raise NotImplementedError

    def fingerprint(self) -> str:
        raise NotImplementedError


def test_recorded_updates_follow_from_scores_and_noise() -> None:
    """The last one is without noise, and from t = 0.1 to 0: 19 of 20 steps are run."""
    parts = [RUN[f"sde_default_temps/temp_{part}"] for part in ("sampling", "psi", "sigma_data")]
    temperatures = zip(*parts, strict=True)
    limits = {"tr": (0.1, 19.0), "rot": (0.03, 1.55), "tor": (0.0314, 3.14)}
    times = torch.tensor([*RUN["sde_default_temps/schedule"], 0.0], dtype=torch.float64)
    for f, values in zip(FACTORS, temperatures, strict=True):
        assert Temperature(*(float(v) for v in values)) == PUBLISHED.temperatures[f]
        sigmas = limits[f][0] ** (1 - times) * limits[f][1] ** times
        published = PUBLISHED.temperatures[f]
        rule, spread = euler_maruyama(published.drift(*(-math.log(sigma) for sigma in limits[f][::-1])), published.psi)
        scores, noise = RUN[f"sde_default_temps/{f}_score"], RUN[f"sde_default_temps/{f}_z"]
        updates = RUN[f"sde_default_temps/{f}_update"]
        assert (len(scores), len(noise), len(updates)) == (19, 18, 19)
        for i, expected in enumerate(updates):
            d = sigmas[i].square() * torch.from_numpy(scores[i]).double()
            z = torch.from_numpy(noise[i]).double() if i < 18 else torch.zeros_like(d)
            first, last = (-sigmas[k].log() for k in (i, i + 1 if i < 18 else 20))
            update = (rule([Node(first, -d / sigmas[i], d)], last) + spread(first, last, 1.0) * z).numpy()
            np.testing.assert_allclose(update, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def recorded_poses() -> Tensor:
    """(20, 4, 33, 3): the start of the recorded run, and its poses after each step."""
    start = torch.tensor(np.load(data("diffdock_runs.npz"))["ode/start_pos"])
    return torch.cat([start[None], torch.tensor(RUN["sde_default_temps/traj_pos"])])


def test_network_scores_the_recorded_poses() -> None:
    """But for the bonds with more than 32 atoms near, of which the published code leaves one out."""
    model, graph, poses = network("small_ode"), complex_6o5u(), recorded_poses()
    u, v = graph.ligand.bonds[:, graph.ligand.rotatable]
    distance = ((poses[:, :, u] + poses[:, :, v]).unsqueeze(3) / 2 - poses.unsqueeze(2)).norm(dim=-1)
    capped = (distance < 5).sum(-1) > 32
    encoding, clock = model.encode([graph]), model.config.noise.clock()
    for i, t in enumerate(RUN["sde_default_temps/schedule"][:19].tolist()):
        time = torch.tensor(t, dtype=torch.float64)
        found = model(encoding, torch.zeros(4, dtype=torch.long), poses[i], time, clock.sigma(clock.levels(time)))
        for factor in ("tr", "rot"):
            wanted = torch.tensor(RUN[f"sde_default_temps/{factor}_score"][i])
            assert largest_difference(getattr(found, factor), wanted) < 1e-4
        wanted = torch.tensor(RUN["sde_default_temps/tor_score"][i])
        away = (found.tor - wanted).abs() / wanted.abs().max()
        assert away[~capped[i]].max() < 1e-4
        assert (away[capped[i]] > 1e-4).all()
    assert capped[:19].sum() == 8  # in poses 0 and 2, from the sixth step on


def test_network_and_sampler_follow_the_recorded_run() -> None:
    """From the recorded start and noise, the network's own scores lead along the recorded poses.

    Poses 0 and 2 leave them where the published code caps a bond's neighbours; pose 3 where a residue lies within
    1e-5 Å of the cutoff of the cross graph, and rounding decides whether its message counts.
    """
    flow, wanted = ScoreModelFlow(network("small_ode"), complex_6o5u()), recorded_poses()
    draws = count()

    def noise(like: Tangent) -> Tangent:
        i = next(draws)
        return {f: torch.tensor(RUN[f"sde_default_temps/{f}_z"][i]) for f in like}

    poses: list[Tensor] = []
    end = sample_low_temperature_sde(flow, wanted[0], noise, on_step=lambda i, n, x: poses.append(x))
    assert len(poses) == 19 and next(draws) == 18
    away = (torch.stack(poses) - wanted[1:]).abs().amax((2, 3))
    assert torch.equal(end, poses[-1])
    assert away[:2].max() < 1e-3
    assert away[:5, [0, 2]].max() < 1e-3
    assert away[:, 1].max() < 1e-3
    assert away.max() < 0.1


@pytest.mark.parametrize(("steps", "crop"), [(5, None), (20, None), (5, 20.0), (20, 20.0)])
def test_network_and_ode_follow_the_recorded_run(steps: int, crop: float | None) -> None:
    """`crop`: residues farther than 3 σ_tr and this from the ligand are left out at every step."""
    record = np.load(data("diffdock_runs.npz"))
    flow = ScoreModelFlow(network("small_ode", crop_beyond=crop), complex_6o5u())
    poses: list[Tensor] = []
    sample_ode(flow, torch.tensor(record["ode/start_pos"]), steps, on_step=lambda i, n, x: poses.append(x))
    suffix = "" if crop is None else f"_crop{crop:g}"
    wanted = torch.tensor(record[f"ode/{steps}steps{suffix}/traj_pos"])
    assert (torch.stack(poses) - wanted).abs().max() < 1e-3


def test_temperature_one_without_more_noise_is_the_plain_sde() -> None:
    flow = GaussianFlow(VE(0.02, 20.0))
    start = flow.prior(50, torch.Generator().manual_seed(0))
    plain = sample_sde(flow, start, 12, noise_from(torch.Generator().manual_seed(1)))
    warm = sample_low_temperature_sde(
        flow,
        start,
        noise_from(torch.Generator().manual_seed(1)),
        LowTemperature({"x": Temperature(1.0, 0.0, 0.5)}, 12, 12),
    )
    torch.testing.assert_close(warm, plain)


def test_colder_samples_spread_less() -> None:
    flow = GaussianFlow(VE(0.02, 20.0))
    start = flow.prior(4000, torch.Generator().manual_seed(0))
    spreads = [
        sample_low_temperature_sde(
            flow,
            start,
            noise_from(torch.Generator().manual_seed(1)),
            LowTemperature({"x": Temperature(t, 0.5, 0.8)}, 60, 60),
        ).std(0)
        for t in (1.0, 3.0)
    ]
    assert (spreads[1] < 0.8 * spreads[0]).all()


def test_what_cannot_be_run_is_refused() -> None:
    start = torch.zeros(2, 3, dtype=torch.float64)
    noise, one = noise_from(torch.Generator()), {"x": Temperature(1.0, 0.0, 0.5)}
    with pytest.raises(ValueError, match="run must be from 1 to the number of steps, 5, got 6"):
        LowTemperature(one, 5, 6)
    with pytest.raises(ValueError, match="x must have sampling > 0"):
        LowTemperature({"x": Temperature(0.0, 0.0, 0.5)})
    with pytest.raises(ValueError, match="score scale 1"):
        sample_low_temperature_sde(GaussianFlow(VE(0.02, 20.0), 2.0), start, noise, LowTemperature(one, 5, 5))


def test_settings_are_read_as_they_were_written() -> None:
    assert LowTemperature.of_plain(json.loads(json.dumps(PUBLISHED.plain()))) == PUBLISHED
