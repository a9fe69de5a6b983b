"""Ligand atoms from the molecular graph alone: computed once for a complex."""

from __future__ import annotations

from typing import Final, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from domains.docking.structures.atom_features import ATOM_FEATURE_DIMS
from domains.docking.structures.batch import ComplexBatch

BOND_KINDS: Final = 5  # single, double, triple, aromatic, other
PAIR_CHANNELS: Final = BOND_KINDS + 3  # then: 2 bonds apart, 3 bonds apart, farther


def pair_channels(batch: ComplexBatch) -> Tensor:
    """(K, A, PAIR_CHANNELS, A) one-hot: the kind of bond, or else how many bonds apart; zero on padding."""
    bonds = F.one_hot(batch.bond_type, BOND_KINDS + 1)[..., 1:]
    hops = torch.stack([(batch.hops == h) & (batch.bond_type == 0) for h in (2, 3, 4)], -1)
    real = batch.atom_mask.unsqueeze(1) & batch.atom_mask.unsqueeze(2)
    channels = torch.cat([bonds, hops.long()], -1) * real.unsqueeze(-1)
    return channels.permute(0, 1, 3, 2).to(batch.conformer.dtype)


@final
class LigandEncoder(nn.Module):
    """Embedded atom features, then rounds of messages summed by kind of pair."""

    def __init__(self, scalars: int, rounds: int = 3) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(n, scalars) for n in ATOM_FEATURE_DIMS)
        self.rounds = nn.ModuleList(
            nn.Sequential(nn.Linear(scalars * (1 + PAIR_CHANNELS), scalars), nn.SiLU(), nn.Linear(scalars, scalars))
            for _ in range(rounds)
        )

    def forward(self, features: Tensor, pair: Tensor, mask: Tensor) -> Tensor:
        """(K, A, 16) features, (K, A, PAIR_CHANNELS, A) pairs, (K, A) mask -> (K, A, scalars), zero on padding."""
        h = torch.stack([embed(features[..., i]) for i, embed in enumerate(self.embeddings)]).sum(0)
        h = F.layer_norm(h, h.shape[-1:]) * mask.unsqueeze(-1)
        for layer in self.rounds:
            around = torch.einsum("kicj,kjf->kicf", pair, h).flatten(2)
            h = F.layer_norm(h + layer(torch.cat([h, around], -1)), h.shape[-1:]) * mask.unsqueeze(-1)
        return h
