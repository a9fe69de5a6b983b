"""Complexes from a CSV table in DiffDock's format, with a column for poses that are known."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domains.docking.structures.ligand import Ligand, from_smiles
from domains.docking.structures.ligand_files import LIGAND_SUFFIXES, read_ligands
from domains.docking.structures.protein import Protein
from domains.docking.structures.protein_files import read_protein
from domains.docking.structures.records import Record, only_ligand
from domains.docking.structures.symmetry import same_atoms
from domains.docking.structures.text_files import read_text
from domains.docking.structures.torsions import TorsionRule
from domains.errors import InputError, InputProblem

_REQUIRED = ("complex_name", "protein_path", "ligand_description")
_KNOWN = (*_REQUIRED, "protein_sequence", "known_pose")
_OTHER_SUFFIXES = (".gz", ".pdb", ".pdbqt", ".cif", ".mae", ".xyz", ".smi")  # of ligand files that cannot be read


def table_records(
    table: Path, rule: TorsionRule, seed: int, keep: frozenset[str] = frozenset()
) -> Iterator[Record | InputProblem]:
    """From the columns complex_name, protein_path, ligand_description and, if need be, known_pose.

    A ligand_description that ends like a ligand file is a path, and anything else a SMILES, which gets a conformer
    from ``seed``. known_pose is "yes" if the coordinates of that file are the bound pose, "no" if they are not, or the
    path of a file of the same molecule in its bound pose. Relative paths start at the table. protein_sequence is not
    used: proteins are not folded here.
    """
    try:
        rows, remarks = _read_rows(table)
    except InputError as error:
        yield error.problem
        return
    yield from remarks
    proteins = _Proteins(keep)
    for number, row in rows:
        name = row["complex_name"] or f"complex_{number}"
        where = InputProblem(str(table), f"line {number} ({name})", "", "")
        try:
            yield _record(name, row, proteins, table.parent, where, rule, seed)
        except InputError as error:
            yield error.problem


def _record(
    name: str,
    row: Mapping[str, str],
    proteins: _Proteins,
    folder: Path,
    where: InputProblem,
    rule: TorsionRule,
    seed: int,
) -> Record:
    description, known = row["ligand_description"], row.get("known_pose", "")
    if not row["protein_path"] or not description:
        raise InputError(replace(where, message="protein_path or ligand_description is empty", remedy="fill in both"))
    protein = proteins.read(folder / row["protein_path"], where)
    pose: NDArray[np.float32] | None = None
    if _names_a_file(description, folder):
        ligand = only_ligand(read_ligands(folder / description, rule), where)
        pose = ligand.positions
    else:
        ligand = from_smiles(description, name, seed, rule, file=where.file)
    if known.lower() in ("", "yes", "no"):
        return Record(name, protein, ligand, pose, {"": None, "yes": True, "no": False}[known.lower()], where)
    other = only_ligand(read_ligands(folder / known, rule), where)
    return Record(name, protein, ligand, _in_order_of(ligand, other, folder / known, where), True, where)


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


def _in_order_of(ligand: Ligand, other: Ligand, file: Path, where: InputProblem) -> NDArray[np.float32]:
    """Coordinates (A, 3), Å, of another record of the same molecule, in the order of the ligand's atoms."""
    numbers = np.array([atom.GetAtomicNum() for atom in other.mol.GetAtoms()])
    places = same_atoms(ligand, numbers, other.bond_index[:, ::2].T)
    if places is None:
        message = f"the molecule in {file} is not the ligand (other elements or bonds)"
        raise InputError(replace(where, message=message, remedy="give the bound pose of this ligand, or yes or no"))
    return other.positions[places]


def _names_a_file(description: str, folder: Path) -> bool:
    """Whether a ligand is given as a file, of a kind that can be read or not, rather than as SMILES."""
    is_known = Path(description).suffix.lower() in (*LIGAND_SUFFIXES, *_OTHER_SUFFIXES)
    return is_known or os.path.isfile(folder / description)  # a long SMILES is no path at all


def _read_rows(table: Path) -> tuple[list[tuple[int, dict[str, str]]], list[InputProblem]]:
    """Rows with their line numbers, and remarks about columns. Raises ``InputError`` if there is no usable row."""

    def problem(record: str, message: str, remedy: str) -> InputProblem:
        return InputProblem(str(table), record, message, remedy)

    columns_remedy = f"use the columns {', '.join(_KNOWN)}"
    reader = csv.DictReader(read_text(table, "a CSV file").splitlines(keepends=True), restval="", skipinitialspace=True)
    rows: list[tuple[int, dict[str, str]]] = []
    remarks: list[InputProblem] = []
    try:
        for row in reader:
            if None in row:
                remarks.append(problem(f"line {reader.line_num}", "it has more fields than the header", "quote commas"))
            else:
                rows.append((reader.line_num, {key.strip(): value.strip() for key, value in row.items()}))
    except csv.Error as error:
        raise InputError(
            problem(f"line {reader.line_num}", f"it is no CSV ({error})", "write the file again")
        ) from error
    columns = [column.strip() for column in reader.fieldnames or []]
    if missing := [column for column in _REQUIRED if column not in columns]:
        raise InputError(problem("", f"there is no column {', '.join(missing)}", columns_remedy))
    if not rows:
        raise InputError(problem("", "there are no usable rows in it", "add one line for each complex"))
    if unknown := [column for column in columns if column not in _KNOWN]:
        remarks.append(problem("", f"unknown columns are ignored: {', '.join(unknown)}", columns_remedy))
    if any(row.get("protein_sequence") for _, row in rows):
        message = "protein_sequence is ignored, for proteins are not folded here"
        remarks.append(problem("", message, "give every row a protein_path"))
    return rows, remarks
