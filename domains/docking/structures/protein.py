"""Proteins from PDB and mmCIF files: which atoms are kept, and a record of everything that was not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import gemmi
import numpy as np
from numpy.typing import NDArray

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
from domains.docking.structures.structure_files import read_structure
from domains.errors import InputError, InputProblem


@dataclass(frozen=True)
class ProteinReport:
    """What reading a protein file kept and dropped, in one line by ``str``.

    Residues are written "A:45B HIS": chain, number with insertion code, name.
    """

    amino_acids: int
    modified: tuple[str, ...]
    hetero: tuple[str, ...]
    waters: int
    additives: tuple[str, ...]
    hydrogens: int
    alternatives: int
    incomplete: int
    missing_atoms: int
    models: int

    def __str__(self) -> str:
        parts = [
            f"{self.amino_acids} amino acids",
            f"{len(self.modified)} modified ({_names(self.modified)})" if self.modified else "",
            f"kept {_names(self.hetero)}" if self.hetero else "",
            f"dropped {self.waters} waters" if self.waters else "",
            f"dropped additives {_names(self.additives)}" if self.additives else "",
            f"dropped {self.hydrogens} hydrogens" if self.hydrogens else "",
            f"dropped {self.alternatives} atoms of alternative conformations" if self.alternatives else "",
            f"{self.missing_atoms} side-chain atoms missing in {self.incomplete} residues" if self.incomplete else "",
            f"first of {self.models} models" if self.models > 1 else "",
        ]
        return "; ".join(part for part in parts if part)


@dataclass(frozen=True, eq=False)
class Protein:
    """Heavy atoms (N) and residues (M) of the first model, in file order, without waters and additives.

    positions (N, 3) float32, Å, in the file's frame; element, residue, atom_name (N,) int64 into the vocabularies;
    residue_index (N,) int64 into the residues; is_ca (N,) bool; residue_ids: M words "A:45B"; residue_names: M words.
    """

    path: Path
    positions: NDArray[np.float32]
    element: NDArray[np.int64]
    residue: NDArray[np.int64]
    atom_name: NDArray[np.int64]
    residue_index: NDArray[np.int64]
    is_ca: NDArray[np.bool_]
    residue_ids: tuple[str, ...]
    residue_names: tuple[str, ...]
    report: ProteinReport


def read_protein(path: Path) -> Protein:
    """Read a PDB or mmCIF file, gzipped or not.

    Of alternative conformations the one with the highest occupancy is kept, residue by residue. Modified residues
    (MSE, SEP, ...) get the type of their parent. Metals, ions, cofactors, sugars and nucleotides are kept with the
    residue type "other". Hydrogens, waters and crystallisation additives are dropped; see ``Protein.report``.

    Raises ``InputError`` for a file that is missing, empty, binary, cut off, or without amino acids.
    """
    structure = read_structure(path)
    tally: Counter[str] = Counter()
    modified: list[str] = []
    hetero: list[str] = []
    additives: list[str] = []
    ids: list[str] = []
    names: list[str] = []
    rows: list[_Row] = []
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
        tuple(ids),
        tuple(names),
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


def _names(labels: tuple[str, ...]) -> str:
    counts = Counter(label.split()[1] for label in labels)
    return ", ".join(name if n == 1 else f"{n} {name}" for name, n in counts.items())


class _Row(NamedTuple):
    position: list[float]
    element: int
    residue: int
    atom_name: int
    residue_index: int
    is_ca: bool


def _row(atom: gemmi.Atom, parent: str | None, residue_index: int) -> _Row:
    known_name = parent is not None and atom.name in ATOM_NAME_VOCABULARY
    return _Row(
        position=atom.pos.tolist(),
        element=ELEMENT_VOCABULARY.index(element_class(atom.element)),
        residue=RESIDUE_VOCABULARY.index(parent or "other"),
        atom_name=ATOM_NAME_VOCABULARY.index(atom.name if known_name else "other"),
        residue_index=residue_index,
        is_ca=parent is not None and atom.name == "CA",
    )


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
