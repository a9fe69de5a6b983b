"""Receptors before the time is known, and what poses share of them: of one receptor at one time, everything."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from domains.docking.networks.diffdock.edges import EmbeddedEdges, embedded
from domains.docking.networks.diffdock.graphs import ComplexGraph, ReceptorGraph


@dataclass(frozen=True)
class Encoding:
    """Complexes, and the features of their receptors before the time is known."""

    complexes: tuple[ComplexGraph, ...]
    receptor: Tensor  # (K,) int64, of each complex
    first_residue: Tensor  # (receptors,) int64
    residues: Tensor  # (M, dim) of all receptors
    first_edge: Tensor  # (receptors + 1,) int64
    edges: Tensor  # (2, E) int64, rows of residues
    edge_embedding: Tensor  # (E, ns), in DiffDock v1.0 a hidden layer that the time is still to be added to
    edge_harmonics: Tensor  # (E, sh.dim)


@dataclass(frozen=True)
class SharedReceptors:
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


def share(encoding: Encoding, receptor: Tensor, t: Tensor, apart: bool) -> SharedReceptors:
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
    return SharedReceptors(
        example, residue, residue_receptor, edge, edge_receptor, edges, of_pose, pose_edge, pose_edges
    )


def near_ligand(complex_: ComplexGraph, positions: Tensor, reach: Tensor) -> ComplexGraph:
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
