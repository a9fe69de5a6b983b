"""Noise on poses against closed forms, finite differences of the densities, and DiffDock's schedule."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from conftest import data
from docking_models import complexes, stiff
from scipy.spatial.transform import Rotation
from torch import Tensor

from domains.docking.networks.score import Scores
from domains.docking.poses.diffusion import (
    FACTORS,
    NoiseRange,
    denoising_losses,
    draw_noise,
    kernel_score,
    perturb,
    score_norms,
    training_times,
)
from domains.docking.structures.batch import collate
from ld3.geometry import so3

F64 = torch.float64
LEVELS = ((0.1, 0.03, 0.0314), (0.7, 0.3, 0.4), (5.0, 1.65, 3.14))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def levels(tr: float, rot: float, tor: float, n: int) -> dict[str, Tensor]:
    return {f: torch.full((n,), s, dtype=F64) for f, s in zip(FACTORS, (tr, rot, tor), strict=True)}


@pytest.mark.parametrize("name", ["diffdock_l_assumed", "train_parser_defaults", "diffdock_s_pretrained"])
def test_noise_levels_are_diffdocks(name: str) -> None:
    with np.load(data("diffdock_runs.npz")) as file:
        limits, expected = file[f"t_to_sigma/{name}/limits"], file[f"t_to_sigma/{name}"]
        t = torch.from_numpy(file["t"])
    clock = NoiseRange(*(tuple(row) for row in limits.tolist())).clock()
    sigma = clock.sigma(clock.levels(t))
    for column, factor in enumerate(FACTORS):
        np.testing.assert_allclose(sigma[factor].numpy(), expected[:, column], rtol=1e-12)


def central(log_density: Tensor, step: float) -> Tensor:
    """Derivative from values at (+step, -step), stacked last."""
    return (log_density[..., 0] - log_density[..., 1]) / (2 * step)


@pytest.mark.parametrize("sigmas", LEVELS)
def test_targets_are_gradients_of_the_log_kernel(sigmas: tuple[float, float, float]) -> None:
    """Central differences: of a Gaussian, of IGSO(3) at exp(±h e_i) R, of a sum of Gaussians around the circle."""
    sigma = levels(*sigmas, 6)
    noise = draw_noise(sigma, 4, generator())
    scores = kernel_score(noise, sigma)
    for factor, s in zip(FACTORS, sigmas, strict=True):
        h = 1e-4 * s
        shifts = torch.tensor([h, -h], dtype=F64)
        if factor == "tr":
            shifted = noise["tr"].unsqueeze(-1) + shifts
            expected = central(-shifted.square() / (2 * s**2), h)
        elif factor == "tor":
            turns = 2 * math.pi * torch.arange(-12, 13, dtype=F64)
            shifted = (noise["tor"].unsqueeze(-1) + shifts).unsqueeze(-1) + turns
            expected = central(torch.logsumexp(-shifted.square() / (2 * s**2), -1), h)
        else:
            steps = so3.exp((torch.eye(3, dtype=F64).unsqueeze(-1) * shifts).transpose(1, 2))  # (3, 2, 3, 3)
            turned = steps @ so3.exp(noise["rot"])[:, None, None]
            expected = central(so3.log_density(so3.log(turned).norm(dim=-1), sigma["rot"][:, None, None]), h)
        scale = expected.abs().max()
        torch.testing.assert_close(scores[factor] / scale, expected / scale, rtol=0.0, atol=2e-6)


@pytest.mark.parametrize("sigmas", LEVELS)
def test_noise_has_the_moments_of_the_kernel(sigmas: tuple[float, float, float]) -> None:
    """E x² = σ²; E tr R = 3 exp(-σ²), the first character of IGSO(3); E cos θ = exp(-σ²/2) on the circle.

    Each within five standard errors, and no preferred direction.
    """
    n = 3000
    tr, rot, tor = sigmas
    noise = draw_noise(levels(*sigmas, n), 3, generator(1))
    samples = [
        (noise["tr"].square().flatten() / tr**2, 1.0),
        (so3.exp(noise["rot"]).diagonal(dim1=1, dim2=2).sum(-1), 3 * math.exp(-(rot**2))),
        (noise["tor"].cos().flatten(), math.exp(-(tor**2) / 2)),
        *((noise[f].flatten(), 0.0) for f in FACTORS),
    ]
    for values, mean in samples:
        assert abs(values.mean().item() - mean) < 5 * values.std().item() / math.sqrt(len(values))


def test_predicting_zero_costs_one() -> None:
    """The targets have mean square 1 at all levels: over the training times, and in each third of them apart."""
    batch = collate([complexes()[1], stiff(complexes()[0])])  # 3 torsions and none
    row = torch.arange(2).repeat(1500)
    noisy = perturb(batch, row, NoiseRange(), generator(2))
    mask = batch.torsion_mask[row]
    zero = Scores(*(torch.zeros_like(noisy.target[f]) for f in FACTORS))
    losses = denoising_losses(zero, noisy.target, mask)
    level = {f: torch.log(noisy.sigma[f]) for f in FACTORS}
    for factor in FACTORS:
        square = noisy.target[factor].square()
        values = square[mask] if factor == "tor" else square.mean(1)
        assert losses[factor].item() == pytest.approx(values.mean().item(), rel=1e-5)
        of = level[factor].unsqueeze(1).expand_as(square)[mask] if factor == "tor" else level[factor]
        edges = torch.quantile(of, torch.tensor([0.0, 1 / 3, 2 / 3, 1.0]))
        for low, high in itertools.pairwise(edges):
            part = values[(of >= low) & (of <= high)]
            assert abs(part.mean().item() - 1) < 5 * part.std().item() / math.sqrt(len(part))


def test_losses_are_means_over_real_coordinates() -> None:
    scores = Scores(torch.tensor([[1.0, 2.0, 3.0]]), torch.zeros(1, 3), torch.tensor([[2.0, 7.0]]))
    target = {"tr": torch.tensor([[1.0, 0.0, 0.0]]), "rot": torch.ones(1, 3), "tor": torch.tensor([[1.0, 100.0]])}
    losses = denoising_losses(scores, target, torch.tensor([[True, False]]))
    assert {f: value.item() for f, value in losses.items()} == pytest.approx({"tr": 13 / 3, "rot": 1.0, "tor": 1.0})
    none = denoising_losses(scores, target, torch.tensor([[False, False]]))
    assert none["tor"].item() == 0.0


def test_poses_are_moved_by_the_noise_of_their_target() -> None:
    """The centroid by -σ² times the translation score; a stiff ligand about an axis along its rotation score."""
    batch = collate([stiff(complexes()[0])])
    row = torch.zeros(64, dtype=torch.int64)
    noise_range = NoiseRange(rot=(0.03, 0.5))  # no turn beyond half a turn
    noisy = perturb(batch, row, noise_range, generator(3))
    bound = batch.conformer[0]
    moved = noisy.poses.positions
    expected = -noisy.sigma["tr"].unsqueeze(-1) * noisy.target["tr"]
    torch.testing.assert_close(moved.mean(1) - bound.mean(0), expected, rtol=0.0, atol=1e-4)
    norms = score_norms(noisy.sigma)["rot"]
    for i in range(len(row)):
        a, b = (x.double().numpy() for x in (moved[i] - moved[i].mean(0), bound - bound.mean(0)))
        turn = torch.from_numpy(Rotation.align_vectors(a, b)[0].as_rotvec())
        score = so3.score(turn, noisy.sigma["rot"][i].double())
        torch.testing.assert_close((noisy.target["rot"][i] * norms[i]).double(), score, rtol=1e-3, atol=1e-3)


def test_half_of_the_training_times_are_shared() -> None:
    n = 20_000
    t = torch.stack(list(training_times(n, generator(4)).values()))
    assert t.dtype == F64
    assert t.min() >= 0
    assert t.max() <= 1
    shared_by_all = ((t[0] == t[1]) & (t[1] == t[2])).double().mean().item()
    assert shared_by_all == pytest.approx(0.5, abs=0.03)  # a few more: apart, but clamped to the same end
    assert t[0][t[0] == t[1]].mean().item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("factor", FACTORS)
def test_score_norms_have_the_derivative_of_finite_differences(factor: str) -> None:
    sigma = torch.tensor([0.1, 0.5, 1.6], dtype=F64)

    def norm(s: Tensor) -> Tensor:
        return score_norms(dict.fromkeys(FACTORS, s))[factor]

    torch.autograd.gradcheck(norm, [sigma.requires_grad_()], eps=1e-5, atol=1e-6)
