"""Categorical description of ligand atoms and bonds, in DiffDock's column order (arXiv 2210.01776)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

ATOM_FEATURE_DIMS: tuple[int, ...] = (119, 4, 12, 12, 8, 10, 6, 6, 2, 8, 2, 2, 2, 2, 2, 2)
"""Number of categories of each atom column: element, chirality, degree, charge, implicit valence, hydrogens, radical
electrons, hybridisation, aromatic, ring count, and membership in rings of 3, 4, 5, 6, 7 and 8 atoms."""

BOND_TYPES = 5
"""Number of bond categories: single, double, triple, aromatic, other (dative and whatever else RDKit knows)."""

_CHIRALITY = (
    Chem.ChiralType.CHI_UNSPECIFIED,
    Chem.ChiralType.CHI_TETRAHEDRAL_CW,
    Chem.ChiralType.CHI_TETRAHEDRAL_CCW,
)
_HYBRIDISATION = (
    Chem.HybridizationType.SP,
    Chem.HybridizationType.SP2,
    Chem.HybridizationType.SP3,
    Chem.HybridizationType.SP3D,
    Chem.HybridizationType.SP3D2,
)
_BOND = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE, Chem.BondType.AROMATIC)


def atom_features(mol: Chem.Mol) -> NDArray[np.int64]:
    """(A, 16) int64 category of every atom and column; unknown values take the last category of their column."""
    rings = mol.GetRingInfo()
    rows = []
    for atom in mol.GetAtoms():
        index = atom.GetIdx()
        rows.append(
            [
                _category(atom.GetAtomicNum(), range(1, 119)),
                _category(atom.GetChiralTag(), _CHIRALITY),
                _category(atom.GetTotalDegree(), range(11)),
                _category(atom.GetFormalCharge(), range(-5, 6)),
                _category(atom.GetValence(Chem.ValenceType.IMPLICIT), range(7)),
                _category(atom.GetTotalNumHs(), range(9)),
                _category(atom.GetNumRadicalElectrons(), range(5)),
                _category(atom.GetHybridization(), _HYBRIDISATION),
                int(atom.GetIsAromatic()),
                _category(rings.NumAtomRings(index), range(7)),
                *(int(rings.IsAtomInRingOfSize(index, size)) for size in range(3, 9)),
            ]
        )
    return np.array(rows, dtype=np.int64).reshape(-1, len(ATOM_FEATURE_DIMS))


def bonds(mol: Chem.Mol) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Directed bonds (2, E) and their category (E,), int64: u -> v and v -> u next to each other, in RDKit's order."""
    ends, types = [], []
    for bond in mol.GetBonds():
        u, v = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        ends += [(u, v), (v, u)]
        types += [_category(bond.GetBondType(), _BOND)] * 2
    return np.array(ends, dtype=np.int64).reshape(-1, 2).T.copy(), np.array(types, dtype=np.int64)


def hops(mol: Chem.Mol, cap: int = 4) -> NDArray[np.int64]:
    """(A, A) int64 number of bonds on the shortest path between two atoms; ``cap`` means ``cap`` or more."""
    distance: NDArray[np.float64] = Chem.GetDistanceMatrix(mol)
    return np.minimum(distance, cap).astype(np.int64)


def _category(value: object, known: Sequence[object]) -> int:
    return known.index(value) if value in known else len(known)
