"""Ligands cut out of proteins: an amino acid, a run of two or three, or a side chain, and the pocket that it leaves.

Every protein holds hundreds of well-packed pieces, so that proteins alone teach what binding looks like: the "van der
Mers" of DiffDock-L's training (Corso et al., ICLR 2024, arXiv 2402.18396, section 4.2).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, final

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from domains.docking.structures.ligand import Ligand, from_mol
from domains.docking.structures.protein import Protein
from domains.docking.structures.residues import ATOM_NAME_VOCABULARY, SIDE_CHAINS
from domains.errors import InputError

Cut = Literal["side chain", "amine/amide", "amine/methylamide", "acetyl/amide", "acetyl/methylamide"]
"""Of a run all atoms with caps made of the neighbours' atoms, at its start and its end; or a side chain and its CA."""

CUTS: Final[tuple[Cut, ...]] = (
    *("side chain", "amine/amide", "amine/methylamide", "acetyl/amide", "acetyl/methylamide"),
)

_REACH = 4.5  # Å between heavy atoms in contact
_BACKBONE = ("N", "CA", "C", "O")
_RINGS = {"HIS": 1, "PHE": 1, "PRO": 1, "TRP": 2, "TYR": 1}
_SMALLEST = 5  # heavy atoms; below, where it sits says little
_TRIES = 20
_MOST_TORSIONS = 14  # of drug-like ligands; flexible peptides have more


@final
@dataclass(frozen=True)
class Run:
    """Amino acids that can be cut out, as indices of the protein's residues.

    residues  one to three, from the N to the C end; before, after: their neighbours, which the caps are made of.
    removed   these, and what the protein loses with them: the neighbours in sequence.
    contacts  number of other residues with an atom within 4.5 Å of one of theirs.
    """

    residues: tuple[int, ...]
    before: int
    after: int
    removed: frozenset[int]
    contacts: int


def find_runs(protein: Protein, contacts: int = 8, flank: int = 2, longest: int = 3) -> list[Run]:
    """Runs of complete standard amino acids with at least `contacts` contacts and nothing bonded to their side chains.

    Args:
        protein: whose residues to look at.
        contacts: with residues that stay in the protein.
        flank: neighbours in sequence on either side that are removed with a run, at least 1: a chain that ends at the
            ligand would point to its place.
        longest: number of residues of a run.

    Raises:
        ValueError: if `flank` or `longest` is less than 1.
    """
    if flank < 1 or longest < 1:
        raise ValueError(f"flank and longest must be at least 1, got {flank} and {longest}")
    chain = _Chain(protein)
    near = _contacts(protein)
    runs = []
    for first in range(len(protein.residue_ids)):
        residues: tuple[int, ...] = ()
        current: int | None = first
        while current is not None and len(residues) < longest and chain.is_whole[current]:
            residues = (*residues, current)
            before, after = chain.walk(first, -1, flank), chain.walk(current, 1, flank)
            if before and after:
                removed = frozenset((*residues, *before, *after))
                touched = set().union(*(near[r] for r in residues)) - removed
                if len(touched) >= contacts:
                    runs.append(Run(residues, before[0], after[0], removed, len(touched)))
            current = chain.next.get(current)
    return runs


def cut_out(protein: Protein, run: Run, cut: Cut) -> Ligand | None:
    """The ligand that a run makes, in the protein's frame; None where it makes none.

    That is for a side chain of a run of several or of less than five atoms, too many torsions, a neighbour that lacks
    the atoms of the cap, and a geometry that RDKit perceives other bonds in.
    """
    atoms = _atoms(protein, run, cut)
    if atoms is None or len(atoms) < _SMALLEST:
        return None
    lines = [f"{line[:6]}{serial:5d}{line[11:]}" for serial, line in enumerate(protein.pdb_lines[atoms], start=1)]
    with rdBase.BlockLogs():
        mol = Chem.MolFromPDBBlock("\n".join([*lines, "END\n"]))
    rings = sum(_RINGS.get(protein.residue_names[r], 0) for r in run.residues)
    if mol is None or mol.GetNumAtoms() != len(atoms) or mol.GetNumBonds() != len(atoms) - 1 + rings:
        return None
    names = "-".join(f"{protein.residue_ids[r]}{protein.residue_names[r]}" for r in run.residues)
    try:
        ligand = from_mol(mol, f"{names} {cut}", file=str(protein.path))
    except InputError:
        return None
    return ligand if ligand.n_torsions <= _MOST_TORSIONS else None


