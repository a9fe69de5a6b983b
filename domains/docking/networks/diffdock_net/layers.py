"""Residues among themselves, once for a complex; atoms and residues together, at every evaluation."""

from __future__ import annotations

from itertools import pairwise
from typing import final

import torch
import torch.nn.functional as F
from e3nn import o3
from torch import Tensor, nn

from domains.docking.networks.diffdock_net.config import DiffDockNetConfig
from domains.docking.networks.diffdock_net.convolution import Convolution
from domains.docking.networks.diffdock_net.features import EdgeEmbedding, EmbeddedEdges, EquivariantNorm, node_irreps
from domains.docking.networks.diffdock_net.graphs import Residues, residue_graph
from domains.docking.structures.residues import RESIDUE_VOCABULARY


def joined(x: Tensor, update: Tensor) -> Tensor:
    """x + update (N, dim), where x may lack the last kinds of channels."""
    return F.pad(x, (0, update.shape[1] - x.shape[1])) + update


@final
class ResidueEncoder(nn.Module):
    """Kinds and arrangement of the residues -> features of the alpha carbons."""

    def __init__(self, config: DiffDockNetConfig) -> None:
        super().__init__()
        self.scalars, self.reach = config.scalars, config.residue_reach
        self.kind = nn.Embedding(len(RESIDUE_VOCABULARY), config.scalars)
        self.edge = EdgeEmbedding(0, config)
        sh = o3.Irreps.spherical_harmonics(config.degree)
        ladder = [node_irreps(config, i) for i in range(config.residue_layers + 1)]
        self.convolutions = nn.ModuleList(
            Convolution(here, sh, there, 3 * config.scalars, config) for here, there in pairwise(ladder)
        )
        self.norms = nn.ModuleList(EquivariantNorm(irreps) for irreps in ladder[1:])

    def forward(self, residues: Residues) -> Tensor:
        """(K, Q, dim); what rows of padding hold means nothing."""
        x = self.kind(residues.kind).flatten(0, 1)
        edges = self.edge(residue_graph(residues, self.reach))
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            s = x[:, : self.scalars]
            x = joined(x, norm(convolution(x, edges, len(x), s[edges.receiver], s[edges.sender])))
        return x.unflatten(0, residues.mask.shape)


@final
class JointLayer(nn.Module):
    """One update of the ligand's atoms from each other and from the residues, and of the residues from the atoms.

    Args:
        index: number of the layer, from 0; atoms gain a kind of channel in each of the first three.
    """

    def __init__(self, config: DiffDockNetConfig, index: int) -> None:
        super().__init__()
        self.scalars = config.scalars
        here, there, pocket = (node_irreps(config, n) for n in (index, index + 1, config.residue_layers))
        sh, invariants = o3.Irreps.spherical_harmonics(config.degree), 3 * config.scalars
        self.among_atoms = Convolution(here, sh, there, invariants, config)
        self.from_residues = Convolution(pocket, sh, there, invariants, config)
        self.atom_norm = EquivariantNorm(there)
        # Nobody listens to the residues after the last layer.
        self.heard = index + 1 < config.layers
        if self.heard:
            self.from_atoms = Convolution(here, sh, pocket, invariants, config)
            self.residue_norm = EquivariantNorm(pocket)

    def forward(
        self, atoms: Tensor, residues: Tensor, within: EmbeddedEdges, across: EmbeddedEdges, back: EmbeddedEdges
    ) -> tuple[Tensor, Tensor]:
        """New atoms and residues.

        Args:
            atoms: (N, dim) of all poses.
            residues: (M, dim) of all poses.
            within: edges between atoms.
            across: from residues to atoms.
            back: from atoms to residues.
        """
        s, r = atoms[:, : self.scalars], residues[:, : self.scalars]
        around = self.among_atoms(atoms, within, len(atoms), s[within.receiver], s[within.sender])
        pocket = self.from_residues(residues, across, len(atoms), s[across.receiver], r[across.sender])
        if self.heard:
            heard = self.from_atoms(atoms, back, len(residues), r[back.receiver], s[back.sender])
            residues = residues + self.residue_norm(heard)
        return joined(atoms, self.atom_norm(around + pocket)), residues


def with_scalars(x: Tensor, more: Tensor) -> Tensor:
    """Features (..., dim) with `more` (..., S) added to the scalars, which come first."""
    n = more.shape[-1]
    return torch.cat([x[..., :n] + more, x[..., n:]], -1)
