"""Signs that the bond orders of a molecule were lost: it is written saturated, and its geometry is not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

_PLANAR = 0.1  # Å of a carbon from the plane of its three neighbours; 0.5 in a tetrahedron
_FLAT_RING = 0.04  # Å, RMS; 0.15 and more in saturated rings
_SHORT = {(6, 6): 1.40, (6, 7): 1.33, (6, 8): 1.29}  # Å; between saturated atoms they are 1.53, 1.47 and 1.43


def lost_orders(mol: Chem.Mol, positions: NDArray[np.floating]) -> str:
    """What a sanitised molecule of heavy atoms at positions (A, 3), Å, shows of lost bond orders; "" if it looks whole.

    A crystal pose may have an atom or two that is drawn flat or near, and 1684 of them (fep_plus and complexes) show no
    more than that; a flat ring of saturated carbons is in none of them.
    """
    saturated = {a.GetIdx() for a in mol.GetAtoms() if a.GetHybridization() == Chem.HybridizationType.SP3}
    carbons = {i for i in saturated if mol.GetAtomWithIdx(i).GetAtomicNum() == 6}
    rings = [ring for ring in mol.GetRingInfo().AtomRings() if len(ring) in (5, 6) and carbons.issuperset(ring)]
    flat_rings = sum(_deviation(positions[list(ring)]) < _FLAT_RING for ring in rings)
    planar = sum(_height(mol, positions, i) < _PLANAR for i in carbons)
    short = sum(_is_short(bond, positions) for bond in mol.GetBonds() if saturated.issuperset(_ends(bond)))
    all_single = all(bond.GetBondType() == Chem.BondType.SINGLE for bond in mol.GetBonds())
    if not flat_rings and not (all_single and planar + short >= max(1, mol.GetNumAtoms() / 10)) and planar < 3:
        return ""
    found = {"saturated rings that are flat": flat_rings, "sp3 carbons that are planar": planar}
    found["single bonds as short as double ones"] = short
    return ", ".join(f"{n} {what}" for what, n in found.items() if n)


def lost_hydrogens(mol: Chem.Mol) -> int:
    """Pairs of bonded atoms that both lack hydrogens, in a sanitised molecule whose file has most of them."""
    implicit = {atom.GetIdx(): atom.GetTotalNumHs() for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1}
    written = sum(atom.GetAtomicNum() == 1 for atom in mol.GetAtoms())
    if written <= sum(implicit.values()):
        return 0
    return sum(all(implicit.get(end) for end in _ends(bond)) for bond in mol.GetBonds())


def _ends(bond: Chem.Bond) -> tuple[int, int]:
    return bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()


def _is_short(bond: Chem.Bond, positions: NDArray[np.floating]) -> bool:
    numbers = sorted((bond.GetBeginAtom().GetAtomicNum(), bond.GetEndAtom().GetAtomicNum()))
    a, b = _ends(bond)
    return bool(np.linalg.norm(positions[a] - positions[b]) < _SHORT.get((numbers[0], numbers[1]), 0.0))


def _deviation(points: NDArray[np.floating]) -> float:
    """RMS distance, Å, of points (n, 3) from the plane that fits them best."""
    singular = np.linalg.svd(points - points.mean(0), compute_uv=False)
    return float(singular[2] / np.sqrt(len(points)))


def _height(mol: Chem.Mol, positions: NDArray[np.floating], atom: int) -> float:
    """Å of an atom with three neighbours from their plane; infinite with fewer or more."""
    neighbours = [n.GetIdx() for n in mol.GetAtomWithIdx(atom).GetNeighbors()]
    if len(neighbours) != 3:
        return float("inf")
    a, b, c = positions[neighbours]
    normal = np.cross(b - a, c - a)
    return float(abs(np.dot(positions[atom] - a, normal)) / max(float(np.linalg.norm(normal)), 1e-9))
