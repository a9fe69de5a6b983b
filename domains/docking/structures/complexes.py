"""Complexes to dock: a ligand, the pocket it goes into, and where it is known to bind."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from domains.docking.structures.ligand import Ligand, from_smiles
from domains.docking.structures.ligand_files import LIGAND_SUFFIXES, read_ligands, read_sdf
from domains.docking.structures.pocket import AROUND_LIGAND, EmptyPocketError, Pocket, PocketChoice, choose_pocket
from domains.docking.structures.protein import Protein, ProteinReport, read_protein
from domains.docking.structures.text_files import read_text
from domains.docking.structures.torsions import TorsionRule
from domains.errors import InputError, InputProblem

POSEBUSTERS_NAMES: tuple[str, ...] = ("1ia1", "1of6", "1s3v", "1uou")

_FAR = 10.0  # Å from the nearest protein atom; a bound ligand touches its protein at 3-4 Å
_REQUIRED = ("complex_name", "protein_path", "ligand_description")
_KNOWN = (*_REQUIRED, "protein_sequence")
_OTHER_SUFFIXES = (".gz", ".pdb", ".pdbqt", ".cif", ".mae", ".xyz", ".smi")  # of ligand files that cannot be read


@dataclass(frozen=True, eq=False)
class Complex:
    """A ligand and a pocket; ``reference`` (A, 3), Å, is the bound pose in the protein's frame, ``None`` if unknown."""

    name: str
    ligand: Ligand
    pocket: Pocket
    reference: NDArray[np.float32] | None
    protein_path: Path
    protein_report: ProteinReport


Loaded = tuple[list[Complex], list[InputProblem]]


def read(path: Path | str | None = None, *, pocket: str = "ligand") -> Loaded:
    """Complexes from a folder or a CSV in DiffDock's format, or the four of the posebusters package, and problems."""
    choice = PocketChoice.parse(pocket)
    if path is None:
        return load_posebusters(choice)
    place = Path(path)
    is_table = place.suffix.lower() == ".csv" and not place.is_dir()
    return load_csv(place, choice) if is_table else load_folder(place, choice)


def load_folder(folder: Path, pocket: PocketChoice = AROUND_LIGAND, rule: TorsionRule = "chemical") -> Loaded:
    """Complexes from ``NAME/protein.pdb`` + ``NAME/ligands.sdf``: one for each record, called ``NAME/title``.

    What cannot be used comes in the second list and does not stop the rest.
    """
    complexes: list[Complex] = []
    problems: list[InputProblem] = []
    remedy = "give a folder with NAME/protein.pdb and NAME/ligands.sdf"
    if not folder.is_dir():
        return [], [InputProblem(str(folder), "", "it is not a folder", remedy)]
    series = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not series:
        return [], [InputProblem(str(folder), "", "there are no complexes in it", remedy)]
    for place in series:
        try:
            protein = read_protein(place / "protein.pdb")
        except InputError as error:
            problems.append(error.problem)
            continue
        for ligand in read_sdf(place / "ligands.sdf", rule):
            if isinstance(ligand, InputProblem):
                problems.append(ligand)
                continue
            where = InputProblem(str(place / "ligands.sdf"), ligand.name, "", "")
            _collect(_bound(f"{place.name}/{ligand.name}", protein, ligand, pocket, where), where, complexes, problems)
    return complexes, problems


def load_csv(
    table: Path, pocket: PocketChoice = AROUND_LIGAND, rule: TorsionRule = "chemical", *, seed: int = 0
) -> Loaded:
    """Complexes from a table in DiffDock's format: complex_name, protein_path, ligand_description, protein_sequence.

    A ligand_description that ends like a ligand file is a path, and anything else a SMILES, which gets a conformer
    from ``seed`` and needs a pocket that does not come from a reference ligand. Relative paths start at the table.
    protein_sequence is not used: proteins are not folded here. What cannot be used comes in the second list.
    """
    try:
        rows, problems = _read_table(table)
    except InputError as error:
        return [], [error.problem]
    complexes: list[Complex] = []
    proteins: dict[Path, Protein | InputProblem] = {}
    for number, row in rows:
        name = row["complex_name"] or f"complex_{number}"
        where = InputProblem(str(table), f"line {number} ({name})", "", "")
        path = table.parent / row["protein_path"]
        if path not in proteins:
            try:
                proteins[path] = read_protein(path)
            except InputError as error:
                proteins[path] = error.problem
        _collect(_from_row(name, row, proteins[path], table, where, pocket, rule, seed), where, complexes, problems)
    return complexes, problems


