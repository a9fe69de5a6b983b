"""Proteins from PDB, PDBQT and mmCIF files, refusing what would quietly be read as something else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import gemmi
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from domains.docking.structures.atom_rows import FileError, Row, Rows
from domains.docking.structures.elements import element_of, impossible_metal
from domains.docking.structures.ligand_files import LIGAND_SUFFIXES
from domains.docking.structures.mmcif_rows import mmcif_rows
from domains.docking.structures.pdb_rows import is_atom, pdb_rows
from domains.docking.structures.protein import Protein, ProteinReport
from domains.docking.structures.residue_rows import ResidueRows, residues
from domains.docking.structures.residues import (
    ATOM_NAME_VOCABULARY,
    ELEMENT_VOCABULARY,
    RESIDUE_VOCABULARY,
    SIDE_CHAINS,
    element_class,
    is_water,
    parent_residue,
    standard_name,
)
from domains.docking.structures.small_molecules import is_additive
from domains.docking.structures.text_files import read_text
from domains.errors import InputError, InputProblem

_KIND = "a PDB or mmCIF file (.gz is fine)"
_ON_TOP = 1.0  # Å between the alpha carbons of two amino acids; neighbours are 3.8 Å apart
_UNKNOWN_ATOM = "UNX"  # residue of an atom that the PDB knows no element of


def read_protein(path: Path, keep: frozenset[str] = frozenset()) -> Protein:
    """Read a PDB, PDBQT or mmCIF file, gzipped or not.

    Of alternative conformations the one with the highest occupancy is kept, residue by residue. Modified residues
    (MSE, SEP, ...) get the type of their parent. Metals, ions, cofactors, sugars and nucleotides are kept with the
    residue type "other". Hydrogens, waters and crystallisation additives are dropped, but for additives that are named
    in `keep`; see ``Protein.report``.

    Raises ``InputError`` for a file that is missing, empty, binary, cut off, or without amino acids, and for one that
    has an atom twice, a residue in parts far from each other, or an atom without a number, an element or coordinates.
    """
    rows = _rows(path)
    try:
        atoms, corrected, hydrogens = _with_elements(rows.rows)
        found, remarks = residues(list(atoms))
        notes = [*rows.remarks, *remarks]
        if corrected:
            notes.append(f"took the elements of {corrected} atoms from their names, for the file's are others")
        return _protein(path, rows, _built(found, atoms), hydrogens, tuple(notes), keep)
    except FileError as error:
        raise InputError(InputProblem(str(path), "", str(error), "correct or remove the line")) from error


class _Residue(NamedTuple):
    chain: str
    part: int
    residue: gemmi.Residue


def _rows(path: Path) -> Rows:
    """Raises ``InputError`` for a file that is missing, empty, binary, cut off, malformed, or without atoms."""
    if path.suffix.lower() in LIGAND_SUFFIXES:
        remedy = f"give the protein before the ligand, as {_KIND}"
        raise InputError(InputProblem(str(path), "", "it is a ligand's file, where a protein's is due", remedy))
    text = read_text(path, _KIND)
    is_mmcif = any(suffix.lower() in (".cif", ".mmcif") for suffix in path.suffixes[-2:])
    try:
        rows = mmcif_rows(text) if is_mmcif else pdb_rows(text)
    except FileError as error:
        message = f"it is cut off or malformed ({error})"
        raise InputError(InputProblem(str(path), "", message, "download or write the file again")) from error
    if not rows.rows and not rows.waters:
        raise InputError(InputProblem(str(path), "", "there are no atoms in it", f"give {_KIND}, and name it so"))
    return rows


def _with_elements(rows: Sequence[Row]) -> tuple[dict[Row, gemmi.Element], int, int]:
    """Heavy atoms with their elements, how many of these the file has otherwise, and how many hydrogens there are."""
    heavy: dict[Row, gemmi.Element] = {}
    corrected = hydrogens = 0
    for row in rows:
        if row.residue == _UNKNOWN_ATOM:
            continue
        element, is_other = element_of(row)
        if element.is_hydrogen:
            hydrogens += 1
        else:
            corrected += is_other
            heavy[row] = element
    return heavy, corrected, hydrogens


def _built(found: Sequence[ResidueRows], elements: dict[Row, gemmi.Element]) -> Iterator[_Residue]:
    for rows in found:
        first, residue = rows.rows[0], gemmi.Residue()
        residue.name, residue.seqid = first.residue, gemmi.SeqId(first.number, first.insertion)
        residue.het_flag = "H" if first.is_hetero else "A"
        for row in rows.rows:
            atom = gemmi.Atom()
            atom.name, atom.element, atom.charge = row.name, elements[row], row.charge
            atom.pos, atom.occ = gemmi.Position(*row.position), row.occupancy
            atom.altloc = row.altloc or "\0"
            residue.add_atom(atom)
        if parent_residue(residue.name) is None and (metal := impossible_metal(residue)) is not None:
            row = next(row for row in rows.rows if row.name == metal.name)
            what = f"{metal.element.name}, and has a carbon nearer than any metal has"
            raise FileError(f"line {row.line}: atom {metal.name} of {rows} is {what}")
        yield _Residue(rows.chain, rows.part, residue)


def _protein(
    path: Path, file: Rows, found: Iterator[_Residue], hydrogens: int, notes: tuple[str, ...], keep: frozenset[str]
) -> Protein:
    tally = Counter(waters=file.waters, hydrogens=hydrogens)
    modified: list[str] = []
    hetero: list[str] = []
    additives: list[str] = []
    kept: list[tuple[_Residue, list[gemmi.Atom], str | None]] = []
    for own in _one_of_alternatives(found, tally):
        residue = own.residue
        label = f"{own.chain}:{residue.seqid} {residue.name}"
        if is_water(residue):
            tally["waters"] += 1
            continue
        atoms = _atoms(residue, tally)
        parent = parent_residue(residue.name)
        composition = Counter(atom.element.name for atom in atoms)
        if parent is None and residue.name not in keep and is_additive(residue.name, composition):
            additives.append(label)
            continue
        if parent == "other" and not any(atom.name == "CA" for atom in atoms):
            parent = None  # programs call any unknown molecule UNK
        if parent is None:
            hetero.append(label)
        else:
            tally["amino_acids"] += 1
            if standard_name(residue.name) not in (parent, "UNK"):
                modified.append(label)
            missing = _missing(residue.name, atoms)
            tally["missing_atoms"] += missing
            tally["incomplete"] += missing > 0
        kept.append((own, atoms, parent))
    if not tally["amino_acids"]:
        raise InputError(InputProblem(str(path), "", "there are no amino acids in it", "give the protein's own file"))
    _check_apart([(own, atoms) for own, atoms, parent in kept if parent is not None])
    rows = [_row(atom, parent, i) for i, (_, atoms, parent) in enumerate(kept) for atom in atoms]
    return Protein(
        path,
        np.array([row.position for row in rows], dtype=np.float32),
        np.array([row.element for row in rows], dtype=np.int64),
        np.array([row.residue for row in rows], dtype=np.int64),
        np.array([row.atom_name for row in rows], dtype=np.int64),
        np.array([row.residue_index for row in rows], dtype=np.int64),
        np.array([row.is_ca for row in rows], dtype=np.bool_),
        np.array([row.atomic_number for row in rows], dtype=np.int64),
        _pdb_lines([(own, atoms) for own, atoms, _ in kept]),
        tuple(f"{own.chain}:{own.residue.seqid}" for own, _, _ in kept),
        tuple(own.residue.name for own, _, _ in kept),
        np.array([parent is not None for _, _, parent in kept], dtype=np.bool_),
        np.array([own.part for own, _, _ in kept], dtype=np.int64),
        file.other_models,
        ProteinReport(
            amino_acids=tally["amino_acids"],
            modified=tuple(modified),
            hetero=tuple(hetero),
            waters=tally["waters"],
            additives=tuple(additives),
            hydrogens=tally["hydrogens"],
            alternatives=tally["alternatives"],
            incomplete=tally["incomplete"],
            missing_atoms=tally["missing_atoms"],
            models=file.models,
            notes=notes,
        ),
    )


def _check_apart(amino_acids: Sequence[tuple[_Residue, list[gemmi.Atom]]]) -> None:
    """``FileError`` if two amino acids are in one place: two structures, one on the other, in one file."""
    centres = [(own, atom) for own, atoms in amino_acids for atom in atoms if atom.name == "CA"]
    if not centres:
        return
    pairs = cKDTree(np.array([atom.pos.tolist() for _, atom in centres])).query_pairs(_ON_TOP)
    if pairs:
        one, other = (centres[i][0] for i in min(pairs))
        places = f"{one.chain}:{one.residue.seqid} {one.residue.name} and {other.chain}:{other.residue.seqid}"
        raise FileError(f"{places} {other.residue.name} are in one place, and {len(pairs)} such pairs in all")


class _Atom(NamedTuple):
    position: list[float]
    element: int
    residue: int
    atom_name: int
    residue_index: int
    is_ca: bool
    atomic_number: int


def _row(atom: gemmi.Atom, parent: str | None, residue_index: int) -> _Atom:
    known_name = parent is not None and atom.name in ATOM_NAME_VOCABULARY
    return _Atom(
        position=atom.pos.tolist(),
        element=ELEMENT_VOCABULARY.index(element_class(atom.element)),
        residue=RESIDUE_VOCABULARY.index(parent or "other"),
        atom_name=ATOM_NAME_VOCABULARY.index(atom.name if known_name else "other"),
        residue_index=residue_index,
        is_ca=parent is not None and atom.name == "CA",
        atomic_number=atom.element.atomic_number,
    )


def _pdb_lines(kept: Sequence[tuple[_Residue, list[gemmi.Atom]]]) -> NDArray[np.str_]:
    """The atoms in PDB format, in this order."""
    model = gemmi.Model(1)
    for (chain, _, residue), atoms in kept:
        if not len(model) or model[-1].name != chain:
            model.add_chain(gemmi.Chain(chain))
        own = gemmi.Residue()
        own.name = standard_name(residue.name) if len(residue.name) > 3 else residue.name
        own.seqid, own.het_flag = residue.seqid, residue.het_flag
        for atom in atoms:
            own.add_atom(atom).altloc = "\0"  # RDKit skips an atom marked B, which may be the one that was kept
        model[-1].add_residue(own)
    structure = gemmi.Structure()
    structure.add_model(model)
    structure.shorten_chain_names()  # mmCIF has longer ones than PDB has room for
    text = structure.make_pdb_string(gemmi.PdbWriteOptions(ter_records=False, conect_records=False))
    return np.array([line for line in text.splitlines() if is_atom(line)])


def _missing(name: str, atoms: list[gemmi.Atom]) -> int:
    """Side-chain atoms that a standard residue lacks; a modified residue has no list to compare with."""
    return len(set(SIDE_CHAINS.get(standard_name(name), ())) - {atom.name for atom in atoms})


def _one_of_alternatives(found: Iterator[_Residue], tally: Counter[str]) -> Iterator[_Residue]:
    """Of residues that are alternatives in one place, the one with the highest occupancy."""
    for _, group in groupby(found, key=lambda own: (own.chain, str(own.residue.seqid))):
        candidates = list(group)
        # Without altloc marks, two residues of one number are two molecules and not two alternatives.
        if len(candidates) > 1 and all(any(atom.has_altloc() for atom in own.residue) for own in candidates):
            best = max(candidates, key=lambda own: max(atom.occ for atom in own.residue))
            tally["alternatives"] += sum(len(own.residue) for own in candidates) - len(best.residue)
            candidates = [best]
        yield from candidates


def _atoms(residue: gemmi.Residue, tally: Counter[str]) -> list[gemmi.Atom]:
    """Atoms of the conformation with the highest total occupancy (the first one on a tie).

    An atom that this conformation lacks is taken from the conformation where its own occupancy is highest.
    """
    heavy = list(residue)
    occupancy: dict[str, float] = {}
    for atom in heavy:
        if atom.has_altloc():
            occupancy[atom.altloc] = occupancy.get(atom.altloc, 0.0) + atom.occ
    if not occupancy:
        return heavy
    best = max(occupancy, key=lambda altloc: occupancy[altloc])
    chosen: dict[str, gemmi.Atom] = {}
    for atom in sorted(heavy, key=lambda atom: (atom.has_altloc() and atom.altloc != best, -atom.occ)):
        chosen.setdefault(atom.name, atom)
    kept = [atom for atom in heavy if chosen[atom.name] is atom]
    tally["alternatives"] += len(heavy) - len(kept)
    return kept
