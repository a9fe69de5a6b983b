"""DiffDockNet itself, see :class:`DiffDockNet`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from domains.docking.networks.diffdock_net.config import DiffDockNetConfig
from domains.docking.networks.diffdock_net.features import EdgeEmbedding, EmbeddedEdges
from domains.docking.networks.diffdock_net.graphs import (
    Residues,
    alpha_carbons,
    bond_graph,
    centre_graph,
    cross_graph,
    ligand_graph,
)
from domains.docking.networks.diffdock_net.heads import RigidHead, TorsionHead
from domains.docking.networks.diffdock_net.layers import JointLayer, ResidueEncoder, with_scalars
from domains.docking.networks.noise_embedding import NoiseEmbedding
from domains.docking.networks.score import ScoreNetwork, Scores
from domains.docking.structures.atom_features import ATOM_FEATURE_DIMS, BOND_TYPES
from domains.docking.structures.batch import ComplexBatch


class DiffDockEncoding(NamedTuple):
    """Pose-independent features of K complexes."""

    batch: ComplexBatch
    residues: Residues
    features: Tensor  # (K, Q, dim) of the residues, from each other
    atoms: Tensor  # (K, A, scalars), embedded atom features


@final
class DiffDockNet(ScoreNetwork[DiffDockEncoding]):
    """DiffDock's score model (Corso et al. 2023, arXiv 2210.01776, appendix C), small.

    Tensor-product convolutions on a graph of the ligand's atoms, one of the residues and one across, then at the
    centroid and at the rotatable bonds. What differs from the paper:

    - residues exchange messages once for a complex, and hear only atoms afterwards, so that an evaluation does no work
      on pairs that do not move; there are no language-model features;
    - all three noise levels are embedded, for the factors' clocks may run apart;
    - layer norms instead of batch norms, and edges that fade out at their cutoff: an answer depends on its pose alone,
      smoothly;
    - scores keep their parity, so that mirror images have mirrored scores.
    """

    config: DiffDockNetConfig

    def __init__(self, config: DiffDockNetConfig) -> None:
        super().__init__()
        self.config = config
        width = config.scalars
        self.embeddings = nn.ModuleList(nn.Embedding(n, width) for n in ATOM_FEATURE_DIMS)
        self.residues = ResidueEncoder(config)
        self.noise = NoiseEmbedding(width)
        self.atom_start = nn.Linear(2 * width, width)
        self.residue_noise = nn.Linear(width, width)
        self.within = EdgeEmbedding(BOND_TYPES + width, config)
        self.across = EdgeEmbedding(width, config)
        self.layers = nn.ModuleList(JointLayer(config, i) for i in range(config.layers))
        self.rigid = RigidHead(config)
        self.torsion = TorsionHead(config)

    def encode(self, batch: ComplexBatch) -> DiffDockEncoding:
        residues = alpha_carbons(batch)
        atoms = torch.stack([embed(batch.atom_features[..., i]) for i, embed in enumerate(self.embeddings)]).sum(0)
        return DiffDockEncoding(batch, residues, self.residues(residues), F.layer_norm(atoms, atoms.shape[-1:]))

    def score(
        self, encoding: DiffDockEncoding, complex_row: Tensor, positions: Tensor, sigma: Mapping[str, Tensor]
    ) -> Scores:
        batch = encoding.batch
        mask, bond_mask = batch.atom_mask[complex_row], batch.torsion_mask[complex_row]
        noise = self.noise(sigma, len(positions))
        atoms = self._atoms(encoding, complex_row, positions, sigma["tr"].to(positions), noise)
        tr, rot = self.rigid(atoms, centre_graph(positions, mask), noise)
        bonds = bond_graph(positions, mask, batch.torsion_bonds[complex_row], bond_mask, self.config.ligand_reach)
        turns = self.torsion(atoms, bonds, noise.repeat_interleave(bond_mask.sum(1), 0))
        tor = torch.zeros_like(bond_mask, dtype=turns.dtype).masked_scatter(bond_mask, turns)
        return Scores(tr, rot, tor)

    def _atoms(
        self, encoding: DiffDockEncoding, complex_row: Tensor, positions: Tensor, sigma: Tensor, noise: Tensor
    ) -> Tensor:
        """The ligands' atoms (B A, dim) after all layers; `sigma` () or (B,) Å is the noise level of translations."""
        start = encoding.atoms[complex_row]
        atoms = self.atom_start(torch.cat([start, noise.unsqueeze(1).expand_as(start)], -1)).flatten(0, 1)
        level = self.residue_noise(noise).unsqueeze(1)
        residues = with_scalars(encoding.features[complex_row], level.expand(-1, encoding.features.shape[1], -1))
        within = self._within(encoding.batch, complex_row, positions, noise)
        across = self._across(encoding, complex_row, positions, sigma.expand(len(positions)), noise)
        back = across.reversed()
        residues = residues.flatten(0, 1)
        for layer in self.layers:
            atoms, residues = layer(atoms, residues, within, across, back)
        return atoms

    def _within(self, batch: ComplexBatch, complex_row: Tensor, positions: Tensor, noise: Tensor) -> EmbeddedEdges:
        kinds = batch.bond_type[complex_row]
        edges = ligand_graph(positions, batch.atom_mask[complex_row], kinds > 0, self.config.ligand_reach)
        a = positions.shape[1]
        pose = edges.receiver // a
        bond = F.one_hot(kinds[pose, edges.receiver % a, edges.sender % a], BOND_TYPES + 1)[:, 1:]
        embedded: EmbeddedEdges = self.within(edges, bond.to(noise.dtype), noise[pose])
        return embedded

    def _across(
        self, encoding: DiffDockEncoding, complex_row: Tensor, positions: Tensor, sigma: Tensor, noise: Tensor
    ) -> EmbeddedEdges:
        """Edges from residues to atoms."""
        residues, config = encoding.residues, self.config
        edges = cross_graph(
            positions,
            encoding.batch.atom_mask[complex_row],
            residues.positions[complex_row],
            residues.mask[complex_row],
            config.cross_reach + config.cross_reach_per_sigma * sigma,
        )
        embedded: EmbeddedEdges = self.across(edges, noise[edges.receiver // positions.shape[1]])
        return embedded
