"""What the network is given of a ligand and of a receptor, and who exchanges messages with whom in a set of poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from domains.docking.networks.diffdock.edges import Edges


@dataclass(frozen=True)
class LigandGraph:
    """A ligand of A heavy atoms with E directed bonds, of which R turn."""

    atom_features: Tensor  # (A, 16) int64, see structures.atom_features
    bonds: Tensor  # (2, E) int64, u -> v next to v -> u
    bond_types: Tensor  # (E,) int64: single, double, triple, aromatic
    rotatable: Tensor  # (E,) bool, the direction that points to the side that turns
    turned: Tensor  # (R, A) bool, atoms that turn with each rotatable bond, in the order of the bonds

    def __len__(self) -> int:
        return len(self.atom_features)


@dataclass(frozen=True)
class ReceptorAtoms:
    """The n heavy atoms of a receptor, which the confidence model sees."""

    features: Tensor  # (n, 4) int64: residue type, element, two kinds of atom name
    positions: Tensor  # (n, 3) Å
    edges: Tensor  # (2, E) int64: row 0 receives from row 1
    residue: Tensor  # (n,) int64, that each atom belongs to


@dataclass(frozen=True)
class ReceptorGraph:
    """A receptor of N residues."""

    residue_type: Tensor  # (N,) int64
    language_model: Tensor | None  # (N, 1280), embeddings of ESM-2
    positions: Tensor  # (N, 3) Å, alpha carbons
    edges: Tensor  # (2, E) int64: row 0 receives from row 1
    atoms: ReceptorAtoms | None = None

    def __len__(self) -> int:
        return len(self.residue_type)


Graph = TypeVar("Graph", LigandGraph, ReceptorGraph, ReceptorAtoms)


@dataclass(frozen=True)
class ComplexGraph:
    """A ligand and the receptor that it binds to; complexes of one receptor share the object."""

    receptor: ReceptorGraph
    ligand: LigandGraph

    def to(self, device: torch.device) -> ComplexGraph:
        """The same graph with its tensors on `device`."""
        receptor, atoms = self.receptor, self.receptor.atoms
        moved = None if atoms is None else _moved(atoms, device)
        return ComplexGraph(replace(_moved(receptor, device), atoms=moved), _moved(self.ligand, device))


@dataclass(frozen=True)
class PoseLayout:
    """Atoms and residues of B poses in two flat lists, pose by pose, without padding."""

    atom_mask: Tensor  # (B, A) bool
    atom_pose: Tensor  # (atoms,) int64
    residue_mask: Tensor  # (B, N) bool
    residue_pose: Tensor  # (residues,) int64
    residue: Tensor  # (residues,) int64, row among the residues of all receptors
    residue_positions: Tensor  # (B, N, 3) Å
    atom_features: Tensor  # (atoms, 16) int64
    bonds: Tensor  # (2, bonds) int64, rows of atoms
    bond_types: Tensor  # (bonds,) int64
    torsion_bonds: Tensor  # (2, torsions) int64, rows of atoms
    torsion_mask: Tensor  # (B, R) bool

    @property
    def atoms(self) -> int:
        """Number of atoms."""
        return len(self.atom_pose)

    @property
    def poses(self) -> int:
        """Number of poses."""
        return len(self.atom_mask)


def lay_out(
    complexes: Sequence[ComplexGraph], first_residue: Sequence[int], padded_atoms: int, device: torch.device
) -> PoseLayout:
    """Rows of the atoms, bonds and residues of poses of `complexes`, one each.

    Args:
        first_residue: row of each complex's first residue among those of all receptors.
        padded_atoms: A of the poses' positions.
    """
    atoms = torch.tensor([len(c.ligand) for c in complexes], device=device)
    residues = torch.tensor([len(c.receptor) for c in complexes], device=device)
    torsions = torch.tensor([len(c.ligand.turned) for c in complexes], device=device)
    first_atom = (atoms.cumsum(0) - atoms).tolist()
    ligands = [c.ligand for c in complexes]
    bonds = torch.cat([g.bonds + first for g, first in zip(ligands, first_atom, strict=True)], 1)
    residue_pose = torch.repeat_interleave(residues)
    within = torch.arange(len(residue_pose), device=device) - (residues.cumsum(0) - residues)[residue_pose]
    return PoseLayout(
        atom_mask=_first(atoms, padded_atoms),
        atom_pose=torch.repeat_interleave(atoms),
        residue_mask=_first(residues, int(residues.amax())),
        residue_pose=residue_pose,
        residue=torch.tensor(first_residue, device=device)[residue_pose] + within,
        residue_positions=pad_sequence([c.receptor.positions for c in complexes], batch_first=True),
        atom_features=torch.cat([g.atom_features for g in ligands]),
        bonds=bonds,
        bond_types=torch.cat([g.bond_types for g in ligands]),
        torsion_bonds=bonds[:, torch.cat([g.rotatable for g in ligands])],
        torsion_mask=_first(torsions, int(torsions.amax())),
    )


def ligand_edges(layout: PoseLayout, positions: Tensor, reach: float) -> tuple[Edges, Tensor]:
    """Bonds, then all pairs of atoms (atoms, 3) closer than `reach` Å, bonded too; and one-hot bond types (E, 4)."""
    i, j = _near(_padded(positions, layout.atom_mask), layout.atom_mask, reach)
    receiver, sender = torch.cat([layout.bonds, torch.stack([i, j])], 1)
    kinds = torch.nn.functional.one_hot(layout.bond_types, 4).to(positions.dtype)
    return Edges(receiver, sender, positions[sender] - positions[receiver]), torch.cat(
        [kinds, kinds.new_zeros(len(i), 4)]
    )


def cross_edges(layout: PoseLayout, positions: Tensor, reach: Tensor) -> Edges:
    """Atoms (atoms, 3) that hear residues closer than `reach` (B,) Å."""
    x = _padded(positions, layout.atom_mask)
    distance = torch.cdist(x, layout.residue_positions, compute_mode="donot_use_mm_for_euclid_dist")
    near = distance < reach[:, None, None]
    near &= layout.atom_mask.unsqueeze(2) & layout.residue_mask.unsqueeze(1)
    pose, a, r = near.nonzero(as_tuple=True)
    receiver, sender = _rows(layout.atom_mask)[pose, a], _rows(layout.residue_mask)[pose, r]
    return Edges(receiver, sender, layout.residue_positions[pose, r] - positions[receiver])


def centre_edges(layout: PoseLayout, positions: Tensor) -> Edges:
    """Every pose's centre of atoms, which hears all of them."""
    atom = torch.arange(layout.atoms, device=positions.device)
    counts = layout.atom_mask.sum(1, keepdim=True)
    centre = positions.new_zeros(layout.poses, 3).index_add(0, layout.atom_pose, positions) / counts
    return Edges(layout.atom_pose, atom, positions - centre[layout.atom_pose])


