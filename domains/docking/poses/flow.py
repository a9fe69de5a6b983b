"""Docking as a probability flow on R^3 x SO(3) x T^m."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from domains.docking.networks.weights import DockingModel
from domains.docking.poses import kinematics
from domains.docking.poses.diffusion import FACTORS, score_norms
from domains.docking.poses.pose import Poses, mean_square_displacement, retract, tangent_sizes
from domains.docking.structures.batch import ComplexBatch
from ld3.fingerprint import fingerprint
from ld3.flow import ProbabilityFlow
from ld3.geometry import so3
from ld3.state import Levels, Tangent


@final
class DockingFlow(ProbabilityFlow[Poses]):
    """The flow of poses in the pockets of a batch of complexes, with factors "tr" (Å), "rot" and "tor" (rad).

    Args:
        model: network, noise range and the score scale chosen for them.
        batch: the complexes that poses may belong to; the network sees their pockets once, here.
        score_scale: c, to follow p^c; the model's own if None.
    """

    def __init__(self, model: DockingModel, batch: ComplexBatch, score_scale: float | None = None) -> None:
        self.model = model
        self.batch = batch
        self.clock = model.noise_range.clock(model.score_scale if score_scale is None else score_scale)
        self.prior_scale = {f: getattr(model.noise_range, f)[1] for f in FACTORS}
        with torch.no_grad():
            self._encoding = model.network.encode(batch)

    def prior(self, n: int, generator: torch.Generator) -> Poses:
        """`n` poses dealt to the complexes in turn, see :meth:`start`."""
        return self.start(torch.arange(n) % len(self.batch), generator)

    def start(self, complex_row: Tensor, generator: torch.Generator) -> Poses:
        """Pure noise for the complexes `complex_row` (B,).

        Torsions and orientation are uniform, the centroid is Gaussian around the pocket's origin with the largest noise
        level of translations. Bond lengths, angles and rings are the input conformer's.
        """
        n, torsions = len(complex_row), tangent_sizes(self.batch)["tor"]
        row = complex_row.to(self.batch.conformer.device)
        turn = (2 * torch.rand((n, torsions), generator=generator) - 1) * math.pi
        rotation = so3.uniform(n, generator)
        translation = self.prior_scale["tr"] * torch.randn((n, 3), generator=generator)
        x = self.batch.conformer[row]
        mask = self.batch.atom_mask[row]
        centred = Poses(row, x - kinematics.centroid(x, mask).unsqueeze(1))
        return retract(self.batch, centred, {"tr": translation.to(x), "rot": rotation.to(x), "tor": turn.to(x)})

    def displacement(self, x: Poses, levels: Levels) -> Tangent:
        sigma = self.clock.sigma(levels)
        scores = self.model.network.score(self._encoding, x.complex_row, x.positions, sigma)
        norms = score_norms(sigma)
        return {f: (sigma[f].square() * norms[f]) * getattr(scores, f) for f in FACTORS}

    def retract(self, x: Poses, v: Tangent) -> Poses:
        return retract(self.batch, x, v)

    def zero_tangent(self, x: Poses) -> Tangent:
        return {f: x.positions.new_zeros(len(x.complex_row), n) for f, n in tangent_sizes(self.batch).items()}

    def distance(self, x: Poses, target: Poses) -> Tensor:
        """Mean squared displacement of the atoms, Å²."""
        return mean_square_displacement(self.batch, x, target)

    def norm(self, v: Tangent) -> Mapping[str, Tensor]:
        """Lengths in Å ("tr") and rad; padding torsions must be zero, as they are in displacements."""
        return {f: torch.linalg.vector_norm(u, dim=-1) for f, u in v.items()}

    def fingerprint(self) -> str:
        network = self.model.network
        return fingerprint("docking", network.config, network, self.model.noise_range, self.batch, self.clock)
