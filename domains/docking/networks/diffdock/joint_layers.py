"""Layers in which a ligand's atoms and the residues hear each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import pad

from domains.docking.networks.diffdock.convolution import Convolution
from domains.docking.networks.diffdock.edges import EmbeddedEdges
from domains.docking.networks.diffdock.receptors import SharedReceptors


class Kind(IntEnum):
    """Of edges: who hears whom, in the order of the weight networks of DiffDock-L."""

    ATOM_ATOM = 0
    ATOM_RESIDUE = 1
    RESIDUE_RESIDUE = 2
    RESIDUE_ATOM = 3


@final
@dataclass(frozen=True)
class JointLayer:
    """One layer: a convolution for all kinds of edges, or one for each kind.

    All kinds in one (DiffDock-L): their messages are averaged together, and normalised together. One each (v1.0): each
    kind has a mean and a norm of its own, and they are added up.

    Attributes:
        convolutions: one, with a weight network for each kind, or one for each kind.
        ns: scalars of a node, which the weight networks see.
    """

    convolutions: tuple[Convolution, ...]
    ns: int

    @property
    def apart(self) -> bool:
        """Whether each kind has a convolution of its own."""
        return len(self.convolutions) > 1

    def summed(self, kind: Kind, receivers: Tensor, senders: Tensor, edges: EmbeddedEdges) -> Tensor:
        """Sum of the messages over one kind of edges to each of its receivers.

        Args:
            receivers, senders: features of the nodes that `edges` point into.
        """
        columns = [(receivers[:, : self.ns], edges.receiver), (senders[:, : self.ns], edges.sender)]
        if self.apart and kind is Kind.RESIDUE_ATOM:  # v1.0 has atoms before residues whoever hears
            columns.reverse()
        if self.apart:
            return self.convolutions[kind].summed(0, senders, edges, *columns)
        return self.convolutions[0].summed(kind, senders, edges, *columns)

    def updated(self, x: Tensor, sums: Mapping[Kind, tuple[Tensor, Tensor]]) -> Tensor:
        """Nodes x after what they heard: for both kinds the sum of messages and the number (N,) of them."""
        if not self.apart:
            (first, first_degree), (second, second_degree) = sums.values()
            return self.convolutions[0].updated(x, first + second, first_degree + second_degree)
        first, second = (self.convolutions[kind].updated(None, *heard) for kind, heard in sums.items())
        return pad(x, (0, first.shape[-1] - x.shape[-1])) + first + second


@final
@dataclass(frozen=True)
class JointEdges:
    """Who hears whom in a set of poses."""

    within: EmbeddedEdges  # atoms hear atoms
    across: EmbeddedEdges  # atoms hear residues of their pose
    first_across: EmbeddedEdges  # the same into the residues that poses share
    back: EmbeddedEdges  # residues of poses hear atoms
    among: EmbeddedEdges  # shared residues hear each other
    shared: SharedReceptors
    embedding: Tensor  # (e, ns), of the edges among shared residues
    harmonics: Tensor  # (e, sh.dim), of the same


def heard_atoms(layers: Sequence[JointLayer], atoms: Tensor, residues: Tensor, edges: JointEdges) -> Tensor:
    """Features of the atoms after all layers: (atoms, dim).

    Args:
        atoms: (atoms, dim) of all poses.
        residues: (m, dim), which poses of one receptor at one time share until they have heard the ligand.
    """
    within, among, across, of_pose = edges.within, edges.among, edges.across, edges.shared.of_pose
    around_degree = among.degree[of_pose]
    *before, last = layers
    wanted: list[Tensor] = []
    for i, layer in enumerate(before):
        if i == 0:  # residues are the same in all poses of a receptor at one time
            around = layer.summed(Kind.RESIDUE_RESIDUE, residues, residues, among)[of_pose]
            pocket = layer.summed(Kind.ATOM_RESIDUE, atoms, residues, edges.first_across)
            residues = residues[of_pose]
            among = edges.shared.for_poses(edges.embedding, edges.harmonics)
            wanted = wanted_residues(among, across.sender, len(before))
        else:
            around = layer.summed(Kind.RESIDUE_RESIDUE, residues, residues, among.into(wanted[i]))
            pocket = layer.summed(Kind.ATOM_RESIDUE, atoms, residues, across)
        inner = layer.summed(Kind.ATOM_ATOM, atoms, atoms, within)
        ligand = layer.summed(Kind.RESIDUE_ATOM, residues, atoms, edges.back)
        to_atoms = {Kind.ATOM_ATOM: (inner, within.degree), Kind.ATOM_RESIDUE: (pocket, across.degree)}
        atoms = layer.updated(atoms, to_atoms)
        to_residues = {Kind.RESIDUE_RESIDUE: (around, around_degree), Kind.RESIDUE_ATOM: (ligand, edges.back.degree)}
        residues = layer.updated(residues, to_residues)
    inner = last.summed(Kind.ATOM_ATOM, atoms, atoms, within)
    pocket = last.summed(Kind.ATOM_RESIDUE, atoms, residues, across if before else edges.first_across)
    to_atoms = {Kind.ATOM_ATOM: (inner, within.degree), Kind.ATOM_RESIDUE: (pocket, across.degree)}
    return last.updated(atoms, to_atoms)


def wanted_residues(among: EmbeddedEdges, heard: Tensor, layers: int) -> list[Tensor]:
    """For each of the layers before the last, which residues (m,) bool have to be right after it.

    After the last of them those that the ligand hears; before, also those that these hear. The others never reach the
    ligand again.
    """
    wanted = [torch.zeros(among.receivers, dtype=torch.bool, device=heard.device).index_fill(0, heard, value=True)]
    for _ in range(layers - 1):
        senders = among.sender[wanted[-1][among.receiver]]
        wanted.append(wanted[-1].index_fill(0, senders, value=True))
    return wanted[::-1]
