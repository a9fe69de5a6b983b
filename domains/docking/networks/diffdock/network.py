"""The score network of DiffDock, its published weights included: DiffDock-L (v1.1) and the first one (v1.0).

Corso et al. 2024 (arXiv 2402.18396), after Corso et al. 2023 (arXiv 2210.01776): equivariant messages among the
residues, among the ligand's atoms and between both. The names of the modules are those of the published files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, final

import torch
from e3nn import o3
from torch import Tensor, nn

from domains.docking.networks.diffdock import heads
from domains.docking.networks.diffdock.config import LANGUAGE_MODEL_WIDTH, DiffDockConfig
from domains.docking.networks.diffdock.convolution import Convolution
from domains.docking.networks.diffdock.edges import Edges, EmbeddedEdges, embedded
from domains.docking.networks.diffdock.embeddings import (
    CategoryEncoder,
    DistanceExpansion,
    TimedEncoder,
    perceptron,
    split_first,
    split_rest,
    time_embedding,
)
from domains.docking.networks.diffdock.graphs import (
    ComplexGraph,
    PoseLayout,
    ReceptorGraph,
    centre_edges,
    cross_edges,
    lay_out,
    ligand_edges,
    torsion_edges,
)
from domains.docking.networks.diffdock.joint_layers import JointEdges, JointLayer, heard_atoms
from domains.docking.networks.diffdock.receptors import Encoding, SharedReceptors, near_ligand, share
from domains.docking.networks.diffdock.score_norms import TorsionNorm, rotation_norm
from domains.docking.structures.atom_features import ATOM_FEATURE_DIMS

RESIDUE_TYPES: Final = 38
_RESIDUE_REACH: Final = 30.0  # Å, end of the distance embedding among residues and from the ligand's centre
# Of v1.0, in the order of Kind.
_LAYERS_BY_KIND: Final = ("lig_conv_layers", "rec_to_lig_conv_layers", "rec_conv_layers", "lig_to_rec_conv_layers")


class RawScores(NamedTuple):
    """Gradients of the log-density of B poses, as the published code's."""

    tr: Tensor  # (B, 3) 1/Å
    rot: Tensor  # (B, 3) 1/rad, axis-angle, left multiplication about the ligand's centroid
    tor: Tensor  # (B, R) 1/rad in the order of the rotatable bonds, zero where a ligand has no such torsion


