"""Noise on poses: variance-exploding on translations, IGSO(3) on rotations, wrapped normal on torsions.

DiffDock's forward process (Corso et al. 2023, arXiv 2210.01776, section 4): sigma(t) is geometric in t for each factor,
and the noise is applied as one update pose ⊕ (tr, rot, tor). Its score in those coordinates is known in closed form,
which is what denoising score matching regresses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from domains.docking.networks.score import Scores
from domains.docking.poses.pose import Poses, bound_poses, retract
from domains.docking.structures.batch import ComplexBatch
from ld3.clock import Clock
from ld3.geometry import so3, torus
from ld3.schedules import VE

FACTORS = ("tr", "rot", "tor")


@dataclass(frozen=True)
class NoiseRange:
    """(sigma_min, sigma_max) per factor: tr in Å, rot and tor in rad."""

    tr: tuple[float, float] = (0.1, 5.0)
    rot: tuple[float, float] = (0.03, 1.65)
    tor: tuple[float, float] = (0.0314, 3.14)

    def clock(self, score_scale: float = 1.0) -> Clock:
        """t in [0, 1], geometric in every factor; `score_scale` is c of :class:`ld3.Clock`."""
        return Clock({f: VE(*getattr(self, f)) for f in FACTORS}, score_scale)


def score_norms(sigma: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Root mean square of each factor's score *per coordinate*, differentiable in sigma: 1/Å, 1/rad, 1/rad."""
    return {
        "tr": 1 / sigma["tr"],
        "rot": so3.score_norm(sigma["rot"]) / math.sqrt(3.0),
        "tor": torus.score_norm(sigma["tor"]),
    }


def draw_noise(sigma: Mapping[str, Tensor], torsions: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Updates from the forward kernel at `sigma` (B,) per factor: (B, 3) Å, (B, 3) rad, (B, torsions) rad."""
    n = len(sigma["tr"])
    tr = torch.randn((n, 3), generator=generator, dtype=sigma["tr"].dtype) * sigma["tr"].unsqueeze(-1)
    tor = torus.sample(sigma["tor"].repeat_interleave(torsions), generator).view(n, torsions)
    return {"tr": tr, "rot": so3.sample(sigma["rot"], generator), "tor": tor}


def kernel_score(noise: Mapping[str, Tensor], sigma: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Gradient of the log forward kernel at `noise` (:func:`draw_noise`), same shapes, 1/Å and 1/rad."""
    return {
        "tr": -noise["tr"] / sigma["tr"].unsqueeze(-1).square(),
        "rot": so3.score(noise["rot"], sigma["rot"]),
        "tor": torus.score(noise["tor"], sigma["tor"].unsqueeze(-1).expand_as(noise["tor"])),
    }


def training_times(n: int, generator: torch.Generator, jitter: float = 0.2) -> dict[str, Tensor]:
    """Times (n,) in [0, 1] per factor: shared and uniform for half of the poses, apart by `jitter` for the other half.

    A learned grid may run the three clocks at different speeds, so the network must have seen such combinations.
    """
    shared = torch.rand(n, generator=generator, dtype=torch.float64)
    apart = (torch.rand(n, generator=generator) < 0.5).double() * jitter
    return {f: (shared + apart * torch.randn(n, generator=generator, dtype=torch.float64)).clamp(0, 1) for f in FACTORS}


@dataclass(frozen=True)
class NoisyPoses:
    """Poses after the forward process, with what the network should answer."""

    poses: Poses
    sigma: Mapping[str, Tensor]  # (B,) per factor: Å, rad, rad
    target: Mapping[
        str, Tensor
    ]  # normalised scores, see domains.docking.networks.score; those of padding torsions mean nothing


def perturb(
    batch: ComplexBatch, complex_row: Tensor, noise_range: NoiseRange, generator: torch.Generator
) -> NoisyPoses:
    """Draw times and noise for the bound poses of `complex_row` (B,); the noise is float64, what comes out float32."""
    t = training_times(len(complex_row), generator)
    clock = noise_range.clock()
    sigma = clock.sigma(clock.levels(t))
    noise = draw_noise(sigma, batch.torsion_bonds.shape[1], generator)
    norms = score_norms(sigma)
    target = {f: (s / norms[f].unsqueeze(-1)).float() for f, s in kernel_score(noise, sigma).items()}
    poses = retract(batch, bound_poses(batch, complex_row), noise)
    return NoisyPoses(poses, {f: s.float() for f, s in sigma.items()}, target)


def denoising_losses(scores: Scores, target: Mapping[str, Tensor], torsion_mask: Tensor) -> dict[str, Tensor]:
    """Mean squared error per coordinate of the normalised scores, one number a factor; 1 = predicting zero."""
    tor_weight = torsion_mask.to(scores.tor.dtype)
    return {
        "tr": (scores.tr - target["tr"]).square().mean(),
        "rot": (scores.rot - target["rot"]).square().mean(),
        "tor": ((scores.tor - target["tor"]).square() * tor_weight).sum() / tor_weight.sum().clamp_min(1.0),
    }