def load_posebusters(pocket: PocketChoice = AROUND_LIGAND, rule: TorsionRule = "chemical") -> Loaded:
    """The four crystal complexes in the ``posebusters`` package: 1ia1, 1of6, 1s3v, 1uou.

    For each, ``posebusters/datasets/pdb/NAME/NAME_protein_one_lig_removed.pdb`` and ``NAME_ligand.sdf``, the pose of
    the ligand that was removed.
    """
    complexes: list[Complex] = []
    problems: list[InputProblem] = []
    datasets = Path(str(resources.files("posebusters"))) / "datasets" / "pdb"
    for name in POSEBUSTERS_NAMES:
        path = datasets / name / f"{name}_ligand.sdf"
        where = InputProblem(str(path), name, "", "")
        try:
            protein = read_protein(datasets / name / f"{name}_protein_one_lig_removed.pdb")
            ligand = _only(read_sdf(path, rule), where)
        except InputError as error:
            problems.append(error.problem)
            continue
        _collect(_bound(name, protein, ligand, pocket, where), where, complexes, problems)
    return complexes, problems


def _bound(
    name: str, protein: Protein, ligand: Ligand, choice: PocketChoice, where: InputProblem
) -> Complex | InputProblem:
    """Complex with the ligand's own coordinates as the reference pose."""
    distance = float(cKDTree(protein.positions).query(ligand.positions)[0].min())
    if distance > _FAR:
        message = f"the ligand is {distance:.0f} Å away from {protein.path.name}"
        return replace(where, message=message, remedy="give both in one frame, or the ligand as a SMILES")
    return _complex(name, protein, ligand, choice, ligand.positions, where)


def _complex(
    name: str,
    protein: Protein,
    ligand: Ligand,
    choice: PocketChoice,
    reference: NDArray[np.float32] | None,
    where: InputProblem,
) -> Complex | InputProblem:
    if choice.kind == "ligand" and reference is None:
        message = "a SMILES has no pose to put the pocket around"
        return replace(where, message=message, remedy="choose the pocket around a point or the whole protein")
    try:
        pocket = choose_pocket(protein, choice, reference)
    except EmptyPocketError as error:
        return replace(where, message=str(error), remedy="use a larger radius or another centre")
    return Complex(name, ligand, pocket, reference, protein.path, protein.report)


def _from_row(
    name: str,
    row: Mapping[str, str],
    protein: Protein | InputProblem,
    table: Path,
    where: InputProblem,
    choice: PocketChoice,
    rule: TorsionRule,
    seed: int,
) -> Complex | InputProblem:
    description = row["ligand_description"]
    if not row["protein_path"] or not description:
        return replace(where, message="protein_path or ligand_description is empty", remedy="fill in both")
    if isinstance(protein, InputProblem):
        return replace(where, message=f"{protein.file}: {protein.message}", remedy=protein.remedy)
    try:
        if not _names_a_file(description, table.parent):
            ligand = from_smiles(description, name, seed, rule, file=where.file)
            return _complex(name, protein, ligand, choice, None, where)
        ligand = _only(read_ligands(table.parent / description, rule), where)
    except InputError as error:
        return error.problem
    return _bound(name, protein, ligand, choice, where)


def _names_a_file(description: str, folder: Path) -> bool:
    """Whether a ligand is given as a file, of a kind that can be read or not, rather than as SMILES."""
    is_known = Path(description).suffix.lower() in (*LIGAND_SUFFIXES, *_OTHER_SUFFIXES)
    return is_known or os.path.isfile(folder / description)  # a long SMILES is no path at all


def _only(ligands: Iterator[Ligand | InputProblem], where: InputProblem) -> Ligand:
    """The one ligand of a file; ``InputError`` if it cannot be used or there are several."""
    first, second = next(ligands), next(ligands, None)
    if isinstance(first, InputProblem):
        raise InputError(first)
    if second is not None:
        raise InputError(replace(where, message="the ligand file has several records", remedy="give one in each file"))
    return first


def _collect(
    result: Complex | InputProblem, where: InputProblem, complexes: list[Complex], problems: list[InputProblem]
) -> None:
    if isinstance(result, InputProblem):
        problems.append(result)
    elif any(known.name == result.name for known in complexes):
        problems.append(replace(where, message=f"the name '{result.name}' is used twice", remedy="rename one of them"))
    else:
        complexes.append(result)


def _read_table(table: Path) -> tuple[list[tuple[int, dict[str, str]]], list[InputProblem]]:
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
