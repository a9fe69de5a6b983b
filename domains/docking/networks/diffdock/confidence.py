"""DiffDock's confidence model: how likely each pose is to be right, from all heavy atoms of the receptor.

The model released with DiffDock v1.0 (Corso et al. 2023, arXiv 2210.01776), which v1.1 uses as well. It differs from
the score network beyond its read-out: three kinds of nodes, a convolution of its own for each of nine kinds of edges,
time in all embeddings, and a residue's columns in the order that the weights were trained with (:class:`TimedEncoder`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, final

import torch
from e3nn import o3
from torch import Tensor, nn
from torch.nn.functional import one_hot, pad

from domains.docking.networks.diffdock.config import LANGUAGE_MODEL_WIDTH, number, unsupported, whole
from domains.docking.networks.diffdock.convolution import Convolution
from domains.docking.networks.diffdock.edges import EmbeddedEdges, embedded
from domains.docking.networks.diffdock.embeddings import DistanceExpansion, TimedEncoder, perceptron, time_embedding
from domains.docking.networks.diffdock.graphs import ComplexGraph
from domains.docking.structures.atom_features import ATOM_FEATURE_DIMS

RESIDUE_DIMS: Final = (38,)
RECEPTOR_ATOM_DIMS: Final = (38, 119, 23, 38)
_RESIDUE_REACH: Final = 30.0  # Å, end of the distance embedding among residues
_CROSS_REACH: Final = 20.0  # Å, residues that the ligand's atoms hear


@final
@dataclass(frozen=True)
class ConfidenceConfig:
    """Sizes of the confidence model, under the names of its yaml file."""

    ns: int
    nv: int
    num_conv_layers: int
    sigma_embed_dim: int
    distance_embed_dim: int
    cross_distance_embed_dim: int
    sh_lmax: int = 2
    embedding_scale: float = 10000.0
    max_radius: float = 5.0
    cross_max_distance: float = 80.0
    dropout: float = 0.0
    outputs: int = 1
    c_alpha_max_neighbors: int = 24
    receptor_radius: float = 15.0
    atom_max_neighbors: int = 8
    atom_radius: float = 5.0

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> ConfidenceConfig:
        """From the contents of `model_parameters.yml`.

        Raises:
            ValueError: naming what is missing, of another type, or not supported.
        """
        unsupported(parameters, _ONLY)
        names = ("ns", "nv", "num_conv_layers", "sigma_embed_dim", "distance_embed_dim", "cross_distance_embed_dim")
        missing = [name for name in names if name not in parameters]
        if missing:
            raise ValueError(f"lacks {', '.join(missing)}")
        cutoffs = parameters.get("rmsd_classification_cutoff")
        return cls(
            **{name: whole(parameters, name) for name in names},
            sh_lmax=int(number(parameters, "sh_lmax", 2)),
            embedding_scale=number(parameters, "embedding_scale", 10000.0),
            max_radius=number(parameters, "max_radius", 5.0),
            cross_max_distance=number(parameters, "cross_max_distance", 80.0),
            dropout=number(parameters, "dropout", 0.0),
            outputs=len(cutoffs) + 1 if isinstance(cutoffs, list) else 1,
            c_alpha_max_neighbors=int(number(parameters, "c_alpha_max_neighbors", 24)),
            receptor_radius=number(parameters, "receptor_radius", 15.0),
            atom_max_neighbors=int(number(parameters, "atom_max_neighbors", 8)),
            atom_radius=number(parameters, "atom_radius", 5.0),
        )

    def nodes(self, layer: int) -> o3.Irreps:
        """Irreps of the nodes before layer number `layer`."""
        kinds = [(self.ns, "0e"), (self.nv, "1o"), (self.nv, "1e"), (self.ns, "0o")]
        return o3.Irreps(kinds[: min(layer, 3) + 1])


_ONLY: Final[Mapping[str, tuple[object, ...]]] = {
    "all_atoms": (True,),
    "use_second_order_repr": (False, None),
    "smooth_edges": (False, None),
    "odd_parity": (False, None),
    "no_batch_norm": (False, None),
    "embedding_type": ("sinusoidal",),
    "dynamic_max_cross": (True,),
    "sh_lmax": (2,),
}


class _Kind(NamedTuple):
    """Edges of one kind of one complex: receivers, senders, features, harmonics."""

    receiver: Tensor
    sender: Tensor
    embedding: Tensor
    harmonics: Tensor
    sizes: tuple[int, int]  # nodes that could receive, and send

    @property
    def turned(self) -> _Kind:
        """The other direction; the weights were trained with the same harmonics in both."""
        return _Kind(self.sender, self.receiver, self.embedding, self.harmonics, (self.sizes[1], self.sizes[0]))

    def repeated(self, copies: int) -> _Kind:
        """The same edges among nodes repeated `copies` times."""
        copy = torch.arange(copies, device=self.receiver.device).repeat_interleave(len(self.receiver))
        n, m = self.sizes
        return _Kind(
            self.receiver.repeat(copies) + copy * n,
            self.sender.repeat(copies) + copy * m,
            self.embedding.repeat(copies, 1),
            self.harmonics.repeat(copies, 1),
            (n * copies, m * copies),
        )

    def embedded(self) -> EmbeddedEdges:
        """In the order of a convolution."""
        return embedded(self.receiver, self.sender, self.embedding, self.harmonics, *self.sizes)


@final
class ConfidenceModel(nn.Module):
    """Logits of poses: of the classes RMSD < cutoff first."""

    def __init__(self, config: ConfidenceConfig) -> None:
        super().__init__()
        self.config = config
        ns, dropout, sigma = config.ns, config.dropout, config.sigma_embed_dim
        near, far = config.distance_embed_dim, config.cross_distance_embed_dim
        self.lig_node_embedding = TimedEncoder(ATOM_FEATURE_DIMS, sigma, 0, ns)
        self.rec_node_embedding = TimedEncoder(RESIDUE_DIMS, sigma, LANGUAGE_MODEL_WIDTH, ns)
        self.atom_node_embedding = TimedEncoder(RECEPTOR_ATOM_DIMS, sigma, 0, ns)
        self.lig_edge_embedding = perceptron(4 + sigma + near, ns, dropout)
        self.rec_edge_embedding = perceptron(sigma + near, ns, dropout)
        self.atom_edge_embedding = perceptron(sigma + near, ns, dropout)
        self.lr_edge_embedding = perceptron(sigma + far, ns, dropout)
        self.ar_edge_embedding = perceptron(sigma + near, ns, dropout)
        self.la_edge_embedding = perceptron(sigma + far, ns, dropout)
        self.lig_distance_expansion = DistanceExpansion(config.max_radius, near)
        self.rec_distance_expansion = DistanceExpansion(_RESIDUE_REACH, near)
        self.cross_distance_expansion = DistanceExpansion(config.cross_max_distance, far)
        self.harmonics = o3.Irreps.spherical_harmonics(config.sh_lmax)
        self.conv_layers = nn.ModuleList(
            Convolution(config.nodes(i), self.harmonics, config.nodes(i + 1), 3 * ns, dropout=dropout, residual=False)
            for i in range(config.num_conv_layers)
            for _ in range(9)
        )
        columns = 2 * ns if config.num_conv_layers >= 3 else ns
        self.confidence_predictor = nn.Sequential(
            nn.Linear(columns, ns),
            nn.BatchNorm1d(ns),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(ns, ns),
            nn.BatchNorm1d(ns),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(ns, config.outputs),
        )

    def confidence(self, complex_: ComplexGraph, positions: Tensor) -> Tensor:
        """Logit of the first class, which the published code sorts by, descending."""
        return self(complex_, positions)[:, 0]

    def forward(self, complex_: ComplexGraph, positions: Tensor) -> Tensor:
        """Logits (B, outputs) of poses (B, A, 3) Å."""
        ligand, receptor, atoms = complex_.ligand, complex_.receptor, complex_.receptor.atoms
        if atoms is None or receptor.language_model is None:
            raise ValueError("the confidence model needs the receptor's atoms and embeddings of a language model")
        poses, ns = len(positions), self.config.ns
        time = time_embedding(positions.new_zeros(()), self.config.sigma_embed_dim, self.config.embedding_scale)

        def time_features(n: int) -> Tensor:
            return time.expand(n, -1)

        among_residues = self._kind(
            self.rec_edge_embedding, self.rec_distance_expansion, receptor.edges, receptor.positions, receptor.positions
        )
        among_atoms = self._kind(
            self.atom_edge_embedding, self.lig_distance_expansion, atoms.edges, atoms.positions, atoms.positions
        )
        owner = torch.stack([torch.arange(len(atoms.residue), device=positions.device), atoms.residue])
        of_atoms = self._kind(
            self.ar_edge_embedding, self.rec_distance_expansion, owner, atoms.positions, receptor.positions
        )
        within = self._within(complex_, positions, time)
        x = positions.flatten(0, 1)
        to_residues = self._across(self.lr_edge_embedding, positions, receptor.positions, _CROSS_REACH)
        to_atoms = self._across(self.la_edge_embedding, positions, atoms.positions, self.config.max_radius)

        lig = self.lig_node_embedding(ligand.atom_features.repeat(poses, 1), time_features(len(x)))
        rec = self.rec_node_embedding(
            receptor.residue_type.unsqueeze(1), torch.cat([receptor.language_model, time_features(len(receptor))], -1)
        )
        atom = self.atom_node_embedding(atoms.features, time_features(len(atoms.features)))

        lig_kinds = [kind.embedded() for kind in (within, to_residues, to_atoms)]
        back = [kind.turned.embedded() for kind in (to_atoms, to_residues)]
        alone = [among_atoms, of_atoms, among_residues, of_atoms.turned]
        once = [kind.embedded() for kind in alone]
        many = [kind.repeated(poses).embedded() for kind in alone]
        last = self.config.num_conv_layers - 1
        for i in range(self.config.num_conv_layers):
            layers = self.conv_layers[9 * i : 9 * i + 9]
            # The receptor is the same in all poses until it has heard the ligand.
            rec_many, atom_many = (rec.repeat(poses, 1), atom.repeat(poses, 1)) if i == 0 else (rec, atom)
            senders = (lig, rec_many, atom_many)
            update = [self._message(layers[k], lig, senders[k], lig_kinds[k]) for k in range(3)]
            if i < last:
                edges, copies = (once, poses) if i == 0 else (many, 1)
                inner = [
                    self._message(layers[k], to, sender, edges[j]).repeat(copies, 1)
                    for j, (k, to, sender) in enumerate(
                        [(3, atom, atom), (5, atom, rec), (6, rec, rec), (8, rec, atom)]
                    )
                ]
                heard_atom = self._message(layers[4], atom_many, lig, back[0])
                heard_rec = self._message(layers[7], rec_many, lig, back[1])
                atom = _joined(atom_many, inner[0] + heard_atom + inner[1])
                rec = _joined(rec_many, inner[2] + heard_rec + inner[3])
            lig = _joined(lig, update[0] + update[1] + update[2])
        columns = lig[:, :ns] if self.config.num_conv_layers < 3 else torch.cat([lig[:, :ns], lig[:, -ns:]], -1)
        logits: Tensor = self.confidence_predictor(columns.unflatten(0, (poses, -1)).mean(1))
        return logits

    def _message(self, layer: nn.Module, receivers: Tensor, senders: Tensor, edges: EmbeddedEdges) -> Tensor:
        ns = self.config.ns
        y: Tensor = layer(senders, edges, (receivers[:, :ns], edges.receiver), (senders[:, :ns], edges.sender))
        return y

    def _kind(
        self, embedding: nn.Module, expansion: nn.Module, edges: Tensor, receivers: Tensor, senders: Tensor
    ) -> _Kind:
        vector = senders[edges[1]] - receivers[edges[0]]
        return _Kind(edges[0], edges[1], *self._features(embedding, expansion, vector), (len(receivers), len(senders)))

    def _features(
        self, embedding: nn.Module, expansion: nn.Module, vector: Tensor, *columns: Tensor
    ) -> tuple[Tensor, Tensor]:
        time = time_embedding(vector.new_zeros(()), self.config.sigma_embed_dim, self.config.embedding_scale)
        distance = torch.linalg.vector_norm(vector, dim=-1)
        features = embedding(torch.cat([*columns, time.expand(len(vector), -1), expansion(distance)], -1))
        y = o3.spherical_harmonics(self.harmonics, vector, normalize=True, normalization="component")
        return features, y

    def _within(self, complex_: ComplexGraph, positions: Tensor, time: Tensor) -> _Kind:
        """Bonds, and all pairs of ligand atoms within reach."""
        poses, n = positions.shape[:2]
        bonds = complex_.ligand.bonds
        first = (torch.arange(poses, device=bonds.device) * n).repeat_interleave(bonds.shape[1])
        near = torch.cdist(positions, positions, compute_mode="donot_use_mm_for_euclid_dist") < self.config.max_radius
        near.diagonal(dim1=1, dim2=2).fill_(False)
        pose, i, j = near.nonzero(as_tuple=True)
        edges = torch.cat([bonds.repeat(1, poses) + first, torch.stack([pose * n + i, pose * n + j])], 1)
        kinds = one_hot(complex_.ligand.bond_types, 4).to(positions).repeat(poses, 1)
        kinds = pad(kinds, (0, 0, 0, len(pose)))
        x = positions.flatten(0, 1)
        vector = x[edges[1]] - x[edges[0]]
        features = self._features(self.lig_edge_embedding, self.lig_distance_expansion, vector, kinds)
        return _Kind(edges[0], edges[1], *features, (len(x), len(x)))

    def _across(self, embedding: nn.Module, positions: Tensor, others: Tensor, reach: float) -> _Kind:
        """Ligand atoms that hear nodes of the receptor, which every pose has copies of."""
        poses, n = positions.shape[:2]
        distance = torch.cdist(positions, others.expand(poses, -1, -1), compute_mode="donot_use_mm_for_euclid_dist")
        pose, a, r = (distance < reach).nonzero(as_tuple=True)
        features = self._features(embedding, self.cross_distance_expansion, others[r] - positions[pose, a])
        return _Kind(pose * n + a, pose * len(others) + r, *features, (poses * n, poses * len(others)))


def _joined(x: Tensor, update: Tensor) -> Tensor:
    """x + update (N, dim), where x may lack the last kinds of channels."""
    return pad(x, (0, update.shape[-1] - x.shape[-1])) + update
