"""Complexes to dock: a ligand, the pocket it goes into, and where it is known to bind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from domains.docking.structures.copies import without_copies
from domains.docking.structures.ligand import Ligand, with_conformer
from domains.docking.structures.pairs import Pair, pair_records
from domains.docking.structures.pocket import EmptyPocketError, Pocket, PocketChoice, choose_pocket
from domains.docking.structures.pocket_files import read_pocket_choice
from domains.docking.structures.protein import Protein
from domains.docking.structures.records import Record, folder_records, posebusters_records
from domains.docking.structures.symmetry import automorphisms
from domains.docking.structures.tables import table_records
from domains.docking.structures.text_files import read_names
from domains.docking.structures.torsions import TorsionRule
from domains.errors import InputError, InputProblem

_FAR = 10.0  # Å from the nearest protein atom; a bound ligand touches its protein at 3-4 Å


@dataclass(frozen=True, eq=False)
class Complex:
    """A ligand and where to dock it.

    reference  (A, 3) float32, Å, the bound pose in the protein's frame; ``None`` if nobody says that it is known.
    protein    without copies of the ligand, see :mod:`domains.docking.structures.copies`.
    remarks    lines about what was kept, left out, taken for something or changed when it was read.
    embedding  (Q, W) float32, of a language model, one row for each alpha carbon of the pocket; ``None`` for networks
               that need none.
    """

    name: str
    ligand: Ligand
    pocket: Pocket
    reference: NDArray[np.float32] | None
    protein: Protein
    remarks: tuple[str, ...] = ()
    embedding: NDArray[np.float32] | None = None


def read(
    path: Path | str | Pair | None = None,
    *,
    pocket: PocketChoice | str = "ligand",
    known_poses: bool | None = None,
    conformer: Literal["input", "rdkit"] = "input",
    only: Path | str | None = None,
    seed: int = 0,
    rule: TorsionRule = "chemical",
) -> tuple[list[Complex], list[InputProblem]]:
    """Complexes from a user's files, and what could not be used, which does not stop the rest.

    Args:
        path: a folder of NAME/protein.pdb + NAME/ligands.sdf, whose complexes are called NAME/TITLE; a .csv table, see
            :func:`domains.docking.structures.tables.table_records`; a :class:`Pair` of a protein and a ligand; or None
            for the four crystal complexes of the posebusters package.
        pocket: where to dock; as text see :func:`domains.docking.structures.pocket_files.read_pocket_choice`.
        known_poses: whether the ligands' coordinates are their bound poses, to compare docked poses with. None: they
            are if the pocket is taken from them, and for the complexes of the posebusters package. A table's column
            known_pose comes first.
        conformer: bond lengths, angles and rings of the input, or of a fresh RDKit conformer.
        only: list of names, one a line: complexes (NAME/TITLE), or all of a protein (NAME); the others are left out.
        seed: of RDKit's conformers.
        rule: which bonds turn.

    Raises:
        ValueError: if `pocket` or `conformer` is not one of these, or the seed is negative.
        InputError: if the list of names, or the file of the pocket's ligand, cannot be read.
    """
    choice = read_pocket_choice(pocket) if isinstance(pocket, str) else pocket
    if conformer not in ("input", "rdkit"):
        raise ValueError(f"conformer is {conformer!r}; use 'input' or 'rdkit'")
    if seed < 0:
        raise ValueError(f"seed is {seed}; give a number >= 0")
    if path is None and known_poses is None:
        known_poses = True
    wanted = None if only is None else read_names(Path(only))
    complexes: dict[str, Complex] = {}
    problems: list[InputProblem] = []
    for record in _records(path, rule, seed):
        if isinstance(record, InputProblem):
            problems.append(record)
        elif wanted is not None and wanted.isdisjoint(_names_of(record.name)):
            continue
        elif record.name in complexes:
            message = f"the name '{record.name}' is used twice"
            problems.append(replace(record.where, message=message, remedy="rename one of them"))
        else:
            try:
                complexes[record.name] = _complex(record, choice, known_poses, seed if conformer == "rdkit" else None)
            except InputError as error:
                problems.append(error.problem)
    if wanted is not None:
        remedy = "correct the name, or see above why it was left out"
        for name in sorted(wanted.difference(*map(_names_of, complexes))):
            problems.append(InputProblem(str(only), name, "there is no such complex to dock", remedy))
    return list(complexes.values()), problems


def _records(path: Path | str | Pair | None, rule: TorsionRule, seed: int) -> Iterator[Record | InputProblem]:
    if path is None:
        return posebusters_records(rule)
    if isinstance(path, Pair):
        return pair_records(path, rule, seed)
    path = Path(path)
    if path.suffix.lower() == ".csv" and not path.is_dir():
        return table_records(path, rule, seed)
    return folder_records(path, rule)


def _names_of(name: str) -> set[str]:
    return {name, name.split("/")[0]}


def _complex(record: Record, choice: PocketChoice, known_poses: bool | None, seed: int | None) -> Complex:
    """The complex, with a fresh conformer from a seed if there is one.

    Raises ``InputError`` if there is no pose where one is needed, if it is not at the protein, if no residue is in the
    pocket, or if the ligand has no conformer or more symmetries than its RMSD can be corrected for.
    """
    around_pose = choice.kind == "ligand"
    said = known_poses if record.is_known is None else record.is_known
    is_known = around_pose if said is None else said
    pose = (
        _placed(record, "put the pocket around" if around_pose else "compare with") if around_pose or is_known else None
    )
    protein = without_copies(record.protein, record.ligand, pose)
    try:
        pocket = choose_pocket(protein, choice, pose)
    except EmptyPocketError as error:
        remedy = "use a larger radius or another centre"
        raise InputError(replace(record.where, message=str(error), remedy=remedy)) from error
    try:
        if is_known:
            automorphisms(record.ligand)
        ligand = record.ligand if seed is None else with_conformer(record.ligand, seed)
    except InputError as error:
        raise InputError(replace(error.problem, file=record.name)) from error
    remarks = (*record.remarks, *_remarks_on(protein))
    return Complex(record.name, ligand, pocket, pose if is_known else None, protein, remarks)


def _remarks_on(protein: Protein) -> tuple[str, ...]:
    """What was not simply read: one line, if there is anything."""
    said = "; ".join(protein.report.remarks)
    return (f"{protein.path.name}: {said}",) if said else ()


def _placed(record: Record, purpose: str) -> NDArray[np.float32]:
    """The ligand's pose, checked to be at the protein."""
    if record.pose is None:
        message = f"a SMILES has no pose to {purpose}"
        remedy = "choose the pocket around a point or the whole protein, or give its pose in a column known_pose"
        raise InputError(replace(record.where, message=message, remedy=remedy))
    distance = float(record.protein.tree.query(record.pose)[0].min())
    if distance > _FAR:
        message = f"the ligand is {distance:.0f} Å away from {record.protein.path.name}"
        remedy = "give both in one frame, or choose the pocket around a point or the whole protein"
        raise InputError(replace(record.where, message=message, remedy=remedy))
    return record.pose