@final
class DiffDockScoreModel(nn.Module):
    """Score of poses in receptors, at noise levels given as t in [0, 1] and σ(t).

    Attributes:
        torsion_norm: factor of the torsions' output as a function of σ_tor.
    """

    def __init__(self, config: DiffDockConfig) -> None:
        super().__init__()
        self.config, self.torsion_norm = config, TorsionNorm()
        ns, dropout, sigma = config.ns, config.dropout, config.sigma_embed_dim
        near, far = config.distance_embed_dim, config.cross_distance_embed_dim
        width = LANGUAGE_MODEL_WIDTH if config.language_model else 0
        if config.first_version:
            self.lig_node_embedding: nn.Module = TimedEncoder(ATOM_FEATURE_DIMS, sigma, 0, ns)
            self.rec_node_embedding: nn.Module = TimedEncoder([RESIDUE_TYPES], sigma, width, ns)
            self.rec_edge_embedding = perceptron(sigma + near, ns, dropout)
        else:
            self.lig_node_embedding = CategoryEncoder(ATOM_FEATURE_DIMS, sigma, ns)
            self.rec_node_embedding = CategoryEncoder([RESIDUE_TYPES], width, ns)
            self.rec_edge_embedding = perceptron(near, ns, dropout)
            self.rec_sigma_embedding = perceptron(sigma, ns, dropout)
        self.lig_edge_embedding = perceptron(4 + sigma + near, ns, dropout)
        self.cross_edge_embedding = perceptron(sigma + far, ns, dropout)
        self.lig_distance_expansion = DistanceExpansion(config.max_radius, near)
        self.rec_distance_expansion = DistanceExpansion(_RESIDUE_REACH, near)
        self.cross_distance_expansion = DistanceExpansion(config.cross_max_distance, far)

        def layer(index: int, groups: int | None) -> Convolution:
            return Convolution(
                config.nodes(index),
                config.harmonics,
                config.nodes(index + 1),
                3 * ns,
                groups=groups,
                depth=config.tp_weights_layers,
                dropout=dropout,
                by_target=config.sh_lmax == 1,
            )

        alone, joint = config.num_prot_emb_layers, config.num_conv_layers
        self.rec_emb_layers = nn.ModuleList(layer(i, None) for i in range(alone))
        self.lig_emb_layers = nn.ModuleList(layer(i, None) for i in range(alone))
        if config.first_version:  # the last layer's messages to residues are in the files, though nobody hears them
            for name in _LAYERS_BY_KIND:
                setattr(self, name, nn.ModuleList(layer(i, None) for i in range(joint)))
        else:
            groups = [4 if i < joint - 1 else 2 for i in range(joint)]
            self.conv_layers = nn.ModuleList(
                layer(alone + i, n if config.differentiate_convolutions else None) for i, n in enumerate(groups)
            )
        nodes = config.nodes(alone + joint)
        self.center_distance_expansion = DistanceExpansion(_RESIDUE_REACH, near)
        self.center_edge_embedding = perceptron(near + sigma, ns, dropout)
        self.final_conv = Convolution(
            nodes,
            config.harmonics,
            o3.Irreps("2x1o + 2x1e"),
            2 * ns,
            depth=config.tp_weights_layers,
            dropout=dropout,
            residual=False,
        )
        self.tr_final_layer = heads.rigid_layer(sigma, ns, dropout)
        self.rot_final_layer = heads.rigid_layer(sigma, ns, dropout)
        if not config.no_torsion:
            self.final_edge_embedding = perceptron(near, ns, dropout)
            self.tor_bond_conv = heads.bond_convolution(config, nodes)
            self.tor_final_layer = heads.torsion_layer(ns, dropout)

    def encode(self, complexes: Sequence[ComplexGraph]) -> Encoding:
        """Features of the receptors; one that several complexes share is seen once."""
        place = {id(c.receptor): c.receptor for c in complexes}
        receptors: list[ReceptorGraph] = list(place.values())
        row = {key: i for i, key in enumerate(place)}
        device = receptors[0].positions.device
        sizes = torch.tensor([len(r) for r in receptors], device=device)
        first = sizes.cumsum(0) - sizes
        edges = torch.cat([r.edges + start for r, start in zip(receptors, first.tolist(), strict=True)], 1)
        positions = torch.cat([r.positions for r in receptors])
        kinds = torch.cat([r.residue_type for r in receptors]).unsqueeze(1)
        x = self._residues(kinds, self._language_model(receptors))
        receiver, sender = edges
        steps = Edges(receiver, sender, positions[sender] - positions[receiver])
        distances = self.rec_distance_expansion(steps.distance)
        if self.config.first_version:
            embedding = split_first(self.rec_edge_embedding, self.config.sigma_embed_dim, distances)
        else:
            embedding = self.rec_edge_embedding(distances)
        harmonics = self._harmonics(steps.vector)
        among = embedded(receiver, sender, embedding, harmonics, len(x), len(x))
        for layer in self.rec_emb_layers:
            x = self._alone(layer, x, among)
        counts = torch.tensor([0, *(r.edges.shape[1] for r in receptors)], device=device)
        return Encoding(
            tuple(complexes),
            torch.tensor([row[id(c.receptor)] for c in complexes], device=device),
            first,
            x,
            counts.cumsum(0),
            edges,
            embedding,
            harmonics,
        )

    def forward(
        self, encoding: Encoding, complex_row: Tensor, positions: Tensor, t: Tensor, sigma: Mapping[str, Tensor]
    ) -> RawScores:
        """Scores of poses.

        Args:
            encoding: of the complexes that `complex_row` points into.
            complex_row: (B,) int64, which complex each pose belongs to.
            positions: (B, A, 3) Å, in the frame of the receptors' positions; rows beyond a ligand's atoms are ignored.
            t: (B,) or (), time of the translations, which the network is given.
            sigma: per factor ("tr" Å, "rot" rad, "tor" rad) the noise levels (B,) or ().
        """
        poses, apart = len(complex_row), t.requires_grad and t.dim() > 0
        t, tr, rot, tor = (value.to(positions).expand(poses) for value in (t, sigma["tr"], sigma["rot"], sigma["tor"]))
        if self.config.crop_beyond is not None:
            encoding, complex_row = self._cropped(encoding, complex_row, positions, 3 * tr + self.config.crop_beyond)
        rows = encoding.receptor[complex_row]
        complexes = [encoding.complexes[i] for i in complex_row.tolist()]
        first = encoding.first_residue[rows].tolist()
        layout = lay_out(complexes, first, positions.shape[1], positions.device)
        x = positions[layout.atom_mask]
        time = time_embedding(t, self.config.sigma_embed_dim, self.config.embedding_scale)
        atoms = self._atoms(encoding, layout, x, time, share(encoding, rows, t, apart), tr)
        return RawScores(*self._rigid(layout, atoms, x, time, tr, rot), self._torsions(layout, atoms, x, tor))

    def _cropped(
        self, encoding: Encoding, complex_row: Tensor, positions: Tensor, reach: Tensor
    ) -> tuple[Encoding, Tensor]:
        """Complexes of the poses with the residues that have an atom of the ligand within `reach` (B,) Å.

        As the published code does at every step: the receptor's own layers see what is left, which is another for each
        pose. Where nothing is left out, poses go on sharing their receptor.
        """
        complexes = [encoding.complexes[i] for i in complex_row.tolist()]
        cut = [near_ligand(found, x, r) for found, x, r in zip(complexes, positions, reach, strict=True)]
        if all(new is old for new, old in zip(cut, complexes, strict=True)):
            return encoding, complex_row
        return self.encode(cut), torch.arange(len(cut), device=complex_row.device)

    def _language_model(self, receptors: Sequence[ReceptorGraph]) -> Tensor | None:
        if not self.config.language_model:
            return None
        found = [r.language_model for r in receptors if r.language_model is not None]
        if len(found) < len(receptors):
            raise ValueError(
                "receptors must carry embeddings of a language model: these weights were trained with them"
            )
        return torch.cat(found)

    def _residues(self, kinds: Tensor, language_model: Tensor | None) -> Tensor:
        """Features of residues before the time is known."""
        if isinstance(self.rec_node_embedding, TimedEncoder):
            columns = [] if language_model is None else [language_model]
            time = self.rec_distance_expansion.offset.new_zeros(len(kinds), self.config.sigma_embed_dim)
            found: Tensor = self.rec_node_embedding(kinds, torch.cat([*columns, time], -1))
            return found
        found = self.rec_node_embedding(kinds, language_model)
        return found

    def _harmonics(self, vector: Tensor) -> Tensor:
        y: Tensor = o3.spherical_harmonics(self.config.harmonics, vector, normalize=True, normalization="component")
        return y

    def _alone(self, layer: nn.Module, x: Tensor, among: EmbeddedEdges) -> Tensor:
        s = x[:, : self.config.ns]
        y: Tensor = layer(x, among, (s, among.receiver), (s, among.sender))
        return y

    def _receptor_at(self, encoding: Encoding, shared: SharedReceptors, time: Tensor) -> tuple[Tensor, Tensor]:
        """Residues (m, dim) and embeddings of the edges among them (e, ns) at the times of `shared`."""
        time, ns = time[shared.example], self.config.ns
        residues, embedding = encoding.residues[shared.residue], encoding.edge_embedding[shared.edge]
        if isinstance(self.rec_node_embedding, TimedEncoder):
            residues = residues + self.rec_node_embedding.of_time(time)[shared.residue_receptor]
            return residues, split_rest(self.rec_edge_embedding, embedding, time, shared.edge_receptor)
        features = self.rec_sigma_embedding(time)
        scalars = residues[:, :ns] + features[shared.residue_receptor]
        return torch.cat([scalars, residues[:, ns:]], -1), embedding + features[shared.edge_receptor]

    def _atoms(
        self, encoding: Encoding, layout: PoseLayout, x: Tensor, time: Tensor, shared: SharedReceptors, tr: Tensor
    ) -> Tensor:
        """Features of the atoms after all layers: (atoms, dim)."""
        config, atom_time = self.config, time[layout.atom_pose]
        residues, embedding = self._receptor_at(encoding, shared, time)
        harmonics = encoding.edge_harmonics[shared.edge]
        among = embedded(shared.edges[0], shared.edges[1], embedding, harmonics, len(residues), len(residues))

        steps, kinds = ligand_edges(layout, x, config.max_radius)
        columns = [kinds, atom_time[steps.receiver], self.lig_distance_expansion(steps.distance)]
        within = self._embed(self.lig_edge_embedding, columns, steps, layout.atoms, layout.atoms)
        atoms = self.lig_node_embedding(layout.atom_features, atom_time)
        for layer in self.lig_emb_layers:
            atoms = self._alone(layer, atoms, within)

        reach = 3 * tr + 20 if config.dynamic_max_cross else torch.full_like(tr, config.cross_max_distance)
        steps = cross_edges(layout, x, reach)
        columns = [atom_time[steps.receiver], self.cross_distance_expansion(steps.distance)]
        features, y = self.cross_edge_embedding(torch.cat(columns, -1)), self._harmonics(steps.vector)
        n, m = layout.atoms, len(layout.residue)
        # v1.0 was trained with the same harmonics in both directions.
        turned = y if config.first_version else y * self._parity(y)
        edges = JointEdges(
            within=within,
            across=embedded(steps.receiver, steps.sender, features, y, n, m),
            first_across=embedded(steps.receiver, shared.of_pose[steps.sender], features, y, n, len(residues)),
            back=embedded(steps.sender, steps.receiver, features, turned, m, n),
            among=among,
            shared=shared,
            embedding=embedding,
            harmonics=harmonics,
        )
        return heard_atoms(self._joint_layers(), atoms, residues, edges)

    def _joint_layers(self) -> list[JointLayer]:
        names = _LAYERS_BY_KIND if self.config.first_version else ("conv_layers",)
        by_kind: list[Iterable[Convolution]] = [getattr(self, name) for name in names]
        return [JointLayer(own, self.config.ns) for own in zip(*by_kind, strict=True)]

    def _embed(
        self,
        embedding: Callable[[Tensor], Tensor],
        columns: Sequence[Tensor],
        steps: Edges,
        receivers: int,
        senders: int,
    ) -> EmbeddedEdges:
        features, y = embedding(torch.cat(list(columns), -1)), self._harmonics(steps.vector)
        return embedded(steps.receiver, steps.sender, features, y, receivers, senders)

    def _parity(self, like: Tensor) -> Tensor:
        """(sh.dim,) sign of each harmonic in the opposite direction."""
        signs = [float(ir.p) for mul, ir in self.config.harmonics for _ in range(mul * ir.dim)]
        return like.new_tensor(signs)

    def _rigid(
        self, layout: PoseLayout, atoms: Tensor, x: Tensor, time: Tensor, tr: Tensor, rot: Tensor
    ) -> tuple[Tensor, Tensor]:
        config = self.config
        steps = centre_edges(layout, x)
        columns = [self.center_distance_expansion(steps.distance), time[layout.atom_pose]]
        edges = self._embed(self.center_edge_embedding, columns, steps, layout.poses, layout.atoms)
        s = atoms[:, : config.ns]
        if config.fixed_center_conv:
            scalars = (s, edges.sender)
        else:
            counts = layout.atom_mask.sum(1)
            scalars = (s[counts.cumsum(0) - counts], edges.receiver)
        out = self.final_conv(atoms, edges, scalars)
        a, b, c, d = out.split(3, -1)
        translation = heads.rescaled(self.tr_final_layer, a + c, time)
        rotation = heads.rescaled(self.rot_final_layer, b + d, time)
        if not config.scale_by_sigma:
            return translation, rotation
        return translation / tr.unsqueeze(-1), rotation * rotation_norm(rot).unsqueeze(-1)

    def _torsions(self, layout: PoseLayout, atoms: Tensor, x: Tensor, tor: Tensor) -> Tensor:
        out = x.new_zeros(layout.torsion_mask.shape)
        if self.config.no_torsion or not layout.torsion_bonds.shape[1]:
            return out
        ns, (u, v) = self.config.ns, layout.torsion_bonds
        steps = torsion_edges(layout, x, self.config.max_radius)
        features = self.final_edge_embedding(self.lig_distance_expansion(steps.distance))
        y = heads.bond_harmonics(self._harmonics(steps.vector), (x[v] - x[u])[steps.receiver])
        edges = embedded(steps.receiver, steps.sender, features, y, len(u), layout.atoms)
        s = atoms[:, :ns]
        out_of_bonds = self.tor_bond_conv(atoms, edges, (s, edges.sender), (s[u] + s[v], edges.receiver))
        score = self.tor_final_layer(out_of_bonds).squeeze(-1)
        if self.config.scale_by_sigma:
            score = score * self.torsion_norm(tor)[layout.atom_pose[u]]
        return out.masked_scatter(layout.torsion_mask, score.to(out))
