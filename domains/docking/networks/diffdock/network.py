"""The score network of DiffDock-L, its published weights included.

Corso et al. 2024 (arXiv 2402.18396), after Corso et al. 2023 (arXiv 2210.01776): equivariant messages among the
residues, among the ligand's atoms and between both. The names of the modules are those of the published files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, final

import torch
from e3nn import o3
from torch import Tensor, nn

from domains.docking.networks.diffdock import heads
from domains.docking.networks.diffdock.config import LANGUAGE_MODEL_WIDTH, DiffDockConfig
from domains.docking.networks.diffdock.convolution import Convolution
from domains.docking.networks.diffdock.edges import Edges, EmbeddedEdges, embedded
from domains.docking.networks.diffdock.embeddings import CategoryEncoder, DistanceExpansion, perceptron, time_embedding
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
from domains.docking.networks.diffdock.score_norms import TorsionNorm, rotation_norm
from domains.docking.structures.atom_features import ATOM_FEATURE_DIMS

RESIDUE_TYPES: Final = 38
_RESIDUE_REACH: Final = 30.0  # Å, end of the distance embedding among residues and from the ligand's centre


class RawScores(NamedTuple):
    """Gradients of the log-density of B poses, as the published code's."""

    tr: Tensor  # (B, 3) 1/Å
    rot: Tensor  # (B, 3) 1/rad, axis-angle, left multiplication about the ligand's centroid
    tor: Tensor  # (B, R) 1/rad in the order of the rotatable bonds, zero where a ligand has no such torsion


@dataclass(frozen=True)
class Encoding:
    """Complexes, and the features of their receptors before the time is known."""

    complexes: tuple[ComplexGraph, ...]
    receptor: Tensor  # (K,) int64, of each complex
    first_residue: Tensor  # (receptors,) int64
    residues: Tensor  # (M, dim) of all receptors
    first_edge: Tensor  # (receptors + 1,) int64
    edges: Tensor  # (2, E) int64, rows of residues
    edge_embedding: Tensor  # (E, ns)
    edge_harmonics: Tensor  # (E, sh.dim)


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
        self.lig_node_embedding = CategoryEncoder(ATOM_FEATURE_DIMS, sigma, ns)
        self.lig_edge_embedding = perceptron(4 + sigma + near, ns, dropout)
        self.rec_node_embedding = CategoryEncoder([RESIDUE_TYPES], width, ns)
        self.rec_edge_embedding = perceptron(near, ns, dropout)
        self.rec_sigma_embedding = perceptron(sigma, ns, dropout)
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
        x = self.rec_node_embedding(kinds, self._language_model(receptors))
        receiver, sender = edges
        steps = Edges(receiver, sender, positions[sender] - positions[receiver])
        embedding = self.rec_edge_embedding(self.rec_distance_expansion(steps.distance))
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
        atoms = self._joint_layers(encoding, layout, x, time, _share(encoding, rows, t, apart), tr)
        return RawScores(*self._rigid(layout, atoms, x, time, tr, rot), self._torsions(layout, atoms, x, tor))

    def _cropped(
        self, encoding: Encoding, complex_row: Tensor, positions: Tensor, reach: Tensor
    ) -> tuple[Encoding, Tensor]:
        """Complexes of the poses with the residues that have an atom of the ligand within `reach` (B,) Å.

        As the published code does at every step: the receptor's own layers see what is left, which is another for each
        pose. Where nothing is left out, poses go on sharing their receptor.
        """
        complexes = [encoding.complexes[i] for i in complex_row.tolist()]
        cut = [_near_ligand(found, x, r) for found, x, r in zip(complexes, positions, reach, strict=True)]
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

    def _harmonics(self, vector: Tensor) -> Tensor:
        y: Tensor = o3.spherical_harmonics(self.config.harmonics, vector, normalize=True, normalization="component")
        return y

    def _alone(self, layer: nn.Module, x: Tensor, among: EmbeddedEdges) -> Tensor:
        s = x[:, : self.config.ns]
        y: Tensor = layer(x, among, (s, among.receiver), (s, among.sender))
        return y

    def _joint_layers(
        self, encoding: Encoding, layout: PoseLayout, x: Tensor, time: Tensor, shared: _Shared, tr: Tensor
    ) -> Tensor:
        """Features of the atoms after all layers: (atoms, dim)."""
        config, atom_time = self.config, time[layout.atom_pose]
        time_features = self.rec_sigma_embedding(time[shared.example])
        residues = encoding.residues[shared.residue]
        residues = torch.cat(
            [residues[:, : config.ns] + time_features[shared.residue_receptor], residues[:, config.ns :]], -1
        )
        embedding = encoding.edge_embedding[shared.edge] + time_features[shared.edge_receptor]
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
        back = embedded(steps.sender, steps.receiver, features, y * self._parity(y), m, n)
        first_across = embedded(steps.receiver, shared.of_pose[steps.sender], features, y, n, len(residues))
        across = embedded(steps.receiver, steps.sender, features, y, n, m)
        heard = within.degree + across.degree
        residue_degree = back.degree + among.degree[shared.of_pose]

        *layers, last = self.conv_layers
        wanted: list[Tensor] = []
        for i, layer in enumerate(layers):
            assert isinstance(layer, Convolution)
            s, r = atoms[:, : config.ns], residues[:, : config.ns]
            if i == 0:  # residues are the same in all poses of a receptor at one time
                around = layer.summed(2, residues, among, (r, among.receiver), (r, among.sender))[shared.of_pose]
                pocket = layer.summed(1, residues, first_across, (s, first_across.receiver), (r, first_across.sender))
                residues, r = residues[shared.of_pose], r[shared.of_pose]
                among = shared.for_poses(embedding, harmonics)
                wanted = _wanted(among, across.sender, len(layers))
            else:
                near = among.into(wanted[i])
                around = layer.summed(2, residues, near, (r, near.receiver), (r, near.sender))
                pocket = layer.summed(1, residues, across, (s, across.receiver), (r, across.sender))
            inner = layer.summed(0, atoms, within, (s, within.receiver), (s, within.sender))
            ligand = layer.summed(3, atoms, back, (r, back.receiver), (s, back.sender))
            atoms = layer.updated(atoms, inner + pocket, heard)
            residues = layer.updated(residues, around + ligand, residue_degree)
        assert isinstance(last, Convolution)
        if not layers:
            across = first_across
        s, r = atoms[:, : config.ns], residues[:, : config.ns]
        inner = last.summed(0, atoms, within, (s, within.receiver), (s, within.sender))
        pocket = last.summed(1, residues, across, (s, across.receiver), (r, across.sender))
        return last.updated(atoms, inner + pocket, heard)

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


