"""Complexes to dock: a ligand, the pocket it goes into, and where it is known to bind; from folders, tables, packages."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from domains.docking.errors import InputError, InputProblem
from domains.docking.ligand import Ligand, from_smiles
from domains.docking.ligand_files import LIGAND_SUFFIXES, read_ligands, read_sdf
from domains.docking.pocket import Pocket, pocket_around_ligand, pocket_around_point, whole_protein
from domains.docking.receptor import Protein, ProteinReport, read_protein
from domains.docking.torsions import TorsionRule

POSEBUSTERS_NAMES: tuple[str, ...] = ("1ia1", "1of6", "1s3v", "1uou")

_FAR = 10.0  # Å from the nearest protein atom; a bound ligand touches its protein at 3-4 Å
_REQUIRED = ("complex_name", "protein_path", "ligand_description")
_KNOWN = (*_REQUIRED, "protein_sequence")


@dataclass(frozen=True)
class PocketChoice:
    """How pockets are chosen: within ``radius`` Å of the reference ligand or of the point ``xyz``, or everything."""

    kind: Literal["ligand", "point", "protein"] = "ligand"
    radius: float = 6.0
    xyz: tuple[float, float, float] | None = None

    @staticmethod
    def parse(text: str) -> PocketChoice:
        """From ``ligand``, ``ligand:RADIUS``, ``point:X,Y,Z``, ``point:X,Y,Z,RADIUS`` or ``protein`` (Å).

        Raises ``ValueError`` for anything else.
        """
        kind, _, rest = text.strip().partition(":")
        refusal = f"pocket is '{text}'; use ligand, ligand:RADIUS, point:X,Y,Z, point:X,Y,Z,RADIUS or protein (in Å)"
        try:
            numbers = [float(word) for word in rest.split(",")] if rest else []
        except ValueError as error:
            raise ValueError(refusal) from error
        if not np.isfinite(numbers).all():
            raise ValueError(refusal)
        match kind, numbers:
            case "ligand", []:
                return PocketChoice()
            case "ligand", [radius] if radius > 0:
                return PocketChoice("ligand", radius)
            case "point", [x, y, z]:
                return PocketChoice("point", 12.0, (x, y, z))
            case "point", [x, y, z, radius] if radius > 0:
                return PocketChoice("point", radius, (x, y, z))
            case "protein", [] if text.strip() == "protein":
                return PocketChoice("protein")
        raise ValueError(refusal)


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


def load_folder(folder: Path, pocket: PocketChoice = PocketChoice(), rule: TorsionRule = "chemical") -> Loaded:
    """Complexes from ``NAME/protein.pdb`` + ``NAME/ligands.sdf``: one for each record, called ``NAME/title``.

    What cannot be used comes in the second list and does not stop the rest.
    """
    complexes: list[Complex] = []
    problems: list[InputProblem] = []
    series = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not series:
        remedy = "give a folder with NAME/protein.pdb and NAME/ligands.sdf"
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
    table: Path, pocket: PocketChoice = PocketChoice(), rule: TorsionRule = "chemical", *, seed: int = 0
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


def load_posebusters(pocket: PocketChoice = PocketChoice(), rule: TorsionRule = "chemical") -> Loaded:
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
    try:
        pocket = _pocket(protein, choice, reference)
    except ValueError as error:
        message, _, remedy = str(error).partition("; ")
        return replace(where, message=message, remedy=remedy)
    return Complex(name, ligand, pocket, reference, protein.path, protein.report)


def _pocket(protein: Protein, choice: PocketChoice, reference: NDArray[np.float32] | None) -> Pocket:
    if choice.kind == "protein":
        return whole_protein(protein)
    if choice.kind == "point":
        if choice.xyz is None:
            raise ValueError("pocket is a point without coordinates; give xyz")
        return pocket_around_point(protein, np.array(choice.xyz, dtype=np.float32), choice.radius)
    if reference is None:
        raise ValueError("a SMILES has no pose to put the pocket around; choose the pocket as a point or the protein")
    return pocket_around_ligand(protein, reference, choice.radius)


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
        if Path(description).suffix.lower() not in LIGAND_SUFFIXES:
            ligand = from_smiles(description, name, seed, rule, file=where.file)
            return _complex(name, protein, ligand, choice, None, where)
        ligand = _only(read_ligands(table.parent / description, rule), where)
    except InputError as error:
        return error.problem
    return _bound(name, protein, ligand, choice, where)


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

    def refuse(message: str, remedy: str) -> InputError:
        return InputError(InputProblem(str(table), "", message, remedy))

    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse("the file is not text", "give a CSV in UTF-8") from error
    except OSError as error:
        raise refuse(f"cannot be read ({error.strerror})", "check the path") from error
    reader = csv.DictReader(text.splitlines(), restval="")
    rows = [(reader.line_num, {k: v.strip() for k, v in row.items() if isinstance(v, str)}) for row in reader]
    columns = [column.strip() for column in reader.fieldnames or []]
    if missing := [column for column in _REQUIRED if column not in columns]:
        raise refuse(f"there is no column {', '.join(missing)}", f"use the columns {', '.join(_KNOWN)}")
    if not rows:
        raise refuse("there are no rows in it", "add one line for each complex")
    remarks = []
    if unknown := [column for column in columns if column not in _KNOWN]:
        message = f"unknown columns {', '.join(unknown)} are ignored"
        remarks.append(InputProblem(str(table), "", message, f"use the columns {', '.join(_KNOWN)}"))
    if any(row.get("protein_sequence") for _, row in rows):
        message = "protein_sequence is ignored: proteins are not folded here"
        remarks.append(InputProblem(str(table), "", message, "give every row a protein_path"))
    return rows, remarks
