"""Complexes to dock: a ligand, the pocket it goes into, and where it is known to bind."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from domains.docking.structures.bound_molecules import ALL_LIGANDS, MoleculeChoice
from domains.docking.structures.copies import without_copies
from domains.docking.structures.free_pocket import free_pocket
from domains.docking.structures.isomers import Stereo, read_smiles
from domains.docking.structures.ligand import Ligand, with_conformer
from domains.docking.structures.ligand_files import read_ligands
from domains.docking.structures.mols import read_mol
from domains.docking.structures.pairs import Pair, pair_records
from domains.docking.structures.placement import check_near, clash_remark, given_pose
from domains.docking.structures.pocket import EmptyPocketError, Pocket, PocketChoice
from domains.docking.structures.pocket_files import read_pocket_choice
from domains.docking.structures.protein import Protein
from domains.docking.structures.records import Record, folder_records, posebusters_records
from domains.docking.structures.symmetry import automorphisms
from domains.docking.structures.tables import TABLE_SUFFIXES, table_records
from domains.docking.structures.templates import skeleton, templates_of
from domains.docking.structures.text_files import read_names
from domains.docking.structures.torsions import TorsionRule
from domains.errors import InputError, InputProblem

Conformer = Literal["input", "rdkit"]
"""Where bond lengths, angles and rings come from."""


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
    conformer: Conformer = "input",
    only: Path | str | None = None,
    template: str | Sequence[str] = (),
    seed: int = 0,
    rule: TorsionRule = "chemical",
    drop: Collection[str] = (),
    keep: Collection[str] = (),
    stereo: Stereo = "one",
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
        template: SMILES of ligands whose bond orders and charges are lost or wrong in their files; each is for the
            ligands of the same elements and bonds.
        seed: of RDKit's conformers.
        rule: which bonds turn.
        drop: molecules of the protein files to leave out: names of residues (LIG), places (A:301), or "all-ligands",
            every small molecule that is no known cofactor.
        keep: those to keep. Without either, a bound molecule stays beside a ligand whose own pose says where the pocket
            is, and is left out of any other pocket, where it would be in the way; crystallisation additives are left
            out.
        stereo: of a SMILES that leaves it open: one isomer, or "enumerate" for each as a complex of its own.

    Raises:
        ValueError: if `pocket` or `conformer` is not one of these, a template is no SMILES, the seed is negative, or a
            name is to be both left out and kept.
        InputError: if the list of names, or the file of the pocket's ligand, cannot be read.
    """
    choice = read_pocket_choice(pocket) if isinstance(pocket, str) else pocket
    if conformer not in ("input", "rdkit"):
        raise ValueError(f"conformer is {conformer!r}; use 'input' or 'rdkit'")
    if seed < 0:
        raise ValueError(f"seed is {seed}; give a number >= 0")
    if path is None and known_poses is None:
        known_poses = True
    molecules = MoleculeChoice(frozenset(drop), frozenset(keep))
    wanted = None if only is None else read_names(Path(only))
    templates = templates_of([template] if isinstance(template, str) else template)
    proteins: dict[int, Protein] = {}
    complexes: dict[str, Complex] = {}
    problems: list[InputProblem] = []
    seen: dict[str, InputProblem] = {}
    unused = set(templates)
    # What is said of templates and names of molecules is said of all proteins.
    skips = wanted is not None and not (templates or drop or keep)
    folders = {name.split("/")[0] for name in wanted} if wanted is not None and skips else None
    for found in _records(path, rule, seed, templates, molecules.keep, stereo, folders):
        if isinstance(found, InputProblem):
            problems.append(found)
            continue
        proteins[id(found.protein)] = found.protein
        unused.discard(skeleton(found.ligand.mol))
        record = _with_own_name(found, seen)
        seen[record.name] = record.where
        if wanted is not None and wanted.isdisjoint(_names_of(record.name)):
            continue
        try:
            fresh = seed if conformer == "rdkit" else None
            complexes[record.name] = _complex(record, choice, molecules, known_poses, fresh)
        except InputError as error:
            problems.append(error.problem)
    for left in sorted(unused):
        text = Chem.MolToSmiles(templates[left])
        problems.append(InputProblem("template", text, "it fits no ligand (other elements or bonds)", "correct it"))
    if wanted is not None:
        remedy = "correct the name, or see above why it was left out"
        for name in sorted(wanted.difference(*map(_names_of, complexes))):
            problems.append(InputProblem(str(only), name, "there is no such complex to dock", remedy))
    problems += _nothing_called(molecules, proteins.values())
    return list(complexes.values()), problems


