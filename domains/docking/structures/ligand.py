"""A ligand as the network sees it: heavy atoms, bonds, torsions, and one conformer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from domains.docking.structures.atom_features import atom_features, bonds, hops
from domains.docking.structures.drawings import from_wedges, has_wedges, is_drawing
from domains.docking.structures.missing_orders import lost_hydrogens, lost_orders
from domains.docking.structures.stereo import stereo_remark
from domains.docking.structures.templates import NO_TEMPLATES, skeleton, with_template
from domains.docking.structures.torsions import TorsionRule, torsions
from domains.docking.structures.written_molecules import (
    TEMPLATE_REMEDY,
    UnusableError,
    check_composition,
    check_positions,
    sanitised,
)
from domains.errors import InputError, InputProblem


@dataclass(frozen=True, eq=False)
class Ligand:
    """One molecule with A heavy atoms, E directed bonds and R rotatable bonds; everything in the order of ``mol``.

    mol            heavy atoms only, sanitised, one conformer.
    positions      (A, 3) float32, Å, in the frame of the file it came from; around the origin without a pose.
    atom_features  (A, 16) int64, see ``ATOM_FEATURE_DIMS``.
    bond_index     (2, E) int64, both directions; bond_type (E,) int64: single, double, triple, aromatic, other.
    hops           (A, A) int64, bonds between two atoms, 4 = four or more.
    torsion_bonds  (R, 2) int64 rows (u, v); torsion_mask (R, A) bool, the atoms turned: v is one of them, u is not.
    source         where the positions come from: the pose in a file, or RDKit, for a drawing or a SMILES.
    remarks        lines about what was repaired, assumed or chosen when it was read.
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
    source: Literal["pose", "drawing", "SMILES"] = "pose"
    remarks: tuple[str, ...] = ()

    @property
    def pose(self) -> NDArray[np.float32] | None:
        """The positions if they are those of a file."""
        return self.positions if self.source == "pose" else None

    @property
    def n_atoms(self) -> int:
        return len(self.positions)

    @property
    def n_torsions(self) -> int:
        return len(self.torsion_bonds)


def from_mol(
    mol: Chem.Mol,
    name: str,
    rule: TorsionRule = "chemical",
    *,
    file: str = "",
    record: str = "",
    templates: Mapping[str, Chem.Mol] = NO_TEMPLATES,
) -> Ligand:
    """Ligand from an RDKit molecule with a 3-D conformer (the first is taken), sanitised here if need be.

    Every hydrogen is removed, isotopes too, so that coordinates and atoms always agree. Stereo tags are set from the
    coordinates. Bond orders come from a template of the same skeleton if there is one (see
    :func:`domains.docking.structures.templates.templates_of`).

    Raises:
        InputError: (naming `file` and `record`) for a molecule that cannot be sanitised or docked: several fragments, a
            metal, fewer than two heavy atoms, bond orders that were lost, radicals that nobody declared, coordinates
            that are missing, coincident or a drawing.
    """
    with _naming(file or "molecule", record or name):
        sound = _sound(mol, templates)
        if is_drawing(sound.mol, says_2d=False):
            _check_orders(sound)
            raise UnusableError("the coordinates are a 2-D drawing", "give 3-D coordinates, or a SMILES")
        return _posed(sound, name, rule)


def from_file(
    mol: Chem.Mol,
    name: str,
    rule: TorsionRule,
    seed: int,
    *,
    says_2d: bool,
    file: str,
    record: str,
    templates: Mapping[str, Chem.Mol] = NO_TEMPLATES,
) -> Ligand:
    """Like ``from_mol``, but a drawing (``says_2d``: its file says so) gets a conformer from ``seed``, and no pose."""
    with _naming(file, record):
        sound = _sound(mol, templates)
        if not is_drawing(sound.mol, says_2d):
            said = ("its file says 2D, but its coordinates are not flat: taken as 3-D",) if says_2d else ()
            return _posed(sound._replace(remarks=(*sound.remarks, *said)), name, rule)
        if not says_2d and not has_wedges(sound.mol):
            _check_orders(sound)
        drawn = from_wedges(sound.mol)
        if drawn is None:
            message = "it is a drawing with wedges that is not in the plane of x and y"
            raise UnusableError(message, "give a SMILES, or 3-D coordinates: nobody knows its stereo")
        conformer = _embed(drawn, seed)
        if conformer is None:
            raise UnusableError("it is a drawing, and RDKit finds no conformer", "give 3-D coordinates")
        ligand = _built(conformer, name, rule)
        remarks = (*sound.remarks, "it is a drawing: conformer by RDKit", *stereo_remark(drawn, ligand.mol))
        return replace(ligand, source="drawing", remarks=remarks)


