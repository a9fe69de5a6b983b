"""Pocket atoms as the ligand sees them: computed once for a complex, for the pocket does not move."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from domains.docking.networks.pocket_net.config import PocketNetConfig
from domains.docking.networks.pocket_net.tensor_field import (
    Basis,
    EquivariantLinear,
    mix_vectors,
    softened_distance,
    vector_linear,
    with_moments,
)
from domains.docking.structures.batch import ComplexBatch
from domains.docking.structures.residues import ATOM_NAME_VOCABULARY, ELEMENT_VOCABULARY, RESIDUE_VOCABULARY


@final
class PocketLayer(MessagePassing):  # type: ignore[misc]  # torch-geometric has no types
    """One round of messages along edges, with S scalars and V vectors on every node."""

    def __init__(self, scalars: int, vectors: int, basis: int) -> None:
        super().__init__(aggr="add", node_dim=0)
        self.scalars, self.vectors = scalars, vectors
        self.filter = nn.Linear(basis, scalars + 2 * vectors)
        self.source = nn.Linear(scalars, scalars + 2 * vectors)
        self.mix = nn.Sequential(
            nn.Linear(2 * scalars + vectors, 2 * scalars), nn.SiLU(), nn.Linear(2 * scalars, scalars)
        )
        self.vector_mix = vector_linear(vectors, vectors)

    def forward(self, s: Tensor, v: Tensor, edges: Tensor, basis: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        """New s (N, S) and v (N, 3, V), given edges (2, E) = (source, receiver), basis (E, b), direction (E, 3)."""
        out = self.propagate(edges, weight=self.source(s), v=v, filtered=self.filter(basis), direction=direction)
        ds, dv = out[:, : self.scalars], out[:, self.scalars :].unflatten(-1, (3, self.vectors))
        v = v + mix_vectors(self.vector_mix, v + dv)
        s = s + self.mix(torch.cat([s, ds, v.square().sum(-2)], -1))
        return F.layer_norm(s, (self.scalars,)), v

    def message(self, weight_j: Tensor, v_j: Tensor, filtered: Tensor, direction: Tensor) -> Tensor:
        """(E, S + 3 V): gated scalars of the source, and its direction and vectors, gated as well."""
        gate = 0.25 * weight_j * filtered
        scalar, along, carry = torch.split(gate, [self.scalars, self.vectors, self.vectors], -1)
        vector = along.unsqueeze(1) * direction.unsqueeze(-1) + carry.unsqueeze(1) * v_j
        return torch.cat([scalar, vector.flatten(1)], -1)


@final
class PocketEncoder(nn.Module):
    """Pocket atoms -> scalars and vectors, from their kinds and their arrangement."""

    def __init__(self, config: PocketNetConfig) -> None:
        super().__init__()
        hidden = 2 * config.pocket_scalars
        self.reach, self.vectors = config.pocket_edge, config.pocket_vectors
        self.element = nn.Embedding(len(ELEMENT_VOCABULARY), hidden)
        self.residue = nn.Embedding(len(RESIDUE_VOCABULARY), hidden)
        self.kind = nn.Embedding(len(RESIDUE_VOCABULARY) * len(ATOM_NAME_VOCABULARY), hidden)
        self.basis = Basis(config.ligand_basis, config.pocket_edge)
        self.layers = nn.ModuleList(
            PocketLayer(hidden, config.pocket_vectors, config.ligand_basis) for _ in range(config.pocket_layers)
        )
        self.out = EquivariantLinear(hidden, config.pocket_vectors, config.pocket_scalars, config.pocket_vectors)

    def forward(self, batch: ComplexBatch) -> Tensor:
        """(K, P, 4 (pocket_scalars + pocket_vectors)): features with their first moments, zero on padding."""
        kind = batch.pocket_residue * len(ATOM_NAME_VOCABULARY) + batch.pocket_atom_name
        s = self.element(batch.pocket_element) + self.residue(batch.pocket_residue) + self.kind(kind)
        s = F.layer_norm(s.flatten(0, 1), s.shape[-1:])
        v = s.new_zeros(len(s), 3, self.vectors)
        edges, step = close_pairs(batch.pocket_positions, batch.pocket_mask, self.reach)
        distance = softened_distance(step, torch.zeros_like(step))
        basis = self.basis(distance.unsqueeze(-1)).squeeze(-1)
        for layer in self.layers:
            s, v = layer(s, v, edges, basis, step / distance.unsqueeze(-1))
        s, v = self.out(s, v)
        s, v = s.view(*batch.pocket_mask.shape, -1), v.view(*batch.pocket_mask.shape, 3, -1)
        return with_moments(s, v, batch.pocket_positions) * batch.pocket_mask.unsqueeze(-1)


def close_pairs(positions: Tensor, mask: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """Ordered pairs of different points of one complex that are less than `reach` Å apart.

    Args:
        positions: (K, P, 3) Å.
        mask: (K, P) bool, real points.

    Returns:
        (2, E) source and receiver among the K P points, and (E, 3) Å, the way from the receiver to the source.
    """
    close = torch.cdist(positions, positions, compute_mode="donot_use_mm_for_euclid_dist") < reach
    close &= mask.unsqueeze(1) & mask.unsqueeze(2)
    close.diagonal(dim1=1, dim2=2).fill_(False)
    k, receiver, source = close.nonzero(as_tuple=True)
    n = positions.shape[1]
    return torch.stack([k * n + source, k * n + receiver]), positions[k, source] - positions[k, receiver]
