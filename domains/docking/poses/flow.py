"""Docking as a probability flow on R^3 x SO(3) x T^m."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, final

import torch
from torch import Tensor

from domains.docking.networks.weights import EncodedBatch
from domains.docking.poses import kinematics
from domains.docking.poses.diffusion import FACTORS, score_norms
from domains.docking.poses.pose import Poses, mean_square_displacement, retract, tangent_sizes
from domains.docking.structures.batch import ComplexBatch
from ld3.fingerprint import fingerprint
from ld3.flow import ProbabilityFlow
from ld3.geometry import so3
from ld3.state import Levels, Tangent

UNIFORM_ROTATION: Final = math.sqrt((math.pi**2 / 3 + 2) / 3)
"""Standard deviation, rad, of each coordinate of a uniform rotation's vector: its angle ω has the density
(1 - cos ω)/π on [0, π], so that E ω² = π²/3 + 2, which the three coordinates share."""

UNIFORM_ANGLE: Final = math.pi / math.sqrt(3)
"""Standard deviation, rad, of a uniform angle in [-π, π]."""


@final
class DockingFlow(ProbabilityFlow[Poses]):
    """The flow of poses in the pockets of a batch of complexes, with factors "tr" (Å), "rot" and "tor" (rad).

    Args:
        complexes: that poses may belong to, as the model sees them (:meth:`DockingModel.encode`).
        score_scale: c, the factor on the score; the model's own if None.
    """

    def __init__(self, complexes: EncodedBatch, score_scale: float | None = None) -> None:
        self.model, self.batch, self._encoding = complexes.model, complexes.batch, complexes.encoding
        self.clock = self.model.noise_range.clock(self.model.score_scale if score_scale is None else score_scale)
        spread = float(self.model.start_spread(self.batch).mean())
        self.prior_scale = {"tr": spread, "rot": UNIFORM_ROTATION, "tor": UNIFORM_ANGLE}

    def prior(self, n: int, generator: torch.Generator) -> Poses:
        """Pure noise (:func:`draw_prior`) for `n` poses, dealt to the complexes in turn; drawn on the generator's
        device, and returned on that of the complexes.
        """
        dealt = torch.arange(n) % len(self.batch)
        row = dealt.to(self.batch.conformer.device)
        torsions = tangent_sizes(self.batch)["tor"]
        spread = self.model.start_spread(self.batch)[dealt].to(generator.device).unsqueeze(-1)
        return placed(self.batch, row, draw_prior(n, torsions, spread, generator))

    def displacement(self, x: Poses, levels: Levels) -> Tangent:
        sigma = self.clock.sigma(levels)
        with self.model.arithmetic():
            scores = self.model.network.score(self._encoding, x.complex_row, x.positions, sigma)
        norms = score_norms(sigma)
        return {f: (sigma[f].square() * norms[f]) * getattr(scores, f).to(x.positions) for f in FACTORS}

    def retract(self, x: Poses, v: Tangent) -> Poses:
        return retract(self.batch, x, v)

    def zero_tangent(self, x: Poses) -> Tangent:
        return {f: x.positions.new_zeros(len(x.complex_row), n) for f, n in tangent_sizes(self.batch).items()}

    def data_mean(self, x: Poses) -> Mapping[str, Tensor]:
        """Where ligands lie in their pockets: the mean of their centroids, Å, shape (3,)."""
        return {"tr": self._centroid(x).mean(0)}

    def to_mean(self, x: Poses, mean: Mapping[str, Tensor]) -> Tangent:
        centroid = self._centroid(x)
        return {**self.zero_tangent(x), "tr": mean["tr"].to(centroid) - centroid}

    def _centroid(self, x: Poses) -> Tensor:
        return kinematics.centroid(x.positions, self.batch.atom_mask[x.complex_row])

    def distance(self, x: Poses, target: Poses) -> Tensor:
        """Mean squared displacement of the atoms, Å²."""
        return mean_square_displacement(self.batch, x, target)

    def norm(self, v: Tangent) -> Mapping[str, Tensor]:
        """Lengths in Å ("tr") and rad; padding torsions must be zero, as they are in displacements."""
        return {f: torch.linalg.vector_norm(u, dim=-1) for f, u in v.items()}

    def fingerprint(self) -> str:
        network = self.model.network
        found = fingerprint("docking", network.config, network, self.model.noise_range, self.batch, self.clock)
        return found if self.model.precision is None else fingerprint(found, self.model.precision)


def draw_prior(n: int, torsions: int, spread: float | Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Moves from the prior: "tr" (n, 3) Å, Gaussian of standard deviation `spread`, a number or (n, 1); "rot" (n, 3)
    rad, uniform rotations; "tor" (n, torsions) rad, uniform angles.
    """
    device = generator.device
    return {
        "tr": spread * torch.randn((n, 3), generator=generator, device=device),
        "rot": so3.uniform(n, generator),
        "tor": (2 * torch.rand((n, torsions), generator=generator, device=device) - 1) * math.pi,
    }


def placed(batch: ComplexBatch, complex_row: Tensor, move: Tangent) -> Poses:
    """The input conformers of the complexes `complex_row` (B,), centred in their pockets, then moved; bond lengths,
    angles and rings stay as they are.
    """
    x, mask = batch.conformer[complex_row], batch.atom_mask[complex_row]
    centred = Poses(complex_row, x - kinematics.centroid(x, mask).unsqueeze(1))
    return retract(batch, centred, {f: v.to(x) for f, v in move.items()})