def from_smiles(
    smiles: str, name: str, seed: int, rule: TorsionRule = "chemical", *, file: str = "", record: str = ""
) -> Ligand:
    """Ligand from a SMILES with one ETKDGv3 conformer, relaxed with MMFF94 where it has parameters, around the origin.

    An extension (CXSMILES, "|...|") may follow the SMILES, and nothing else. Stereo that is open is said in a remark.

    Raises:
        InputError: if RDKit cannot read the SMILES or finds no conformer.
    """
    with _naming(file or "SMILES", record or name):
        rest = smiles.split(maxsplit=1)[1:]
        if rest and not (rest[0].startswith("|") and rest[0].rstrip().endswith("|")):
            message = f"there is a space in the SMILES '{smiles}'"
            raise UnusableError(message, "give the SMILES alone, as one word, and the name in the column for names")
        with rdBase.BlockLogs():
            mol = Chem.MolFromSmiles(smiles)
        if mol is None or not mol.GetNumAtoms():
            raise UnusableError(f"RDKit cannot read the SMILES '{smiles}'", "correct it")
        mol, _ = sanitised(mol)
        check_composition(mol)
        conformer = _embed(mol, seed)
        if conformer is None:
            raise UnusableError(f"RDKit finds no conformer of '{smiles}'", "give an SDF with 3-D coordinates")
        ligand = _built(conformer, name, rule)
        return replace(ligand, source="SMILES", remarks=stereo_remark(mol, ligand.mol))


def smiles_and_name(text: str) -> tuple[str, str]:
    """A SMILES, with its extension ("|...|") if there is one, and the name that follows, as in a .smi file.

    Raises:
        InputError: if the name reads as a SMILES too: a blank within a SMILES would cut it in two.
    """
    smiles, *rest = text.split(maxsplit=1) or [""]
    extension, name = "", rest[0].strip() if rest else ""
    if name.startswith("|") and "|" in name[1:]:
        end = name.index("|", 1) + 1
        extension, name = f" {name[:end]}", name[end:].strip()
    with rdBase.BlockLogs():
        is_smiles = bool(name) and Chem.MolFromSmiles(name.split()[0], sanitize=False) is not None
    if is_smiles:
        message = f"'{name}' after the SMILES '{smiles}' can be its name, or the rest of it"
        raise InputError(
            InputProblem("SMILES", text, message, "write the SMILES without blanks, or choose another name")
        )
    return smiles + extension, name


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


@contextmanager
def _naming(file: str, record: str) -> Iterator[None]:
    """What is wrong with a molecule becomes the problem of a record of a file."""
    try:
        yield
    except UnusableError as unusable:
        raise InputError(InputProblem(file, record, unusable.message, unusable.remedy)) from unusable


class _Sound(NamedTuple):
    mol: Chem.Mol  # sanitised, with the hydrogens of its file and one conformer
    remarks: tuple[str, ...]
    by_template: bool


def _sound(mol: Chem.Mol, templates: Mapping[str, Chem.Mol]) -> _Sound:
    if not mol.GetNumConformers():
        raise UnusableError("there are no coordinates", "give a 3-D conformer, or a SMILES")
    mol = Chem.Mol(mol, False, mol.GetConformer().GetId())
    check_positions(mol)
    template = templates.get(skeleton(mol)) if templates else None
    if template is not None:
        mol, _ = sanitised(with_template(mol, template))
        check_composition(mol)
        return _Sound(mol, (f"bond orders and charges of the template {Chem.MolToSmiles(template)}",), True)
    mol, repairs = sanitised(mol)
    check_composition(mol)
    if pairs := lost_hydrogens(mol):
        raise UnusableError(f"{pairs} of its single bonds join atoms that lack a hydrogen", TEMPLATE_REMEDY)
    return _Sound(mol, repairs, False)


def _posed(sound: _Sound, name: str, rule: TorsionRule) -> Ligand:
    """Ligand in the pose of its file."""
    _check_orders(sound)
    return replace(_built(sound.mol, name, rule), remarks=sound.remarks)


def _check_orders(sound: _Sound) -> None:
    with rdBase.BlockLogs():
        heavy = Chem.RemoveAllHs(sound.mol)
    if not sound.by_template and (signs := lost_orders(heavy, heavy.GetConformer().GetPositions())):
        raise UnusableError(f"its bond orders were lost, or it is a drawing ({signs})", TEMPLATE_REMEDY)


def _built(mol: Chem.Mol, name: str, rule: TorsionRule) -> Ligand:
    """Of a sanitised molecule in space."""
    with rdBase.BlockLogs():
        for bond in mol.GetBonds():
            bond.SetStereo(Chem.BondStereo.STEREONONE)  # "any" would stay
            bond.SetBondDir(Chem.BondDir.NONE)
            bond.ClearProp("_UnknownStereo")
        Chem.AssignStereochemistryFrom3D(mol)
        heavy = Chem.RemoveAllHs(mol)
    positions = heavy.GetConformer().GetPositions().astype(np.float32)
    turning, mask = torsions(heavy, rule)
    bond_index, bond_type = bonds(heavy)
    return Ligand(name, heavy, positions, atom_features(heavy), bond_index, bond_type, hops(heavy), turning, mask)


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
