"""What happens to the ligand's atoms at every evaluation: messages and updates."""

from __future__ import annotations

from typing import Final, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from domains.docking.networks.pocket_net.config import PocketNetConfig
from domains.docking.networks.pocket_net.ligand_encoder import BOND_KINDS
from domains.docking.networks.pocket_net.tensor_field import (
    Basis,
    EquivariantLinear,
    gather,
    mix_vectors,
    softened_distance,
    vector_linear,
    with_moments,
)

_RIGID: Final = BOND_KINDS + 1  # bonds and pairs two bonds apart: no torsion changes their distance


def ligand_channels(config: PocketNetConfig) -> int:
    """Number of radial functions between ligand atoms, see :func:`ligand_weight`."""
    return _RIGID + 2 * config.ligand_basis


def ligand_weight(basis: Basis, x: Tensor, pair: Tensor) -> Tensor:
    """Radial functions over distance (B, A, ligand_channels, A) of atoms x (B, A, 3) Å.

    Pairs of fixed distance count by their kind in `pair` (B, A, PAIR_CHANNELS, A), pairs three bonds apart and farther
    ones by distance.
    """
    distance = softened_distance(x.unsqueeze(1), x.unsqueeze(2))
    rigid, torsional, far = torch.split(pair, [_RIGID, 1, 1], 2)
    radial = basis(distance)
    return torch.cat([rigid, radial * torsional, radial * far], 2) / distance.unsqueeze(2)


@final
class AtomLayer(nn.Module):
    """One update of the ligand's atoms from each other and from their pocket environment."""

    def __init__(self, config: PocketNetConfig) -> None:
        super().__init__()
        s, v, ms, mv = config.scalars, config.vectors, config.message_scalars, config.message_vectors
        basis = ligand_channels(config)
        self.ms = ms
        self.send = EquivariantLinear(s, v, ms, mv)
        self.receive = EquivariantLinear((ms + mv) * basis, (ms + mv) * basis, s, v)
        self.update = nn.Sequential(
            nn.Linear(3 * s + 2 * v, 2 * s), nn.SiLU(), nn.Dropout(config.dropout), nn.Linear(2 * s, s + 3 * v)
        )
        self.vector_mix = vector_linear(v, v)
        self.s, self.v = s, v

    def forward(
        self, s: Tensor, v: Tensor, x: Tensor, noise: Tensor, weight: Tensor, environment: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """New scalars and vectors of the atoms.

        Args:
            s: (B, A, S).
            v: (B, A, 3, V).
            x: (B, A, 3) Å.
            noise: (B, A, S), the embedded noise levels.
            weight: (B, A, ligand_channels, A).
            environment: (B, A, S) and (B, A, 3, V), what the atoms see of the pocket.
        """
        sent_s, sent_v = self.send(s, v)
        moments = with_moments(sent_s, sent_v, x)
        around_s, around_v = self.receive(*gather(weight, moments, x, self.ms))
        env_s, env_v = environment
        # Lengths of vectors and their products are the only scalars that vectors may turn into.
        mixed = mix_vectors(self.vector_mix, v)
        products = torch.cat([v.square().sum(-2), (mixed * (around_v + env_v)).sum(-2)], -1)
        out = self.update(torch.cat([s + noise, around_s, env_s, products / 3.0], -1))
        ds, gate_keep, gate_around, gate_env = out.split([self.s, self.v, self.v, self.v], -1)
        v = v + gate_keep.unsqueeze(-2) * mixed + gate_around.unsqueeze(-2) * around_v + gate_env.unsqueeze(-2) * env_v
        # In float16 squares of lengths above 255 are infinite, and vectors divided by their root silently zero.
        wide = v.to(torch.promote_types(v.dtype, torch.float32))
        scale = (wide.square().mean((-1, -2), keepdim=True) + 1.0).rsqrt()
        return F.layer_norm(s + ds, (self.s,)), (wide * scale).to(v.dtype)
