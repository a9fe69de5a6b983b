"""Complexes side by side: ligands and pockets of different sizes in one set of padded tensors.

A pose is (row of this batch, atom positions), see :mod:`domains.docking.poses.pose`; everything about a complex
that does not change while its ligand moves is here.
Coordinates are in Å, relative to each pocket's ``origin``: the frame the network
sees. Padding rows are excluded by masks, never by sentinel coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from domains.docking.structures.atom_features import ATOM_FEATURE_DIMS
from domains.docking.structures.complexes import Complex
from domains.docking.structures.ligand import Ligand


@dataclass(frozen=True)
class ComplexBatch:
    """K complexes; A, R, P are the largest numbers of ligand atoms, torsions and pocket atoms among them."""

    names: tuple[str, ...]
    origin: Tensor  # (K, 3) Å, of each pocket in its protein's frame
    conformer: Tensor  # (K, A, 3) Å, the ligand's input coordinates
    atom_mask: Tensor  # (K, A) bool
    atom_features: Tensor  # (K, A, 16) int64, see ligand.ATOM_FEATURE_DIMS
    bond_type: Tensor  # (K, A, A) int64: 0 no bond, else 1 + ligand's bond type
    hops: Tensor  # (K, A, A) int64, topological distance capped at 4
    torsion_bonds: Tensor  # (K, R, 2) int64 (u, v), v on the turned side
    torsion_side: Tensor  # (K, R, A) bool, atoms that turn
    torsion_mask: Tensor  # (K, R) bool
    pocket_positions: Tensor  # (K, P, 3) Å
    pocket_mask: Tensor  # (K, P) bool
    pocket_element: Tensor  # (K, P) int64
    pocket_residue: Tensor  # (K, P) int64
    pocket_atom_name: Tensor  # (K, P) int64
    residue_embedding: Tensor  # (K, Q, W), of the pocket's alpha carbons in turn; Q = W = 0 without a language model

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device | str) -> ComplexBatch:
        """The same complexes on another device."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "names"}
        return replace(self, **{name: value.to(device) for name, value in tensors.items()})

    def with_pockets(self, rows: Tensor) -> ComplexBatch:
        """The pockets of the complexes `rows` (D,) alone, for what sees nothing but pockets."""
        names = [f.name for f in fields(self) if f.name.startswith("pocket_")]
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def sizes(self, rows: Tensor) -> tuple[int, int, int]:
        """The largest numbers of ligand atoms, torsions and pocket atoms among the complexes `rows` (B,)."""
        masks = torch.stack([mask.sum(1) for mask in (self.atom_mask, self.torsion_mask, self.pocket_mask)])
        atoms, torsions, pocket = masks[:, rows].amax(1).tolist()
        return atoms, torsions, pocket

    def cropped(self, atoms: int, torsions: int, pocket: int) -> ComplexBatch:
        """Views of the first atoms, torsions and pocket atoms: complexes that have more of them must not be used."""
        return ComplexBatch(
            names=self.names,
            origin=self.origin,
            conformer=self.conformer[:, :atoms],
            atom_mask=self.atom_mask[:, :atoms],
            atom_features=self.atom_features[:, :atoms],
            bond_type=self.bond_type[:, :atoms, :atoms],
            hops=self.hops[:, :atoms, :atoms],
            torsion_bonds=self.torsion_bonds[:, :torsions],
            torsion_side=self.torsion_side[:, :torsions, :atoms],
            torsion_mask=self.torsion_mask[:, :torsions],
            pocket_positions=self.pocket_positions[:, :pocket],
            pocket_mask=self.pocket_mask[:, :pocket],
            pocket_element=self.pocket_element[:, :pocket],
            pocket_residue=self.pocket_residue[:, :pocket],
            pocket_atom_name=self.pocket_atom_name[:, :pocket],
            residue_embedding=self.residue_embedding,
        )


def _pad(rows: Sequence[NDArray[Any]], shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    out = torch.zeros((len(rows), *shape), dtype=dtype)
    for k, row in enumerate(rows):
        corner = tuple(slice(n) for n in row.shape)
        out[k][corner] = torch.from_numpy(row).to(dtype)
    return out


def _bond_matrix(ligand: Ligand) -> NDArray[np.int64]:
    matrix = np.zeros((ligand.n_atoms, ligand.n_atoms), dtype=np.int64)
    matrix[ligand.bond_index[0], ligand.bond_index[1]] = 1 + ligand.bond_type
    return matrix


def _embeddings(complexes: Sequence[Complex]) -> Tensor:
    found = [np.zeros((0, 0), np.float32) if c.embedding is None else c.embedding for c in complexes]
    return _pad(found, (max(len(x) for x in found), max(x.shape[1] for x in found)), torch.float32)


def collate(complexes: Sequence[Complex]) -> ComplexBatch:
    """Pad `complexes` to common sizes.

    Raises:
        ValueError: if `complexes` is empty.
    """
    if not complexes:
        raise ValueError("complexes: got an empty sequence, at least one complex is needed")
    ligands = [c.ligand for c in complexes]
    pockets = [c.pocket for c in complexes]
    n_a, n_r = max(x.n_atoms for x in ligands), max(x.n_torsions for x in ligands)
    n_p = max(len(x.positions) for x in pockets)
    long, real = torch.int64, torch.float32
    return ComplexBatch(
        names=tuple(c.name for c in complexes),
        origin=torch.stack([torch.from_numpy(p.origin) for p in pockets]),
        conformer=_pad([x.positions - p.origin for x, p in zip(ligands, pockets, strict=True)], (n_a, 3), real),
        atom_mask=_pad([np.ones(x.n_atoms) for x in ligands], (n_a,), torch.bool),
        atom_features=_pad([x.atom_features for x in ligands], (n_a, len(ATOM_FEATURE_DIMS)), long),
        bond_type=_pad([_bond_matrix(x) for x in ligands], (n_a, n_a), long),
        hops=_pad([x.hops for x in ligands], (n_a, n_a), long),
        torsion_bonds=_pad([x.torsion_bonds for x in ligands], (n_r, 2), long),
        torsion_side=_pad([x.torsion_mask for x in ligands], (n_r, n_a), torch.bool),
        torsion_mask=_pad([np.ones(x.n_torsions) for x in ligands], (n_r,), torch.bool),
        pocket_positions=_pad([p.positions - p.origin for p in pockets], (n_p, 3), real),
        pocket_mask=_pad([np.ones(len(p.positions)) for p in pockets], (n_p,), torch.bool),
        pocket_element=_pad([p.element for p in pockets], (n_p,), long),
        pocket_residue=_pad([p.residue for p in pockets], (n_p,), long),
        pocket_atom_name=_pad([p.atom_name for p in pockets], (n_p,), long),
        residue_embedding=_embeddings(complexes),
    )
