"""Molecules that were drawn rather than built in space: how to tell, and what their wedges say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom

_FLAT = 0.05  # Å from a common plane; coordinates are written to 1e-3 or 1e-4
_CRUDE = 0.1  # Å, RMS error of bonds and of distances across angles; crystal poses have 0.03 to 0.07, drawings > 0.13
_NEVER_FLAT = "[C,Si;^3;$(*(~[!#1])(~[!#1])~[!#1]),$(*([#1])[#1])]"


def is_flat(positions: NDArray[np.float64]) -> bool:
    """Whether points (A, 3), Å, lie in one plane."""
    return bool(np.abs((positions - positions.mean(0)) @ _normal(positions)).max() < _FLAT)


def is_drawing(mol: Chem.Mol, says_2d: bool) -> bool:
    """Whether a sanitised molecule with a conformer, hydrogens included if it has any, is a drawing.

    It is if its atoms lie in a plane and (a) its file says so, or (b) it has an sp3 carbon that no plane can hold, or
    (c) its bonds and angles are those of no molecule. Flat molecules with true bonds and angles are none.
    """
    positions = mol.GetConformer().GetPositions()
    if not is_flat(positions):
        return False
    return says_2d or mol.HasSubstructMatch(Chem.MolFromSmarts(_NEVER_FLAT)) or _crude(mol, positions)


def has_wedges(mol: Chem.Mol) -> bool:
    """Whether a MOL file's bonds point to or from the reader."""
    mol = Chem.Mol(mol)
    Chem.ReapplyMolBlockWedging(mol)
    return any(bond.GetBondDir() in (Chem.BondDir.BEGINWEDGE, Chem.BondDir.BEGINDASH) for bond in mol.GetBonds())


def from_wedges(mol: Chem.Mol) -> Chem.Mol | None:
    """The drawn molecule with the stereo of its wedges and of its double bonds; all other stereo is open.

    ``None`` if it has wedges and is not drawn in a plane of constant z: nobody knows from which side to look at it.
    """
    positions = mol.GetConformer().GetPositions()
    upright = bool(np.ptp(positions[:, 2]) < 2 * _FLAT)
    mol = Chem.Mol(mol)
    with rdBase.BlockLogs():
        for atom in mol.GetAtoms():
            atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
        Chem.ReapplyMolBlockWedging(mol)
        if not upright and has_wedges(mol):
            return None
        mol.GetConformer().SetPositions(_in_plane(positions, upright))
        mol.GetConformer().Set3D(False)
        Chem.AssignChiralTypesFromBondDirs(mol)
        Chem.DetectBondStereochemistry(mol, -1)
        Chem.AssignStereochemistry(mol, cleanIt=True, force=True)
    return mol


def _normal(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the plane through points (A, 3) that fits best."""
    normal: NDArray[np.float64] = np.linalg.svd(positions - positions.mean(0))[2][2]
    return normal


def _in_plane(positions: NDArray[np.float64], upright: bool) -> NDArray[np.float64]:
    """Drawn coordinates with z = 0."""
    if upright:
        return positions * np.array([1.0, 1.0, 0.0])
    centred = positions - positions.mean(0)
    return np.column_stack([centred @ np.linalg.svd(centred)[2][:2].T, np.zeros(len(centred))])


def _crude(mol: Chem.Mol, positions: NDArray[np.float64]) -> bool:
    """Whether distances over one and two bonds are far from what RDKit allows for these atoms."""
    with rdBase.BlockLogs():
        bounds = rdDistGeom.GetMoleculeBoundsMatrix(mol)
    upper, lower = np.triu(bounds, 1), np.tril(bounds, -1).T
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    near = np.triu(Chem.GetDistanceMatrix(mol) <= 2, 1)
    error = np.maximum(distance - upper, 0.0) + np.maximum(lower - distance, 0.0)
    return bool(np.sqrt(np.mean(error[near] ** 2)) > _CRUDE)
