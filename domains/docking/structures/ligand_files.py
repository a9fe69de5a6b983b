"""Ligands from SDF and MOL2 files, and poses back into SDF."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Geometry import Point3D

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


def write_sdf(
    path: Path, ligand: Ligand, positions: NDArray[np.float32], properties: Sequence[Mapping[str, str]]
) -> None:
    """Poses of a ligand (P, A, 3), Å, as P records titled with its name, with one mapping of properties each.

    The file appears whole or not at all: it is written beside ``path`` and then renamed. Raises ``ValueError`` if the
    shapes do not fit, ``OSError`` if the folder cannot be written.
    """
    if positions.shape[1:] != (ligand.n_atoms, 3) or len(positions) != len(properties):
        raise ValueError(
            f"positions has shape {tuple(positions.shape)} with {len(properties)} properties; "
            f"give (P, {ligand.n_atoms}, 3) and P mappings"
        )
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with Chem.SDWriter(str(partial)) as writer:
            for pose, record in zip(positions, properties, strict=True):
                writer.write(_titled(posed(ligand.mol, pose), ligand.name, record))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def posed(mol: Chem.Mol, pose: NDArray[np.float32]) -> Chem.Mol:
    """A copy of `mol` with its atoms at `pose` (A, 3), Å."""
    copy = Chem.Mol(mol)
    conformer = copy.GetConformer()
    for index, xyz in enumerate(pose.tolist()):
        conformer.SetAtomPosition(index, Point3D(*xyz))
    return copy


def _titled(mol: Chem.Mol, name: str, properties: Mapping[str, str]) -> Chem.Mol:
    for key in mol.GetPropNames():
        mol.ClearProp(key)
    mol.SetProp("_Name", name)
    for key, value in properties.items():
        mol.SetProp(key, value)
    return mol


def _ligand(mol: Chem.Mol | None, name: str, rule: TorsionRule, file: str, record: str) -> Ligand | InputProblem:
    if mol is None:
        return InputProblem(file, record, "RDKit cannot parse the record", "write it again from the original structure")
    try:
        return from_mol(mol, name, rule, file=file, record=record)
    except InputError as error:
        return error.problem


def _record(number: int, title: str) -> str:
    return f"record {number} ({title})" if title else f"record {number}"
