"""RDKit's conformers laid over bound poses: what docking from a SMILES can reach at best.

A user's ligand has the bond lengths, angles and rings of a conformer generator. Training on crystal coordinates alone
would show the network ligands that it never meets (DiffDock's conformer matching, Corso et al. 2023, arXiv 2210.01776,
appendix C).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdMolAlign, rdMolTransforms

from domains.docking.structures.ligand import Ligand, with_conformer
from domains.errors import InputError

_STRAIGHT = 175.0  # degrees; beyond, three atoms say nothing about a dihedral angle


def matched_conformer(ligand: Ligand, seed: int, tries: int = 3, farthest: float = 1.5) -> NDArray[np.float32] | None:
    """A fresh conformer with the torsions of the ligand's coordinates, superposed on them: (A, 3) Å, in their frame.

    Of several conformers the nearest one, for rings have several forms. None if RDKit finds none, or if none comes
    nearer than `farthest` (RMSD, Å).

    Args:
        ligand: in its bound pose.
        seed: of the first conformer; the next ones follow.
        tries: number of conformers.
        farthest: allowed RMSD, Å.
    """
    best, found = farthest, None
    for attempt in range(tries):
        try:
            fresh = with_conformer(ligand, seed + attempt).mol
        except InputError:
            return None
        for u, v in ligand.torsion_bonds.tolist():
            _copy_dihedral(ligand.mol, fresh, u, v)
        rmsd = rdMolAlign.AlignMol(fresh, ligand.mol, atomMap=[(i, i) for i in range(ligand.n_atoms)])
        if rmsd < best:
            best, found = rmsd, fresh.GetConformer().GetPositions().astype(np.float32)
    return found


def _copy_dihedral(source: Chem.Mol, target: Chem.Mol, u: int, v: int) -> None:
    """Give the bond u-v of `target` the dihedral angle that it has in `source`, if it has one."""
    conformer = source.GetConformer()
    a = next(n.GetIdx() for n in source.GetAtomWithIdx(u).GetNeighbors() if n.GetIdx() != v)
    b = next(n.GetIdx() for n in source.GetAtomWithIdx(v).GetNeighbors() if n.GetIdx() != u)
    angles = [
        rdMolTransforms.GetAngleDeg(mol.GetConformer(), *ends)
        for mol in (source, target)
        for ends in ((a, u, v), (u, v, b))
    ]
    if max(angles) < _STRAIGHT:
        angle = rdMolTransforms.GetDihedralDeg(conformer, a, u, v, b)
        rdMolTransforms.SetDihedralDeg(target.GetConformer(), a, u, v, b, angle)