def torsion_edges(layout: PoseLayout, positions: Tensor, reach: float) -> Edges:
    """Every rotatable bond's midpoint, which hears the pose's atoms closer than `reach` Å."""
    u, v = layout.torsion_bonds
    middle = (positions[u] + positions[v]) / 2
    pose = layout.atom_pose[u]
    x = _padded(positions, layout.atom_mask)[pose]
    near = torch.linalg.vector_norm(x - middle.unsqueeze(1), dim=-1) < reach
    bond, a = (near & layout.atom_mask[pose]).nonzero(as_tuple=True)
    sender = _rows(layout.atom_mask)[pose[bond], a]
    return Edges(bond, sender, positions[sender] - middle[bond])


def _moved(graph: Graph, device: torch.device) -> Graph:
    tensors: dict[str, Any] = {
        name: value.to(device) for name, value in vars(graph).items() if isinstance(value, Tensor)
    }
    return replace(graph, **tensors)


def _first(counts: Tensor, width: int) -> Tensor:
    return torch.arange(width, device=counts.device) < counts.unsqueeze(1)


def _rows(mask: Tensor) -> Tensor:
    """(B, N) row of the flat list, where `mask` is true."""
    return mask.flatten().cumsum(0).view(mask.shape) - 1


def _padded(values: Tensor, mask: Tensor) -> Tensor:
    return values.new_zeros(*mask.shape, values.shape[-1]).masked_scatter(mask.unsqueeze(-1), values)


def _near(x: Tensor, mask: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """Rows of pairs of different points of one pose (B, N, 3) closer than `reach`."""
    near = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist") < reach
    near &= mask.unsqueeze(2) & mask.unsqueeze(1)
    near.diagonal(dim1=1, dim2=2).fill_(False)
    pose, i, j = near.nonzero(as_tuple=True)
    rows = _rows(mask)
    return rows[pose, i], rows[pose, j]
