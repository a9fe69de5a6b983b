"""DiffDock's confidence model as what ranks docked poses."""

from __future__ import annotations

from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray

from domains.docking.networks.diffdock.confidence import ConfidenceModel
from domains.docking.networks.diffdock.graphs import ComplexGraph
from domains.docking.networks.diffdock.language_model import LanguageModel
from domains.docking.networks.diffdock.processing import ligand_graph, receptor_centre, receptor_graph
from domains.docking.ranking.ranker import PoseScores
from domains.docking.structures.complexes import Complex

_AT_ONCE: Final = 4  # poses; each has its own copy of all atoms of the protein


@final
class ConfidenceRanker:
    """The logit of RMSD < 2 Å, by which the published code sorts, descending.

    It is the raw logit of a class, not of a probability against the rest: its zero means nothing.

    Args:
        model: the network.
        language_model: gives the residues' embeddings.
        knn_only_graph: of the score model that it belongs to: whether neighbours are taken at any distance.
    """

    name = "confidence"

    def __init__(self, model: ConfidenceModel, language_model: LanguageModel, *, knn_only_graph: bool) -> None:
        self.model, self.language_model, self.knn_only_graph = model, language_model, knn_only_graph

    @torch.no_grad()
    def rank(self, complex_: Complex, positions: NDArray[np.float32]) -> PoseScores:
        """Scores of poses (S, A, 3), Å, in the protein's frame.

        Raises:
            InputError: if there is no language model, or the features have no place for one of the ligand's bonds.
        """
        protein, config = complex_.protein, self.model.config
        receptor = receptor_graph(
            protein,
            torch.from_numpy(self.language_model.embed(protein)),
            config.c_alpha_max_neighbors,
            None if self.knn_only_graph else config.receptor_radius,
            atoms=(config.atom_max_neighbors, None if self.knn_only_graph else config.atom_radius),
        )
        graph = ComplexGraph(receptor, ligand_graph(complex_.ligand.mol, complex_.name))
        device = next(self.model.parameters()).device
        poses = torch.from_numpy(positions - receptor_centre(protein))
        logits = [self.model.confidence(graph.to(device), part.to(device)).cpu() for part in poses.split(_AT_ONCE)]
        score = torch.cat(logits).double().numpy()
        return PoseScores(score, {self.name: score})
