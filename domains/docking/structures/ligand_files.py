"""Ligands from SDF and MOL2 files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from rdkit import Chem, rdBase

from domains.docking.structures.ligand import Ligand, from_mol
from domains.docking.structures.text_files import read_text
from domains.docking.structures.torsions import TorsionRule
from domains.errors import InputError, InputProblem

LIGAND_SUFFIXES: tuple[str, ...] = (".sdf", ".sd", ".mol", ".mol2")


def read_ligands(path: Path, rule: TorsionRule = "chemical") -> Iterator[Ligand | InputProblem]:
    """``read_sdf`` or ``read_mol2`` by the ending of the name; any other ending is a problem."""
    suffix = path.suffix.lower()
    if suffix not in LIGAND_SUFFIXES:
        yield InputProblem(str(path), "", "not a ligand file", f"use {', '.join(LIGAND_SUFFIXES)}")
    else:
        yield from (read_mol2 if suffix == ".mol2" else read_sdf)(path, rule)


def read_sdf(path: Path, rule: TorsionRule = "chemical") -> Iterator[Ligand | InputProblem]:
    """Ligands of an SDF or MOL file (V2000, V3000) in order; a record that cannot be used comes as its problem.

    The name is the record's title, or "record N" without one. A missing, empty or binary file is one problem.
    """
    try:
        text = read_text(path, "an SDF or MOL file")
    except InputError as error:
        yield error.problem
        return
    blocks = re.split(r"^\$\$\$\$.*\n?", text, flags=re.MULTILINE)
    if not blocks[-1].strip():
        blocks.pop()
    for number, block in enumerate(blocks, start=1):
        title = block.split("\n", 1)[0].strip()
        record = _record(number, title)
        if "M  END" not in block:
            yield InputProblem(str(path), record, "the record is cut off (no 'M  END')", "write the file again")
            continue
        with rdBase.BlockLogs():
            mol = Chem.MolFromMolBlock(block, sanitize=False, removeHs=False)
        yield _ligand(mol, title or f"record {number}", rule, str(path), record)


def read_mol2(path: Path, rule: TorsionRule = "chemical") -> Iterator[Ligand | InputProblem]:
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
        with rdBase.BlockLogs():
            mol = Chem.MolFromMol2Block(block, sanitize=False, removeHs=False)
        yield _ligand(mol, title or f"record {number}", rule, str(path), _record(number, title))


def _ligand(mol: Chem.Mol | None, name: str, rule: TorsionRule, file: str, record: str) -> Ligand | InputProblem:
    if mol is None:
        return InputProblem(file, record, "RDKit cannot parse the record", "write it again from the original structure")
    try:
        return from_mol(mol, name, rule, file=file, record=record)
    except InputError as error:
        return error.problem


def _record(number: int, title: str) -> str:
    return f"record {number} ({title})" if title else f"record {number}"
