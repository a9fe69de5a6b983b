"""Who exchanges messages with whom: edges between ligand atoms, residues, the ligand's centre and its rotatable bonds.

Nodes of all poses lie in one flat list, pose by pose, padding included; no edge touches padding. Graphs with a cutoff
fade out before it, so that the scores are smooth in the positions.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from domains.docking.poses.kinematics import centroid
from domains.docking.structures.batch import ComplexBatch
from domains.docking.structures.residues import ATOM_NAME_VOCABULARY


class Edges(NamedTuple):
    """E directed edges between rows of two flat lists of nodes."""

    receiver: Tensor  # (E,) int64
    sender: Tensor  # (E,) int64
    step: Tensor  # (E, 3) Å, from the receiver to the sender
    weight: Tensor  # (E,) in (0, 1], what the message counts


class Residues(NamedTuple):
    """Alpha carbons of K pockets, Q at most."""

    positions: Tensor  # (K, Q, 3) Å
    mask: Tensor  # (K, Q) bool
    kind: Tensor  # (K, Q) int64, into RESIDUE_VOCABULARY


def alpha_carbons(batch: ComplexBatch) -> Residues:
    """One node for each residue that has an alpha carbon."""
    here = (batch.pocket_atom_name == ATOM_NAME_VOCABULARY.index("CA")) & batch.pocket_mask
    largest = int(here.sum(1).amax())
    first = here.long().argsort(dim=1, descending=True, stable=True)[:, :largest]
    row = torch.arange(len(here), device=here.device).unsqueeze(1)
    return Residues(batch.pocket_positions[row, first], here[row, first], batch.pocket_residue[row, first])


def envelope(distance: Tensor, reach: Tensor) -> Tensor:
    """½ (1 + cos(π d / reach)): 1 at distance 0, 0 at the cutoff, with no slope at either."""
    return 0.5 * (1 + torch.cos(math.pi * (distance / reach).clamp_max(1.0)))


def ligand_graph(positions: Tensor, mask: Tensor, bonded: Tensor, reach: float) -> Edges:
    """Pairs of atoms that are bonded (B, A, A) or closer than `reach`; a bond counts 1 at any length."""
    cutoff = positions.new_full((len(positions),), reach)
    edges = _near(positions, mask, positions, mask, cutoff, bonded, itself=False)
    a = positions.shape[1]
    bond = bonded[edges.receiver // a, edges.receiver % a, edges.sender % a]
    return edges._replace(weight=torch.where(bond, torch.ones_like(edges.weight), edges.weight))


def residue_graph(residues: Residues, reach: float) -> Edges:
    """Pairs of alpha carbons of one pocket closer than `reach`."""
    x, mask = residues.positions, residues.mask
    nobody = torch.zeros_like(mask.unsqueeze(1) & mask.unsqueeze(2))
    return _near(x, mask, x, mask, x.new_full((len(x),), reach), nobody, itself=False)


def cross_graph(positions: Tensor, mask: Tensor, alphas: Tensor, alpha_mask: Tensor, reach: Tensor) -> Edges:
    """Ligand atoms (B, A, 3) that hear alpha carbons (B, Q, 3) closer than `reach` (B,)."""
    nobody = torch.zeros_like(mask.unsqueeze(2) & alpha_mask.unsqueeze(1))
    return _near(positions, mask, alphas, alpha_mask, reach, nobody, itself=True)


def centre_graph(positions: Tensor, mask: Tensor) -> Edges:
    """Every ligand's centroid, which hears all of its atoms."""
    pose, atom = mask.nonzero(as_tuple=True)
    step = positions[pose, atom] - centroid(positions, mask)[pose]
    return Edges(pose, pose * mask.shape[1] + atom, step, torch.ones_like(step[:, 0]))


class BondGraph(NamedTuple):
    """T rotatable bonds of all poses, which hear the atoms around their midpoints."""

    edges: Edges
    ends: Tensor  # (T, 2) int64, rows of atoms
    axis: Tensor  # (T, 3) Å, from one end to the other


def bond_graph(positions: Tensor, mask: Tensor, bonds: Tensor, bond_mask: Tensor, reach: float) -> BondGraph:
    """The bonds (B, R, 2) that `bond_mask` keeps, with the atoms closer than `reach` to their midpoints."""
    pose, r = bond_mask.nonzero(as_tuple=True)
    u, v = bonds[pose, r].unbind(1)
    ends = torch.stack([positions[pose, u], positions[pose, v]], 1)
    middle = ends.mean(1, keepdim=True)
    cutoff = positions.new_full((len(pose),), reach)
    here = torch.ones_like(middle[..., 0], dtype=torch.bool)
    nobody = torch.zeros_like(mask[pose].unsqueeze(1))
    edges = _near(middle, here, positions[pose], mask[pose], cutoff, nobody, itself=True)
    a = positions.shape[1]
    sender = pose[edges.receiver] * a + edges.sender % a
    return BondGraph(
        edges._replace(sender=sender), torch.stack([pose * a + u, pose * a + v], 1), ends[:, 1] - ends[:, 0]
    )


def _near(
    receivers: Tensor,
    receiver_mask: Tensor,
    senders: Tensor,
    sender_mask: Tensor,
    reach: Tensor,
    always: Tensor,
    *,
    itself: bool,
) -> Edges:
    """Pairs of one row that are closer than its `reach` (B,), or in `always` (B, N, M); all of them fade out."""
    with torch.no_grad():
        distance = torch.cdist(receivers, senders, compute_mode="donot_use_mm_for_euclid_dist")
        found = (distance < reach[:, None, None]) | always
        found &= receiver_mask.unsqueeze(2) & sender_mask.unsqueeze(1)
        if not itself:
            found.diagonal(dim1=1, dim2=2).fill_(False)
        row, i, j = found.nonzero(as_tuple=True)
    step = senders[row, j] - receivers[row, i]
    weight = envelope(torch.linalg.vector_norm(step, dim=-1), reach[row])
    return Edges(row * receivers.shape[1] + i, row * senders.shape[1] + j, step, weight)
