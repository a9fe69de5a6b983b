"""AutoDock Vina itself, as a baseline: the same protein, conformer and pocket (extra `vina`).

The receptor needs no preparation with hydrogens: Vina types them away but for donors, so that one is set beside every
atom that gives a hydrogen bond, pointing away from its neighbours.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import gemmi
import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from domains.docking.poses.files import posed
from domains.docking.ranking.vina_types import AtomTypes, protein_types
from domains.docking.structures.complexes import Complex
from domains.docking.structures.ligand import Ligand
from domains.docking.structures.pocket import PocketChoice
from domains.docking.structures.protein import Protein
from domains.docking.structures.symmetry import same_atoms

BOX_MARGIN: Final = 4.0
"""Å around the reference ligand, as gnina's autobox."""

_BOND: Final = 1.0  # Å, from a donor to its hydrogen
_REACH: Final = 12.0  # Å around the box; Vina looks 8 Å far
_PLAIN: Final = ("C", "P", "S", "F", "Mg", "Mn", "Ca", "Fe", "Zn", "Cl", "Br", "I", "Si")


class VinaPoses(NamedTuple):
    """What Vina found.

    positions    (S, A, 3) float32, Å, best first.
    scores       (S,) kcal/mol.
    cpu_seconds  of maps and search.
    """

    positions: NDArray[np.float32]
    scores: NDArray[np.float64]
    cpu_seconds: float


def dock_by_vina(
    complex_: Complex, exhaustiveness: int, poses: int, seed: int, choice: PocketChoice | None = None
) -> VinaPoses:
    """Dock into the box of a pocket, by default that around the known pose, on one core.

    Raises:
        ValueError: if no pose is known.
    """
    if complex_.reference is None:
        raise ValueError(f"{complex_.name} has no known pose to put the box around")
    began = time.process_time()
    vina = prepared(complex_, seed, choice)
    vina.dock(exhaustiveness=exhaustiveness, n_poses=poses)
    seconds = time.process_time() - began
    positions = _positions(complex_.ligand, vina.poses(n_poses=poses, energy_range=100.0))
    return VinaPoses(positions, vina.energies(n_poses=poses, energy_range=100.0)[:, 0], seconds)


def box_of(complex_: Complex, choice: PocketChoice | None = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two corners (3,), Å, of the box that is searched: the cube around the sphere of a pocket around a point; else
    4 Å more than the known pose takes, or the input coordinates where there is none.
    """
    reference = complex_.reference if complex_.reference is not None else complex_.ligand.positions
    if choice is None or choice.kind not in ("point", "point-of-ligand"):
        return reference.min(0) - BOX_MARGIN, reference.max(0) + BOX_MARGIN
    centre = reference.mean(0) if choice.xyz is None else np.array(choice.xyz, dtype=np.float32)
    return centre - np.float32(choice.radius), centre + np.float32(choice.radius)


def prepared(complex_: Complex, seed: int, choice: PocketChoice | None = None) -> Any:  # noqa: ANN401
    """A `vina.Vina` with the receptor, the ligand at its input coordinates, and maps of the box."""
    from vina import Vina

    low, high = box_of(complex_, choice)
    vina = Vina(sf_name="vina", cpu=1, seed=seed, verbosity=0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "receptor.pdbqt"
        file.write_text(receptor_pdbqt(complex_.protein, low - _REACH, high + _REACH))
        vina.set_receptor(str(file))
    vina.set_ligand_from_string(ligand_pdbqt(complex_.ligand))
    vina.compute_vina_maps(center=((low + high) / 2).tolist(), box_size=(high - low).tolist())
    return vina


def ligand_pdbqt(ligand: Ligand) -> str:
    """By Meeko, with hydrogens added."""
    from meeko import MoleculePreparation, PDBQTWriterLegacy

    with_hydrogens = Chem.AddHs(ligand.mol, addCoords=True)
    (setup,) = MoleculePreparation()(with_hydrogens)
    text, fine, message = PDBQTWriterLegacy.write_string(setup)
    if not fine:
        raise ValueError(f"Meeko cannot prepare {ligand.name}: {message}")
    return str(text)


def receptor_pdbqt(protein: Protein, low: NDArray[np.float32], high: NDArray[np.float32]) -> str:
    """Atoms of the protein between two corners (3,), Å, with AutoDock's types."""
    inside = ((protein.positions >= low) & (protein.positions <= high)).all(1)
    types, neighbours = protein_types(protein), _neighbours(protein)
    lines: list[str] = []
    for i in np.flatnonzero(inside).tolist():
        lines.append(_line(len(lines) + 1, protein.positions[i], _autodock_type(protein, types, i)))
        if types.donor[i] and protein.atomic_number[i] in (7, 8):
            lines.append(_line(len(lines) + 1, _hydrogen(protein, neighbours[i], i), "HD"))
    return "\n".join(lines) + "\n"


def _autodock_type(protein: Protein, types: AtomTypes, i: int) -> str:
    symbol = gemmi.Element(int(protein.atomic_number[i])).name
    if symbol == "N":
        return "NA" if types.acceptor[i] else "N"
    if symbol == "O":
        return "OA"
    return symbol if symbol in _PLAIN else ("Mg" if gemmi.Element(symbol).is_metal else "C")


def _hydrogen(protein: Protein, neighbours: list[int], i: int) -> NDArray[np.float32]:
    """Opposite to the neighbours' middle; straight up where there are none."""
    own = protein.positions[i]
    away = own - protein.positions[neighbours].mean(0) if neighbours else np.array([0, 0, 1])
    length = float(np.linalg.norm(away))
    return np.asarray(own + _BOND * (away / length if length > 0.1 else np.array([0, 0, 1])), dtype=np.float32)


def _neighbours(protein: Protein) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in protein.positions]
    for a, b in protein.bonds.tolist():
        found[a].append(b)
        found[b].append(a)
    return found


def _line(serial: int, xyz: NDArray[np.float32], kind: str) -> str:
    x, y, z = xyz.tolist()
    return f"ATOM  {serial:>5d}  X   UNK A   1    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00     0.000 {kind:<2s}"


def optimise_by_vina(complex_: Complex, positions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Poses (S, A, 3), Å, moved by Vina's own local optimiser."""
    vina = prepared(complex_, seed=1)
    found = []
    for pose in positions:
        vina.set_ligand_from_string(ligand_pdbqt(replace(complex_.ligand, mol=posed(complex_.ligand.mol, pose))))
        vina.optimize()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "pose.pdbqt"
            vina.write_pose(str(file), overwrite=True)
            found.append(_positions(complex_.ligand, file.read_text())[0])
    return np.stack(found)


def _positions(ligand: Ligand, text: str) -> NDArray[np.float32]:
    """Poses (S, A, 3), Å, of a PDBQT file by Vina, in the order of the ligand's atoms; the file's is another."""
    from meeko import PDBQTMolecule, RDKitMolCreate

    (mol,) = RDKitMolCreate.from_pdbqt_mol(PDBQTMolecule(text, skip_typing=True))
    heavy = Chem.RemoveAllHs(mol)
    numbers = np.array([atom.GetAtomicNum() for atom in heavy.GetAtoms()])
    bonds = np.array([(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in heavy.GetBonds()])
    places = same_atoms(ligand, numbers, bonds)
    if places is None:
        raise ValueError(f"Meeko gives back another molecule than {ligand.name}")
    return np.stack([conformer.GetPositions()[places] for conformer in heavy.GetConformers()]).astype(np.float32)