@dataclass(frozen=True)
class _Shared:
    """Receptors at different times, each of which poses may share; rows of their residues and edges."""

    example: Tensor  # (U,) int64, one pose of each
    residue: Tensor  # (m,) int64, into the encoding
    residue_receptor: Tensor  # (m,) int64, into U
    edge: Tensor  # (e,) int64, into the encoding
    edge_receptor: Tensor  # (e,) int64, into U
    edges: Tensor  # (2, e) int64, into m
    of_pose: Tensor  # (residues of all poses,) int64, into m
    pose_edge: Tensor  # (edges of all poses,) int64, into e
    pose_edges: Tensor  # (2, edges of all poses) int64, into the residues of all poses

    def for_poses(self, embedding: Tensor, harmonics: Tensor) -> EmbeddedEdges:
        """The edges of all poses with what (e, .) says of each."""
        n = len(self.of_pose)
        return embedded(
            self.pose_edges[0], self.pose_edges[1], embedding[self.pose_edge], harmonics[self.pose_edge], n, n
        )


def _share(encoding: Encoding, receptor: Tensor, t: Tensor, apart: bool) -> _Shared:
    """`apart`: nothing is shared, for the times of the poses have slopes of their own."""
    keys = torch.stack([receptor.double(), torch.arange(len(t), device=t.device) if apart else t.detach().double()], 1)
    unique, which = torch.unique(keys, dim=0, return_inverse=True)
    poses = torch.arange(len(which), device=which.device)
    example = poses.new_zeros(len(unique)).scatter_(0, which, poses)
    kind = unique[:, 0].long()
    sizes = encoding.first_residue.new_tensor([len(c.receptor) for c in encoding.complexes])
    size = encoding.first_residue.new_zeros(len(encoding.first_residue)).scatter_(0, encoding.receptor, sizes)
    first_edge, edge_count = encoding.first_edge[:-1], encoding.first_edge.diff()

    residue, residue_receptor = _ragged(encoding.first_residue[kind], size[kind])
    edge, edge_receptor = _ragged(first_edge[kind], edge_count[kind])
    first_here = size[kind].cumsum(0) - size[kind]
    edges = encoding.edges[:, edge] + (first_here - encoding.first_residue[kind])[edge_receptor]

    of_pose, _ = _ragged(first_here[which], size[kind][which])
    first_edge_here = edge_count[kind].cumsum(0) - edge_count[kind]
    pose_edge, pose = _ragged(first_edge_here[which], edge_count[kind][which])
    first_of_pose = size[receptor].cumsum(0) - size[receptor]
    pose_edges = edges[:, pose_edge] + (first_of_pose - first_here[which])[pose]
    return _Shared(example, residue, residue_receptor, edge, edge_receptor, edges, of_pose, pose_edge, pose_edges)


def _wanted(among: EmbeddedEdges, heard: Tensor, layers: int) -> list[Tensor]:
    """For each of the layers before the last, which residues (m,) bool have to be right after it.

    After the last of them those that the ligand hears; before, also those that these hear. The others never reach the
    ligand again.
    """
    wanted = [torch.zeros(among.receivers, dtype=torch.bool, device=heard.device).index_fill(0, heard, value=True)]
    for _ in range(layers - 1):
        senders = among.sender[wanted[-1][among.receiver]]
        wanted.append(wanted[-1].index_fill(0, senders, value=True))
    return wanted[::-1]


def _near_ligand(complex_: ComplexGraph, positions: Tensor, reach: Tensor) -> ComplexGraph:
    """The complex with the residues near atoms (A, 3), or the nearest one alone, and the edges among them."""
    receptor = complex_.receptor
    x = positions[: len(complex_.ligand)]
    nearest = torch.cdist(receptor.positions, x, compute_mode="donot_use_mm_for_euclid_dist").amin(1)
    kept = nearest < reach
    if bool(kept.all()):
        return complex_
    kept[nearest.argmin()] = True
    row = kept.cumsum(0) - 1
    embedding = receptor.language_model
    return ComplexGraph(
        ReceptorGraph(
            receptor.residue_type[kept],
            None if embedding is None else embedding[kept],
            receptor.positions[kept],
            row[receptor.edges[:, kept[receptor.edges].all(0)]],
        ),
        complex_.ligand,
    )


def _ragged(first: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """first[i], first[i] + 1, ..., count[i] of them for each i, one after the other; and the i of each."""
    i = torch.repeat_interleave(count)
    return torch.arange(len(i), device=i.device) + (first - (count.cumsum(0) - count))[i], i
