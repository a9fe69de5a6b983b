"""A ligand as the network sees it: heavy atoms, bonds, torsions, and one conformer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
from scipy.spatial.distance import pdist

from domains.docking.structures.atom_features import atom_features, bonds, hops
from domains.docking.structures.torsions import TorsionRule, torsions
from domains.errors import InputError, InputProblem

_NON_METALS = frozenset((1, 2, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 32, 33, 34, 35, 36, 51, 52, 53, 54, 85, 86))
_COINCIDENT = 0.1  # Å; no bond is shorter than 0.7 Å


@dataclass(frozen=True, eq=False)
class Ligand:
    """One molecule with A heavy atoms, E directed bonds and R rotatable bonds; everything in the order of ``mol``.

    mol            heavy atoms only, sanitised, one conformer.
    positions      (A, 3) float32, Å, in the frame of the file it came from.
    atom_features  (A, 16) int64, see ``ATOM_FEATURE_DIMS``.
    bond_index     (2, E) int64, both directions; bond_type (E,) int64: single, double, triple, aromatic, other.
    hops           (A, A) int64, bonds between two atoms, 4 = four or more.
    torsion_bonds  (R, 2) int64 rows (u, v); torsion_mask (R, A) bool, the atoms turned: v is one of them, u is not.
    """

    name: str
    mol: Chem.Mol
    positions: NDArray[np.float32]
    atom_features: NDArray[np.int64]
    bond_index: NDArray[np.int64]
    bond_type: NDArray[np.int64]
    hops: NDArray[np.int64]
    torsion_bonds: NDArray[np.int64]
    torsion_mask: NDArray[np.bool_]

    @property
    def n_atoms(self) -> int:
        return len(self.positions)

    @property
    def n_torsions(self) -> int:
        return len(self.torsion_bonds)


def from_mol(mol: Chem.Mol, name: str, rule: TorsionRule = "chemical", *, file: str = "", record: str = "") -> Ligand:
    """Ligand from an RDKit molecule with a 3-D conformer (the first is taken), sanitised here if need be.

    Every hydrogen is removed, isotopes too, so that coordinates and atoms always agree. Stereo tags are set from the
    coordinates. Raises ``InputError`` (naming ``file`` and ``record``) for a molecule that cannot be sanitised or
    docked: several fragments, a metal, fewer than two heavy atoms, coordinates that are missing, flat or coincident.
    """
    try:
        heavy = _heavy_atoms(mol)
        _check_composition(heavy)
        positions = heavy.GetConformer().GetPositions().astype(np.float32)
        _check_positions(positions)
    except _UnusableError as unusable:
        problem = InputProblem(file or "molecule", record or name, unusable.message, unusable.remedy)
        raise InputError(problem) from unusable
    turning, mask = torsions(heavy, rule)
    bond_index, bond_type = bonds(heavy)
    return Ligand(name, heavy, positions, atom_features(heavy), bond_index, bond_type, hops(heavy), turning, mask)


def from_smiles(smiles: str, name: str, seed: int, rule: TorsionRule = "chemical", *, file: str = "") -> Ligand:
    """Ligand from a SMILES with one ETKDGv3 conformer, relaxed with MMFF94 where it has parameters, around the origin.

    Raises ``InputError`` if RDKit cannot read the SMILES or finds no conformer.
    """
    file = file or "SMILES"
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
    if mol is None or not mol.GetNumAtoms():
        raise InputError(InputProblem(file, name, f"RDKit cannot read the SMILES '{smiles}'", "correct it"))
    conformer = _embed(mol, seed)
    if conformer is None:
        message = f"RDKit finds no conformer of '{smiles}'"
        raise InputError(InputProblem(file, name, message, "give an SDF with 3-D coordinates"))
    return from_mol(conformer, name, rule, file=file)


def with_conformer(ligand: Ligand, seed: int) -> Ligand:
    """The same ligand, atom for atom, with fresh RDKit coordinates around the origin. Raises ``InputError``."""
    conformer = _embed(ligand.mol, seed)
    if conformer is None:
        problem = InputProblem(ligand.name, "", "RDKit finds no conformer", "keep the bond geometry of the input file")
        raise InputError(problem)
    with rdBase.BlockLogs():
        heavy = Chem.RemoveAllHs(conformer)
    positions = heavy.GetConformer().GetPositions().astype(np.float32)
    return replace(ligand, mol=heavy, positions=positions)


class _UnusableError(Exception):
    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message, self.remedy = message, remedy


def _heavy_atoms(mol: Chem.Mol) -> Chem.Mol:
    if not mol.GetNumConformers():
        raise _UnusableError("there are no coordinates", "give a 3-D conformer, or a SMILES")
    with rdBase.BlockLogs():
        mol = Chem.Mol(mol, False, mol.GetConformer().GetId())
        try:
            Chem.SanitizeMol(mol)
        except Chem.MolSanitizeException as error:
            message = f"RDKit cannot sanitise the molecule ({error})"
            raise _UnusableError(message, "correct its valences, charges and aromatic bonds") from error
        Chem.AssignStereochemistryFrom3D(mol)
        return Chem.RemoveAllHs(mol)


def _check_composition(heavy: Chem.Mol) -> None:
    metals = sorted({a.GetSymbol() for a in heavy.GetAtoms() if a.GetAtomicNum() not in _NON_METALS})
    if metals:
        remedy = "remove the record: metals and dummy atoms cannot be docked"
        raise _UnusableError(f"it contains {', '.join(metals)}", remedy)
    if heavy.GetNumAtoms() < 2:
        raise _UnusableError("it has fewer than two heavy atoms", "remove the record: ions cannot be docked")
    fragments = len(Chem.GetMolFrags(heavy))
    if fragments > 1:
        raise _UnusableError(
            f"it has {fragments} fragments", "keep one molecule a record, without counter-ions or solvent"
        )


def _check_positions(positions: NDArray[np.float32]) -> None:
    remedy = "give 3-D coordinates, or a SMILES"
    if not np.isfinite(positions).all():
        raise _UnusableError("some coordinates are not numbers", remedy)
    if (positions == 0).all():
        raise _UnusableError("all coordinates are zero", remedy)
    if (positions[:, 2] == 0).all():
        raise _UnusableError("the coordinates are a 2-D drawing (every z is zero)", remedy)
    if pdist(positions).min() < _COINCIDENT:
        raise _UnusableError(f"two heavy atoms are closer than {_COINCIDENT} Å", remedy)


def _embed(mol: Chem.Mol, seed: int) -> Chem.Mol | None:
    """The molecule with hydrogens and one conformer; random start coordinates if ETKDG's own start fails."""
    if seed < 0:
        raise ValueError(f"seed is {seed}; give a number >= 0, for RDKit takes a negative one as unseeded")
    with rdBase.BlockLogs():
        full = Chem.AddHs(mol)
        parameters = rdDistGeom.ETKDGv3()
        parameters.randomSeed = seed  # type: ignore[assignment]  # RDKit's stubs give every field the class
        if rdDistGeom.EmbedMolecule(full, parameters) < 0:
            parameters.useRandomCoords = True  # type: ignore[assignment]
            if rdDistGeom.EmbedMolecule(full, parameters) < 0:
                return None
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(full):
            rdForceFieldHelpers.MMFFOptimizeMolecule(full)
        return full
