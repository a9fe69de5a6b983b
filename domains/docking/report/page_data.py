"""What the script of a report works on: poses, contacts, the protein around them, all as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D
from scipy.spatial import cKDTree

from domains.docking.report.contacts import Contact, contacts
from domains.docking.report.folder import Results
from domains.docking.report.receptor_groups import ReceptorAtoms, read_receptor_atoms

_AROUND: Final = 18.0  # Å; residues farther from all poses are left out of the page
_FIRST: Final = ("score", "rmsd", "cluster", "valid")
_NOT_SHOWN: Final = ("rank", "name", "smiles", "row", "nfe", "seed", "grid", "weights", "sample", "poses")


def page_data(results: Results) -> dict[str, Any]:
    """Everything that the page shows and that changes with the chosen pose."""
    receptor = read_receptor_atoms(results.receptor)
    drawings: dict[str, int] = {}
    pictures: list[str] = []
    poses = []
    for index, mol in enumerate(results.poses):
        smiles = Chem.MolToSmiles(mol)
        if smiles not in drawings:
            drawings[smiles] = len(pictures)
            pictures.append(depiction(mol))
        poses.append(
            {
                "name": mol.GetProp("_Name"),
                "tags": {name: mol.GetProp(name) for name in mol.GetPropNames()},
                "mol": Chem.MolToMolBlock(mol),
                "picture": drawings[smiles],
                "smiles": smiles,
                "contacts": [_plain(contact) for contact in contacts(mol, receptor)],
                "index": index,
            }
        )
    reference = results.reference
    return {
        "poses": poses,
        "pictures": pictures,
        "columns": columns(results.poses),
        "protein": protein_around(results, receptor),
        "pocket": pocket_residues(results, receptor),
        "reference": None if reference is None else Chem.MolToMolBlock(reference),
        "reference_contacts": [] if reference is None else [_plain(c) for c in contacts(reference, receptor)],
        "is_screen": results.is_screen,
    }


def columns(poses: Sequence[Chem.Mol]) -> list[str]:
    """Tags that are worth a column: those that some pose has, without what is the same for all by design, and without
    the part of a score that has no other. What is looked at first comes first, for a page is narrow.
    """
    names = dict.fromkeys(name for mol in poses for name in mol.GetPropNames())
    values = {name: [mol.GetPropsAsDict(autoConvertStrings=False).get(name) for mol in poses] for name in names}
    same = {name for name in names if name.startswith("score_") and values[name] == values.get("score")}
    shown = [name for name in names if name not in _NOT_SHOWN and name not in same]
    return sorted(shown, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))


def depiction(mol: Chem.Mol) -> str:
    """A drawing of the molecule as SVG, without a background."""
    flat = Chem.Mol(mol)
    flat.RemoveAllConformers()
    rdDepictor.SetPreferCoordGen(True)
    rdDepictor.Compute2DCoords(flat)
    drawer = rdMolDraw2D.MolDraw2DSVG(340, 240)
    options: Any = drawer.drawOptions()  # RDKit's stubs give every field the class
    options.clearBackground = False
    options.bondLineWidth = 1.6
    options.padding = 0.06
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, flat)
    drawer.FinishDrawing()
    text: str = drawer.GetDrawingText()
    return text[text.index("<svg") :]


def protein_around(results: Results, receptor: ReceptorAtoms) -> str:
    """PDB lines of the residues near any pose."""
    atoms = np.concatenate([mol.GetConformer().GetPositions() for mol in results.poses])
    distance, _ = cKDTree(atoms).query(receptor.positions, distance_upper_bound=_AROUND)
    near = {receptor.residue[i].split()[0] for i in np.flatnonzero(np.isfinite(distance))}
    lines = results.receptor.read_text().splitlines()
    kept = [line for line in lines if line[:6] in ("ATOM  ", "HETATM") and _residue(line) in near]
    return "\n".join([*kept, "END"])


def pocket_residues(results: Results, receptor: ReceptorAtoms) -> list[dict[str, str]]:
    """Residues to draw as sticks: those of the pocket that docking saw, or near the poses where it does not say."""
    present = {word.split()[0] for word in receptor.residue}
    said = [word for word in results.run.get("pocket", {}).get("residues", ()) if word in present]
    if not said:
        atoms = np.concatenate([mol.GetConformer().GetPositions() for mol in results.poses])
        distance, _ = cKDTree(atoms).query(receptor.positions, distance_upper_bound=5.0)
        said = sorted({receptor.residue[i].split()[0] for i in np.flatnonzero(np.isfinite(distance))})
    found = []
    for word in said:
        chain, _, number = word.rpartition(":")
        found.append({"chain": chain, "resi": number.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")})
    return found


def _residue(line: str) -> str:
    return f"{line[20:22].strip()}:{line[22:27].strip()}"


def _plain(contact: Contact) -> dict[str, Any]:
    return {
        "residue": contact.residue,
        "kind": contact.kind,
        "distance": round(contact.distance, 2),
        "ligand": contact.ligand,
        "protein": contact.protein,
        "detail": contact.detail,
    }
