"""Proteins from PDB and mmCIF files, refusing what would quietly be read as something else."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import gemmi
import numpy as np
from numpy.typing import NDArray

from domains.docking.structures.protein import Protein, ProteinReport
from domains.docking.structures.residues import (
    ADDITIVES,
    ATOM_NAME_VOCABULARY,
    ELEMENT_VOCABULARY,
    RESIDUE_VOCABULARY,
    SIDE_CHAINS,
    element_class,
    is_water,
    parent_residue,
    standard_name,
)
from domains.docking.structures.text_files import read_text
from domains.errors import InputError, InputProblem

_KIND = "a PDB or mmCIF file (.gz is fine)"
_COORDINATES = (slice(30, 38), slice(38, 46), slice(46, 54))  # columns of x, y, z in a PDB atom line


def read_protein(path: Path) -> Protein:
    """Read a PDB or mmCIF file, gzipped or not.

    Of alternative conformations the one with the highest occupancy is kept, residue by residue. Modified residues
    (MSE, SEP, ...) get the type of their parent. Metals, ions, cofactors, sugars and nucleotides are kept with the
    residue type "other". Hydrogens, waters and crystallisation additives are dropped; see ``Protein.report``.

    Raises ``InputError`` for a file that is missing, empty, binary, cut off, or without amino acids.
    """
    structure = _structure(path)
    tally: Counter[str] = Counter()
    modified: list[str] = []
    hetero: list[str] = []
    additives: list[str] = []
    ids: list[str] = []
    names: list[str] = []
    rows: list[_Row] = []
    is_amino_acid: list[bool] = []
    seen = gemmi.Model(1)
    for chain, residue in _residues(structure[0], tally):
        label = f"{chain}:{residue.seqid} {residue.name}"
        if is_water(residue):
            tally["waters"] += 1
            continue
        parent = parent_residue(residue.name)
        if parent is None and residue.name in ADDITIVES:
            additives.append(label)
            continue
        kept = _atoms(residue, tally)
        if not kept:
            continue
        if parent == "other" and not any(atom.name == "CA" for atom in kept):
            parent = None  # programs call any unknown molecule UNK
        if parent is None:
            hetero.append(label)
        else:
            tally["amino_acids"] += 1
            if standard_name(residue.name) not in (parent, "UNK"):
                modified.append(label)
            missing = _missing(residue.name, kept)
            tally["missing_atoms"] += missing
            tally["incomplete"] += missing > 0
        rows += [_row(atom, parent, len(ids)) for atom in kept]
        is_amino_acid.append(parent is not None)
        _add(seen, chain, residue, kept)
        ids.append(f"{chain}:{residue.seqid}")
        names.append(residue.name)
    if not tally["amino_acids"]:
        raise InputError(InputProblem(str(path), "", "there are no amino acids in it", "give the protein's own file"))
    return Protein(
        path,
        np.array([row.position for row in rows], dtype=np.float32),
        np.array([row.element for row in rows], dtype=np.int64),
        np.array([row.residue for row in rows], dtype=np.int64),
        np.array([row.atom_name for row in rows], dtype=np.int64),
        np.array([row.residue_index for row in rows], dtype=np.int64),
        np.array([row.is_ca for row in rows], dtype=np.bool_),
        np.array([row.atomic_number for row in rows], dtype=np.int64),
        _pdb_lines(seen),
        tuple(ids),
        tuple(names),
        np.array(is_amino_acid, dtype=np.bool_),
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
            models=len(structure),
        ),
    )


class _Row(NamedTuple):
    position: list[float]
    element: int
    residue: int
    atom_name: int
    residue_index: int
    is_ca: bool
    atomic_number: int


def _row(atom: gemmi.Atom, parent: str | None, residue_index: int) -> _Row:
    known_name = parent is not None and atom.name in ATOM_NAME_VOCABULARY
    return _Row(
        position=atom.pos.tolist(),
        element=ELEMENT_VOCABULARY.index(element_class(atom.element)),
        residue=RESIDUE_VOCABULARY.index(parent or "other"),
        atom_name=ATOM_NAME_VOCABULARY.index(atom.name if known_name else "other"),
        residue_index=residue_index,
        is_ca=parent is not None and atom.name == "CA",
        atomic_number=atom.element.atomic_number,
    )


def _add(model: gemmi.Model, chain: str, residue: gemmi.Residue, atoms: list[gemmi.Atom]) -> None:
    """Put a residue with these atoms alone at the end of the model."""
    if not len(model) or model[-1].name != chain:
        model.add_chain(gemmi.Chain(chain))
    kept = gemmi.Residue()
    kept.name, kept.seqid, kept.het_flag = residue.name, residue.seqid, residue.het_flag
    for atom in atoms:
        kept.add_atom(atom).altloc = "\0"  # RDKit skips an atom marked B, which may be the one that was kept
    model[-1].add_residue(kept)


def _pdb_lines(model: gemmi.Model) -> NDArray[np.str_]:
    structure = gemmi.Structure()
    structure.add_model(model)
    structure.shorten_chain_names()  # mmCIF has longer ones than PDB has room for
    text = structure.make_pdb_string(gemmi.PdbWriteOptions(ter_records=False, conect_records=False))
    return np.array([line for line in text.splitlines() if _is_atom(line)])


def _missing(name: str, atoms: list[gemmi.Atom]) -> int:
    """Side-chain atoms that a standard residue lacks; a modified residue has no list to compare with."""
    return len(set(SIDE_CHAINS.get(standard_name(name), ())) - {atom.name for atom in atoms})


def _residues(model: gemmi.Model, tally: Counter[str]) -> Iterator[tuple[str, gemmi.Residue]]:
    """Residues with the name of their chain; where alternatives share a place, the one with the highest occupancy."""
    for chain in model:
        for _, group in groupby(chain, key=lambda residue: str(residue.seqid)):
            candidates = list(group)
            # Without altloc marks, two residues of one number are two molecules and not two alternatives.
            if len(candidates) > 1 and all(any(atom.has_altloc() for atom in residue) for residue in candidates):
                best = max(candidates, key=lambda residue: max(atom.occ for atom in residue))
                tally["alternatives"] += sum(len(r) for r in candidates) - len(best)
                candidates = [best]
            for residue in candidates:
                yield chain.name, residue


def _atoms(residue: gemmi.Residue, tally: Counter[str]) -> list[gemmi.Atom]:
    """Heavy atoms of the conformation with the highest total occupancy (the first one on a tie).

    An atom that this conformation lacks is taken from the conformation where its own occupancy is highest.
    """
    heavy = [atom for atom in residue if not atom.is_hydrogen()]
    tally["hydrogens"] += len(residue) - len(heavy)
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


def _structure(path: Path) -> gemmi.Structure:
    """Structure from a PDB file, or mmCIF where the name ends in .cif or .mmcif, gzipped or not.

    Raises ``InputError`` for a file that is missing, empty, binary, cut off, malformed, or without atoms.
    """
    text = read_text(path, _KIND)
    is_mmcif = any(suffix.lower() in (".cif", ".mmcif") for suffix in path.suffixes[-2:])
    try:
        if not is_mmcif:
            _check_atom_lines(text)
        file_format = gemmi.CoorFormat.Mmcif if is_mmcif else gemmi.CoorFormat.Pdb
        structure = gemmi.read_structure_string(text, format=file_format)
    except (RuntimeError, ValueError) as error:
        message = f"it is cut off or malformed ({error})"
        raise InputError(InputProblem(str(path), "", message, "download or write the file again")) from error
    if not len(structure) or not structure[0].count_atom_sites():
        raise InputError(InputProblem(str(path), "", "there are no atoms in it", f"give {_KIND}, and name it so"))
    if not all(math.isfinite(site.atom.pos.length()) for site in structure[0].all()):
        raise InputError(InputProblem(str(path), "", "some coordinates are not numbers", "write the file again"))
    return structure


def _check_atom_lines(text: str) -> None:
    """``ValueError`` for coordinates that gemmi reads as zero, and for a last line that ends before the one above."""
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        if _is_atom(line):
            for columns in _COORDINATES:
                try:
                    float(line[columns])
                except ValueError as error:
                    raise ValueError(f"line {number} has no number in columns 31-54") from error
    ends_in_atoms = len(lines) > 1 and _is_atom(lines[-1]) and _is_atom(lines[-2])
    if ends_in_atoms and not text.endswith("\n") and len(lines[-1].rstrip()) < len(lines[-2].rstrip()):
        raise ValueError(f"line {len(lines)} ends before the line above does")


def _is_atom(line: str) -> bool:
    return line.startswith(("ATOM", "HETATM"))
