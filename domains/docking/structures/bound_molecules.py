"""Small molecules that are bound in a pocket, and would be in the way of the ligand that is docked there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import gemmi
import numpy as np

from domains.docking.structures.protein import Protein
from domains.docking.structures.small_molecules import is_cofactor

ALL_LIGANDS = "all-ligands"
"""In place of a name: every bound molecule that is no cofactor."""

_SMALLEST = 6  # heavy atoms; ions, sulfate, phosphate, acetate and the like are less
_SUGARS = (gemmi.ResidueKind.PYR, gemmi.ResidueKind.KET)


@dataclass(frozen=True)
class BoundMolecule:
    """residues: its indices in the protein; atoms: how many heavy ones."""

    residues: tuple[int, ...]
    atoms: int


@dataclass(frozen=True)
class MoleculeChoice:
    """Which molecules of a protein file are left out and kept, by the names of residues, or "all-ligands".

    Where neither says anything, those in a pocket around a point or in a whole protein are left out, for they would be
    in the way; around a ligand's own pose they are neighbours, and stay.
    """

    drop: frozenset[str] = frozenset()
    keep: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if both := sorted(self.drop & self.keep):
            raise ValueError(f"drop and keep both name {both[0]}; say one of them")


def bound_molecules(protein: Protein) -> list[BoundMolecule]:
    """Molecules of six or more heavy atoms that are no part of the protein and no known cofactor.

    What stays: whatever has a metal or no carbon, sugars on the protein, residues in a peptide chain or in a nucleic
    acid, and cofactors by name and composition.
    """
    ends = protein.residue_index[protein.bonds]
    between = ends[ends[:, 0] != ends[:, 1]]
    neighbours: dict[int, set[int]] = {}
    for a, b in between.tolist():
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    sizes = np.bincount(protein.residue_index, minlength=len(protein.residue_ids))
    found: list[BoundMolecule] = []
    seen: set[int] = set()
    for start in np.flatnonzero(~protein.is_amino_acid).tolist():
        if start in seen:
            continue
        group, on_protein = _group(protein, start, neighbours)
        seen |= group
        atoms = int(sizes[sorted(group)].sum())
        if atoms >= _SMALLEST and not _belongs(protein, group, on_protein):
            found.append(BoundMolecule(tuple(sorted(group)), atoms))
    return found


def left_out(
    protein: Protein, molecules: Iterable[BoundMolecule], pocket: Collection[str] | None, choice: MoleculeChoice
) -> dict[int, str]:
    """Residue -> why it is left out, in words.

    Args:
        protein: that holds them.
        molecules: its bound molecules.
        pocket: the residues of the pocket, "A:45B", if bound molecules in it are in the way; None if they are not.
        choice: what the user says.
    """
    out: dict[int, str] = {}
    for i, (place, name) in enumerate(zip(protein.residue_ids, protein.residue_names, strict=True)):
        if not protein.is_amino_acid[i] and (name in choice.drop or place in choice.drop):
            out[i] = "as asked"
    for molecule in molecules:
        names = {word for i in molecule.residues for word in (protein.residue_names[i], protein.residue_ids[i])}
        if not names.isdisjoint(choice.keep) or ALL_LIGANDS in choice.keep:
            continue
        is_in_pocket = pocket is not None and any(protein.residue_ids[i] in pocket for i in molecule.residues)
        if ALL_LIGANDS in choice.drop:
            reason = "as asked"
        elif is_in_pocket:
            name = protein.residue_names[molecule.residues[0]]
            reason = f"{molecule.atoms} heavy atoms bound in the pocket, where the ligand goes; --keep {name} keeps it"
        else:
            continue
        for i in molecule.residues:
            out.setdefault(i, reason)
    return out


def _group(protein: Protein, start: int, neighbours: dict[int, set[int]]) -> tuple[set[int], set[int]]:
    """Residues that are bonded to one and are no amino acids, and the amino acids that these are bonded to."""
    group, on_protein, open_ = {start}, set[int](), [start]
    while open_:
        for other in neighbours.get(open_.pop(), ()):
            if protein.is_amino_acid[other]:
                on_protein.add(other)
            elif other not in group:
                group.add(other)
                open_.append(other)
    return group, on_protein


def _belongs(protein: Protein, group: set[int], on_protein: set[int]) -> bool:
    elements: Counter[str] = Counter()
    for number in protein.atomic_number[np.isin(protein.residue_index, sorted(group))].tolist():
        elements[gemmi.Element(number).name] += 1
    if not elements["C"] or any(gemmi.Element(symbol).is_metal for symbol in elements):
        return True
    names = [protein.residue_names[i] for i in group]
    kinds = [gemmi.find_tabulated_residue(name) for name in names]
    if on_protein and (len(on_protein) > 1 or all(kind.kind in _SUGARS for kind in kinds)):
        return True
    if len(group) > 1 and all(kind.is_nucleic_acid() for kind in kinds):
        return True
    return any(is_cofactor(name, elements) for name in names)
