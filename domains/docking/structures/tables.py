"""Complexes from a CSV table in DiffDock's format, with columns for poses that are known and for templates."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domains.docking.structures.csv_rows import read_rows
from domains.docking.structures.isomers import SmilesReader
from domains.docking.structures.ligand import Ligand
from domains.docking.structures.ligand_files import LIGAND_SUFFIXES, LigandReader
from domains.docking.structures.protein import Protein
from domains.docking.structures.protein_files import read_protein
from domains.docking.structures.records import Record, only_ligand
from domains.docking.structures.symmetry import same_atoms
from domains.errors import InputError, InputProblem

TABLE_SUFFIXES: tuple[str, ...] = (".csv", ".tsv")
_REQUIRED = ("protein_path", "ligand_description")
_KNOWN = ("complex_name", *_REQUIRED, "protein_sequence", "known_pose")
_OTHER_SUFFIXES = (".gz", ".pdb", ".pdbqt", ".cif", ".mae", ".xyz", ".smi")  # of ligand files that cannot be read


def table_records(
    table: Path, read: LigandReader, read_smiles: SmilesReader, keep: frozenset[str] = frozenset()
) -> Iterator[Record | InputProblem]:
    """From the columns protein_path, ligand_description and, if need be, complex_name and known_pose.

    A ligand_description that ends like a ligand file is a path, and anything else a SMILES, read by
    ``read_smiles``. A complex is called complex_name, or complex_LINE without one; of a file of several ligands each
    is docked, as complex_name/TITLE. known_pose is "yes" if the coordinates of that file are the bound pose, "no" if
    they are not, or the path of a file of the same molecule in its bound pose. Relative paths start at the table.
    protein_sequence is not used: proteins are not folded here.
    """
    try:
        rows, remarks = read_rows(table, _REQUIRED, _KNOWN)
    except InputError as error:
        yield error.problem
        return
    yield from remarks
    if any(row.get("protein_sequence") for _, row in rows):
        message = "protein_sequence is ignored, for proteins are not folded here"
        yield InputProblem(str(table), "", message, "give every row a protein_path")
    proteins = _Proteins(keep)
    for number, row in rows:
        name = row.get("complex_name") or f"complex_{number}"
        where = InputProblem(str(table), f"line {number} ({name})", "", "")
        try:
            yield from _of_row(name, row, proteins, table.parent, where, read, read_smiles)
        except InputError as error:
            yield error.problem


def _of_row(
    name: str,
    row: Mapping[str, str],
    proteins: _Proteins,
    folder: Path,
    where: InputProblem,
    read: LigandReader,
    read_smiles: SmilesReader,
) -> Iterator[Record | InputProblem]:
    description, known = row["ligand_description"], row.get("known_pose", "")
    if not row["protein_path"] or not description:
        raise InputError(replace(where, message="protein_path or ligand_description is empty", remedy="fill in both"))
    protein = proteins.read(folder / row["protein_path"], where)
    is_file = _names_a_file(description, folder)
    ligands = list(read(folder / description)) if is_file else list(read_smiles(description, name, where))
    several = len(ligands) > 1
    other = None
    if known.lower() not in ("", "yes", "no"):
        if several:
            message = f"{description} has several ligands, and known_pose is one file"
            raise InputError(replace(where, message=message, remedy="give each ligand a row of its own"))
        other = only_ligand(read(folder / known), where)
    for ligand in ligands:
        if isinstance(ligand, InputProblem):
            yield ligand
            continue
        own = f"{name}/{ligand.name}" if several else name
        titled = replace(ligand, name=own)
        if other is None:
            is_known = {"": None, "yes": True, "no": False}[known.lower()]
            yield Record(own, protein, titled, ligand.pose, is_known, where)
        else:
            yield Record(own, protein, titled, _in_order_of(ligand, other, folder / known, where), True, where)


class _Proteins:
    """Proteins of a table, each of which is read once; ``keep``: additives that stay."""

    def __init__(self, keep: frozenset[str]) -> None:
        self._keep = keep
        self._found: dict[Path, Protein | InputError] = {}

    def read(self, path: Path, where: InputProblem) -> Protein:
        if path not in self._found:
            try:
                self._found[path] = read_protein(path, self._keep)
            except InputError as error:
                self._found[path] = error
        found = self._found[path]
        if isinstance(found, InputError):
            problem = found.problem
            message = f"{problem.file}: {problem.message}"
            raise InputError(replace(where, message=message, remedy=problem.remedy)) from found
        return found


def _in_order_of(ligand: Ligand, other: Ligand, file: Path, where: InputProblem) -> NDArray[np.float32] | None:
    """Coordinates (A, 3), Å, of another record of the same molecule, in the order of the ligand's atoms."""
    numbers = np.array([atom.GetAtomicNum() for atom in other.mol.GetAtoms()])
    places = same_atoms(ligand, numbers, other.bond_index[:, ::2].T)
    if places is None:
        message = f"the molecule in {file} is not the ligand (other elements or bonds)"
        raise InputError(replace(where, message=message, remedy="give the bound pose of this ligand, or yes or no"))
    if other.pose is None:
        message = f"{file} is a drawing and no pose"
        raise InputError(replace(where, message=message, remedy="give the bound pose of this ligand, or yes or no"))
    return other.pose[places]


def _names_a_file(description: str, folder: Path) -> bool:
    """Whether a ligand is given as a file, of a kind that can be read or not, rather than as SMILES."""
    is_known = Path(description).suffix.lower() in (*LIGAND_SUFFIXES, *_OTHER_SUFFIXES)
    return is_known or os.path.isfile(folder / description)  # a long SMILES is no path at all