@final
class PseudoLigands:
    """All that can be cut out of one protein."""

    def __init__(self, protein: Protein, contacts: int = 8) -> None:
        self.protein, self._contacts = protein, contacts

    @cached_property
    def runs(self) -> list[Run]:
        """Found at the first use, for that takes a tenth of a second."""
        return find_runs(self.protein, self._contacts)

    def draw(self, generator: np.random.Generator, length: int | None = None) -> tuple[Ligand, Protein] | None:
        """A ligand and the protein without it and its neighbours in sequence; None if some tries find none.

        The number of residues is drawn first (if it is not given), then the run, then how it is cut.
        """
        by_length = defaultdict(list)
        for run in self.runs:
            by_length[len(run.residues)].append(run)
        lengths = sorted(by_length) if length is None else [length]
        for _ in range(_TRIES):
            runs = by_length[int(generator.choice(lengths))] if lengths else []
            if not runs:
                return None
            run, cut = runs[generator.integers(len(runs))], CUTS[generator.integers(len(CUTS))]
            if (ligand := cut_out(self.protein, run, cut)) is not None:
                return ligand, self.protein.without_copies(sorted(run.removed))
        return None


def _atoms(protein: Protein, run: Run, cut: Cut) -> NDArray[np.int64] | None:
    """Indices of the atoms in the order of the chain; None where there is no such ligand."""
    if cut == "side chain":
        (name, *more) = (protein.residue_names[r] for r in run.residues)
        wanted = [] if more or name == "PRO" else [(run.residues[0], ("CA", *SIDE_CHAINS[name]))]
    else:
        start, end = cut.split("/")
        wanted = [(run.before, ("CA", "C", "O"))] if start == "acetyl" else []
        wanted += [(r, (*_BACKBONE, *SIDE_CHAINS[protein.residue_names[r]])) for r in run.residues]
        wanted.append((run.after, ("N", "CA") if end == "methylamide" else ("N",)))
    found = [_named(protein, residue, names) for residue, names in wanted]
    if not found or any(len(own) != len(names) for own, (_, names) in zip(found, wanted, strict=True)):
        return None
    return np.sort(np.concatenate(found))


def _named(protein: Protein, residue: int, names: Sequence[str]) -> NDArray[np.int64]:
    low, high = np.searchsorted(protein.residue_index, [residue, residue + 1])
    kinds = [ATOM_NAME_VOCABULARY.index(name) for name in names]
    return low + np.flatnonzero(np.isin(protein.atom_name[low:high], kinds))


def _contacts(protein: Protein) -> dict[int, set[int]]:
    """The residues within reach of each residue, itself among them."""
    pairs = protein.tree.query_pairs(_REACH, output_type="ndarray")
    near: dict[int, set[int]] = defaultdict(set)
    for a, b in np.unique(protein.residue_index[pairs], axis=0).tolist():
        near[a].add(b)
        near[b].add(a)
    return near


@final
class _Chain:
    """Which amino acids follow each other, and which of them are whole and bonded to their two neighbours alone."""

    def __init__(self, protein: Protein) -> None:
        ends = protein.residue_index[protein.bonds]
        across = protein.bonds[ends[:, 0] != ends[:, 1]]
        c, n = (ATOM_NAME_VOCABULARY.index(name) for name in ("C", "N"))
        self.next: dict[int, int] = {}
        crossed = set()
        for a, b in across.tolist():
            kinds = protein.atom_name[a], protein.atom_name[b]
            from_, to = int(protein.residue_index[a]), int(protein.residue_index[b])
            if kinds == (c, n):
                self.next[from_] = to
            elif kinds == (n, c):
                self.next[to] = from_
            else:
                crossed |= {from_, to}
        self.previous = {to: from_ for from_, to in self.next.items()}
        self.is_whole = [
            name in SIDE_CHAINS and i not in crossed and _is_complete(protein, i, name)
            for i, name in enumerate(protein.residue_names)
        ]

    def walk(self, start: int, direction: Literal[-1, 1], steps: int) -> list[int]:
        """Up to so many residues after or before `start`, the nearest first."""
        links = self.next if direction == 1 else self.previous
        found: list[int] = []
        while len(found) < steps and (following := links.get(found[-1] if found else start)) is not None:
            found.append(following)
        return found


def _is_complete(protein: Protein, residue: int, name: str) -> bool:
    low, high = np.searchsorted(protein.residue_index, [residue, residue + 1])
    wanted = sorted(ATOM_NAME_VOCABULARY.index(atom) for atom in (*_BACKBONE, *SIDE_CHAINS[name]))
    return sorted(protein.atom_name[low:high].tolist()) == wanted