def _records(
    path: Path | str | Pair | None,
    rule: TorsionRule,
    seed: int,
    templates: Mapping[str, Chem.Mol],
    keep: frozenset[str],
    stereo: Stereo,
    folders: Collection[str] | None,
) -> Iterator[Record | InputProblem]:
    if path is None:
        return posebusters_records(rule)
    ligands = partial(read_ligands, rule=rule, seed=seed, templates=templates)
    smiles = partial(read_smiles, rule=rule, seed=seed, stereo=stereo)
    if isinstance(path, Pair):
        mols = partial(read_mol, rule=rule, seed=seed, stereo=stereo, templates=templates)
        return pair_records(path, ligands, smiles, mols, keep)
    path = Path(path)
    if path.suffix.lower() in TABLE_SUFFIXES and not path.is_dir():
        return table_records(path, ligands, smiles, keep)
    return folder_records(path, ligands, keep, folders)


def _with_own_name(record: Record, seen: Mapping[str, InputProblem]) -> Record:
    """The record, renamed if its name is that of an earlier one."""
    if record.name not in seen:
        return record
    count = 2
    while (name := f"{record.name}_{count}") in seen:
        count += 1
    earlier = seen[record.name].record
    remark = f"called {name}, for {record.name} is the name of another one too ({earlier})"
    ligand = replace(record.ligand, name=name) if record.ligand.name == record.name else record.ligand
    return replace(record, name=name, ligand=ligand, remarks=(*record.remarks, remark))


def _names_of(name: str) -> set[str]:
    return {name, name.split("/")[0]}


def _complex(
    record: Record, choice: PocketChoice, molecules: MoleculeChoice, known_poses: bool | None, seed: int | None
) -> Complex:
    """The complex, with a fresh conformer from a seed if there is one.

    Raises ``InputError`` if there is no pose where one is needed, if it cannot be the bound one, if no residue is in
    the pocket, or if the ligand has no conformer or more symmetries than its RMSD can be corrected for.
    """
    around_pose = choice.needs_pose
    said = known_poses if record.is_known is None else record.is_known
    is_known = around_pose if said is None else said
    pose, protein, remarks = None, record.protein, [*record.remarks, *record.ligand.remarks]
    if around_pose or is_known:
        pose = given_pose(record, "put the pocket around" if around_pose else "compare with")
        try:
            check_near(record, pose)
            protein = without_copies(record.protein, record.ligand, pose)
            remarks.append(clash_remark(record, protein, pose))
        except InputError as error:
            if around_pose or record.is_known:
                raise
            # Its coordinates are then a conformer, as they are where nobody says that they are bound.
            pose, is_known = None, False
            remarks.append(f"WARNING: {error.problem.message}; it is docked all the same, and not compared with that")
    if pose is None:
        protein = without_copies(record.protein, record.ligand, None)
    try:
        protein, pocket, more = free_pocket(protein, choice, pose, molecules)
    except EmptyPocketError as error:
        remedy = "use a larger radius or another centre"
        raise InputError(replace(record.where, message=str(error), remedy=remedy)) from error
    try:
        if is_known:
            automorphisms(record.ligand)
        ligand = record.ligand if seed is None else with_conformer(record.ligand, seed)
    except InputError as error:
        raise InputError(replace(error.problem, file=record.name)) from error
    all_remarks = (*filter(None, remarks), *more, *_remarks_on(protein))
    return Complex(record.name, ligand, pocket, pose if is_known else None, protein, all_remarks)


def _remarks_on(protein: Protein) -> tuple[str, ...]:
    """What was not simply read: one line, if there is anything."""
    said = "; ".join(protein.report.remarks)
    return (f"{protein.path.name}: {said}",) if said else ()


def _nothing_called(molecules: MoleculeChoice, proteins: Iterable[Protein]) -> Iterator[InputProblem]:
    """For each name that is to be left out or kept and is that of no residue."""
    known = {ALL_LIGANDS, *(word for protein in proteins for word in protein.residue_words)}
    remedy = f"give the name of a residue as the file has it (LIG), its place (A:301), or {ALL_LIGANDS}"
    for option, names in (("drop", molecules.drop), ("keep", molecules.keep)):
        for name in sorted(names - known):
            yield InputProblem(option, name, "no residue of any protein is called so", remedy)
