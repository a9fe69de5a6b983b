"""DiffDock's score model behind the interface that the docking flow asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import pad

from domains.docking.networks.diffdock.config import DiffDockConfig
from domains.docking.networks.diffdock.graphs import ComplexGraph, LigandGraph, ReceptorGraph
from domains.docking.networks.diffdock.network import DiffDockScoreModel, Encoding
from domains.docking.networks.diffdock.processing import nearest, residue_types
from domains.docking.networks.score import ScoreNetwork, Scores
from domains.docking.poses.diffusion import FACTORS, score_norms
from domains.docking.structures.batch import ComplexBatch
from domains.docking.structures.residues import ATOM_NAME_VOCABULARY

_BOND_TYPES = 4


@final
class DiffDock(ScoreNetwork[Encoding]):
    """A :class:`DiffDockScoreModel` for complexes of a :class:`ComplexBatch`.

    Args:
        model: the network.
        embeddings: complex -> (Q, 1280) of a language model, one row for each alpha carbon of its pocket, in the
            pocket's order; needed where the network was trained with them.
    """

    config: DiffDockConfig

    def __init__(self, model: DiffDockScoreModel, embeddings: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.model, self.config, self.embeddings = model, model.config, embeddings or {}

    def encode(self, batch: ComplexBatch) -> Encoding:
        """Graphs of the complexes, those with the same residues sharing them; and the features of the residues.

        Raises:
            ValueError: naming a complex whose bonds the features cannot express, or whose embeddings are missing or not
                as many as it has residues.
        """
        receptors: dict[bytes, ReceptorGraph] = {}
        complexes = []
        for k in range(len(batch)):
            receptor = self._receptor(batch, k)
            embedding = receptor.language_model
            parts = (receptor.positions, receptor.residue_type, *(() if embedding is None else (embedding,)))
            key = b"".join(part.cpu().numpy().tobytes() for part in parts)
            complexes.append(ComplexGraph(receptors.setdefault(key, receptor), _ligand(batch, k)))
        return self.model.encode(complexes)

    def score(self, encoding: Encoding, complex_row: Tensor, positions: Tensor, sigma: Mapping[str, Tensor]) -> Scores:
        low, high = self.config.noise.tr
        t = torch.log(sigma["tr"].double() / low) / torch.log(sigma["tr"].new_tensor(high / low, dtype=torch.float64))
        raw = self.model(encoding, complex_row, positions, t, sigma)
        norms = score_norms(sigma)
        tr, rot, tor = (getattr(raw, f) / norms[f].to(positions).reshape(-1, 1) for f in FACTORS)
        torsions = max(len(found.ligand.turned) for found in encoding.complexes)
        return Scores(tr, rot, pad(tor, (0, torsions - tor.shape[1])))

    def _receptor(self, batch: ComplexBatch, k: int) -> ReceptorGraph:
        alpha = (batch.pocket_atom_name[k] == ATOM_NAME_VOCABULARY.index("CA")) & batch.pocket_mask[k]
        positions = batch.pocket_positions[k, alpha]
        config, embedding = self.config, self.embeddings.get(batch.names[k])
        if config.language_model and (embedding is None or len(embedding) != len(positions)):
            given = "none" if embedding is None else len(embedding)
            raise ValueError(
                f"embeddings: {batch.names[k]} has {len(positions)} residues, got {given} rows of a language model"
            )
        reach = None if config.knn_only_graph else config.receptor_radius
        edges = nearest(positions.cpu().numpy(), config.c_alpha_max_neighbors, reach)
        return ReceptorGraph(
            residue_types(batch.pocket_residue[k, alpha]),
            None if embedding is None or not config.language_model else embedding.to(positions),
            positions,
            torch.from_numpy(edges).to(positions.device),
        )


def _ligand(batch: ComplexBatch, k: int) -> LigandGraph:
    """The bonds that turn come first, in the order of the batch, so that the torsions have it too."""
    n, torsions = int(batch.atom_mask[k].sum()), int(batch.torsion_mask[k].sum())
    kinds = batch.bond_type[k, :n, :n].clone()
    if bool((kinds > _BOND_TYPES).any()):
        raise ValueError(
            f"complexes: the ligand of {batch.names[k]} has bonds that DiffDock's features have no place for"
        )
    turning = batch.torsion_bonds[k, :torsions]
    u, v = turning.T
    of_turning = kinds[u, v]
    kinds[u, v] = 0
    others = kinds.nonzero()
    types = torch.cat([of_turning, kinds[others[:, 0], others[:, 1]]]) - 1
    rotatable = torch.arange(len(types), device=types.device) < torsions
    bonds = torch.cat([turning, others]).T
    return LigandGraph(batch.atom_features[k, :n], bonds, types, rotatable, batch.torsion_side[k, :torsions, :n])
