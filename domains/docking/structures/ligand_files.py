"""Ligands from SDF and MOL2 files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from rdkit import Chem, rdBase

from domains.docking.structures.ligand import Ligand, from_file, from_mol
from domains.docking.structures.mol2 import mol_of_mol2
from domains.docking.structures.templates import NO_TEMPLATES
from domains.docking.structures.text_files import read_text
from domains.docking.structures.torsions import TorsionRule
from domains.docking.structures.written_molecules import UnusableError
from domains.errors import InputError, InputProblem

LigandReader = Callable[[Path], Iterator[Ligand | InputProblem]]
"""Reads the ligands of a file in one way; see :func:`read_ligands`."""

LIGAND_SUFFIXES: tuple[str, ...] = (".sdf", ".sd", ".mol", ".mol2")

_SEPARATOR = re.compile(r"^\$\$\$\$.*\n?", re.MULTILINE)
_MOL_START = re.compile(r"^(?:[^\n]*\n){3}[ \d]{6}[^\n]*V[23]000[ \r]*$", re.MULTILINE)
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
_MOL_END = re.compile(r"^M {1,2}END", re.MULTILINE)


def read_ligands(
    path: Path, rule: TorsionRule = "chemical", *, seed: int = 0, templates: Mapping[str, Chem.Mol] = NO_TEMPLATES
) -> Iterator[Ligand | InputProblem]:
    """``read_sdf`` or ``read_mol2`` by the ending of the name; any other ending is a problem."""
    suffix = path.suffix.lower()
    if suffix not in LIGAND_SUFFIXES:
        yield InputProblem(str(path), "", "not a ligand file", f"use {', '.join(LIGAND_SUFFIXES)}")
    else:
        yield from (read_mol2 if suffix == ".mol2" else read_sdf)(path, rule, seed=seed, templates=templates)


def read_sdf(
    path: Path, rule: TorsionRule = "chemical", *, seed: int = 0, templates: Mapping[str, Chem.Mol] = NO_TEMPLATES
) -> Iterator[Ligand | InputProblem]:
    """Ligands of an SDF or MOL file (V2000, V3000) in order; a record that cannot be used comes as its problem.

    The name is the record's title; without one it is the file's, with the record's number if there are several. MOL
    blocks that follow each other without ``$$$$`` are records of their own. A drawing gets a conformer from `seed`. A
    missing, empty or binary file is one problem.
    """
    try:
        text = read_text(path, "an SDF or MOL file")
    except InputError as error:
        yield error.problem
        return
    records = _SEPARATOR.split(text)
    if not records[-1].strip():
        records.pop()
    blocks = [block for record in records for block in _mol_blocks(record)]
    for number, block in enumerate(blocks, start=1):
        title = block.split("\n", 1)[0].strip()
        record = _record(number, title)
        if problem := _torn(block):
            yield InputProblem(str(path), record, problem, "write the file again, with $$$$ after each record")
            continue
        with rdBase.BlockLogs():
            mol = Chem.MolFromMolBlock(block, sanitize=False, removeHs=False)
        if mol is None:
            remedy = "write it again from the original structure"
            yield InputProblem(str(path), record, "RDKit cannot parse the record", remedy)
            continue
        name = title or _untitled(path, number, len(blocks))
        says_2d = block.split("\n")[1][20:22] == "2D"
        try:
            yield from_file(mol, name, rule, seed, says_2d=says_2d, file=str(path), record=record, templates=templates)
        except InputError as error:
            yield error.problem


def _mol_blocks(record: str) -> list[str]:
    """The MOL blocks of a record, which are several where ``$$$$`` is missing, each with the data that follow it."""
    starts = [match.start() for match in _MOL_START.finditer(record)]
    # A data field of an SDF may hold a MOL block too.
    cuts = [start for start in starts[1:] if not record[:start].rstrip("\n").rpartition("\n")[2].startswith(">")]
    return [record[a:b] for a, b in zip([0, *cuts], [*cuts, len(record)], strict=True)]


def _misplaced(block: str) -> int:
    """The first atom, from 1, whose coordinates are no numbers (RDKit reads 1.2.3 as 1.2); 0 if there is none."""
    lines = block.split("\n")
    if "V3000" in lines[3]:
        atoms = re.search(r"^M  V30 BEGIN ATOM *\n(.*?)^M  V30 END ATOM", block, re.MULTILINE | re.DOTALL)
        words = [line.split()[4:7] for line in atoms[1].splitlines()] if atoms else []
    else:
        count = int(lines[3][:3]) if lines[3][:3].strip().isdigit() else 0
        words = [[line[:10], line[10:20], line[20:30]] for line in lines[4 : 4 + count]]
    for number, fields in enumerate(words, start=1):
        if len(fields) < 3 or not all(_NUMBER.fullmatch(field) for field in fields):
            return number
    return 0


def _torn(block: str) -> str:
    """What is wrong with a MOL block before RDKit reads it, or nothing."""
    end = _MOL_END.search(block)
    if end is None:
        return "the record is cut off (no 'M  END')"
    if block[: end.start()].count("\n") < 4:
        return "the record has no header of three lines and no counts"
    if atom := _misplaced(block):
        return f"the coordinates of atom {atom} are no three numbers in their columns"
    rest = block[end.end() :]
    is_data = re.search(r"^>", rest, re.MULTILINE)
    return "the record holds several MOL blocks" if _MOL_END.search(rest) and not is_data else ""


def _untitled(path: Path, number: int, of: int) -> str:
    return path.stem if of == 1 else f"{path.stem}_{number}"


def read_mol2(
    path: Path, rule: TorsionRule = "chemical", *, seed: int = 0, templates: Mapping[str, Chem.Mol] = NO_TEMPLATES
) -> Iterator[Ligand | InputProblem]:
    """Ligands of a MOL2 file in order; a record that cannot be used comes as its problem, as in ``read_sdf``."""
    try:
        text = read_text(path, "a MOL2 file")
    except InputError as error:
        yield error.problem
        return
    header = "@<TRIPOS>MOLECULE"
    blocks = [header + block for block in text.split(header)[1:]]
    if not blocks:
        yield InputProblem(str(path), "", f"there is no '{header}' record", "write the file again as MOL2")
    for number, block in enumerate(blocks, start=1):
        title = block.split("\n", 2)[1].strip() if block.count("\n") > 1 else ""
        record, name = _record(number, title), title or _untitled(path, number, len(blocks))
        try:
            yield _of_mol2(block, name, rule, str(path), record, templates)
        except InputError as error:
            yield error.problem


def _of_mol2(
    block: str, name: str, rule: TorsionRule, file: str, record: str, templates: Mapping[str, Chem.Mol]
) -> Ligand:
    """From a record of a MOL2 file, with bond orders and charges of a template if there is one for it."""
    try:
        mol, remarks = mol_of_mol2(block, templates)
    except UnusableError as unusable:
        raise InputError(InputProblem(file, record, unusable.message, unusable.remedy)) from unusable
    ligand = from_mol(mol, name, rule, file=file, record=record, templates=templates)
    return replace(ligand, remarks=(*remarks, *ligand.remarks))


def _record(number: int, title: str) -> str:
    return f"record {number} ({title})" if title else f"record {number}"
