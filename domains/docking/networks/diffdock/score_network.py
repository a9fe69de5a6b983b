"""DiffDock's score model behind the interface that the docking flow asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, final

import torch
from torch import Tensor
from torch.nn.functional import pad

from domains.docking.networks.diffdock.config import LANGUAGE_MODEL_WIDTH, DiffDockConfig
from domains.docking.networks.diffdock.graphs import ComplexGraph, LigandGraph, ReceptorGraph
from domains.docking.networks.diffdock.language_model import LanguageModel
from domains.docking.networks.diffdock.network import DiffDockScoreModel, Encoding
from domains.docking.networks.diffdock.processing import ligand_graph, nearest, residue_types
from domains.docking.networks.score import ScoreNetwork, Scores
from domains.docking.poses.diffusion import FACTORS, score_norms
from domains.docking.structures.batch import ComplexBatch
from domains.docking.structures.complexes import Complex
from domains.docking.structures.ligand import Ligand
from domains.docking.structures.pocket import whole_protein
from domains.docking.structures.residues import ATOM_NAME_VOCABULARY
from domains.docking.structures.torsions import torsions
from domains.errors import InputError, InputProblem
from domains.memory import available_memory

WHOLE_PROTEIN: Final = "docked to the whole protein, as DiffDock's weights were trained; the ligand's pose is not used"

_ALPHA: Final = ATOM_NAME_VOCABULARY.index("CA")
_BOND_TYPES: Final = 4
# Bytes for each pair of an atom and a residue, and of neighbouring residues: their features, in the three orders that
# convolutions take them in, and what these are made of.
_BYTES_HEARD: Final = 3072
_BYTES_NEIGHBOUR: Final = 1024


@final
class DiffDock(ScoreNetwork[Encoding]):
    """A :class:`DiffDockScoreModel` for complexes of a :class:`ComplexBatch`.

    Args:
        model: the network.
        language_model: gives the residues' embeddings, where the network was trained with them; ESM-2 in the user's
            cache if None.
    """

    config: DiffDockConfig
    docks_to_whole_protein = True

    def __init__(self, model: DiffDockScoreModel, language_model: LanguageModel | None = None) -> None:
        super().__init__()
        self.model, self.config, self.language_model = model, model.config, language_model or LanguageModel()

    def prepare(self, complex_: Complex) -> Complex:
        """With DiffDock's torsions, embeddings of the whole chains, and the whole protein unless a point was chosen.

        Raises:
            InputError: if the features have no place for one of the ligand's bonds, the receptor has a single residue,
                or there is no language model.
        """
        ligand = _ligand_for_diffdock(complex_)
        pocket, remarks = complex_.pocket, complex_.remarks
        if pocket.spec.startswith("ligand, "):  # not of a file of that name
            pocket = whole_protein(complex_.protein)
            remarks = (*remarks, WHOLE_PROTEIN)
        alpha = pocket.atom_name == _ALPHA
        if alpha.sum() < 2:
            message = f"there are {alpha.sum()} residues with an alpha carbon to dock to ({pocket.spec})"
            raise InputError(InputProblem(complex_.name, "", message, "choose a larger pocket"))
        self._check_memory(replace(complex_, ligand=ligand, pocket=pocket))
        embedding = None
        if self.config.language_model:
            protein = complex_.protein
            rows = {place.tobytes(): row for row, place in enumerate(protein.positions[protein.is_ca])}
            chosen = [rows[place.tobytes()] for place in pocket.positions[alpha]]
            embedding = self.language_model.embed(protein)[chosen]
        return replace(complex_, ligand=ligand, pocket=pocket, remarks=remarks, embedding=embedding)

    def memory(self, complex_: Complex) -> int:
        """Most of it is what is known of the edges, of which there are most at t = 1: all atoms hear all residues."""
        residues = int((complex_.pocket.atom_name == _ALPHA).sum())
        heard = complex_.ligand.n_atoms * residues
        return _BYTES_HEARD * heard + _BYTES_NEIGHBOUR * residues * self.config.c_alpha_max_neighbors

    def _check_memory(self, complex_: Complex) -> None:
        """InputError if a single pose would not fit."""
        needed, left = self.memory(complex_), available_memory(next(self.parameters()).device)
        if left is not None and needed > left:
            residues = int((complex_.pocket.atom_name == _ALPHA).sum())
            message = (
                f"a pose in {residues:,} residues takes about {needed / 2**30:.1f} GiB of memory, of which "
                f"{left / 2**30:.1f} GiB are left"
            )
            remedy = "crop the protein to a pocket: --pocket point:X,Y,Z,RADIUS"
            raise InputError(InputProblem(complex_.name, "", message, remedy))

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
        alpha = (batch.pocket_atom_name[k] == _ALPHA) & batch.pocket_mask[k]
        positions = batch.pocket_positions[k, alpha]
        config, embedding = self.config, batch.residue_embedding[k, : len(positions)]
        if config.language_model and embedding.shape != (len(positions), LANGUAGE_MODEL_WIDTH):
            shape = tuple(batch.residue_embedding[k].shape)
            raise ValueError(
                f"residue_embedding of {batch.names[k]} must have a row of {LANGUAGE_MODEL_WIDTH} numbers for each of "
                f"its {len(positions)} residues, got {shape}; prepare complexes before they are put together"
            )
        reach = None if config.knn_only_graph else config.receptor_radius
        edges = nearest(positions.cpu().numpy(), config.c_alpha_max_neighbors, reach)
        return ReceptorGraph(
            residue_types(batch.pocket_residue[k, alpha]),
            embedding.to(positions) if config.language_model else None,
            positions,
            torch.from_numpy(edges).to(positions.device),
        )


def _ligand_for_diffdock(complex_: Complex) -> Ligand:
    """The complex's ligand with every bond turning that DiffDock turns."""
    ligand = complex_.ligand
    ligand_graph(ligand.mol, complex_.name)
    turning, mask = torsions(ligand.mol, "diffdock")
    return replace(ligand, torsion_bonds=turning, torsion_mask=mask)


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
