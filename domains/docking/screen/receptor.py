"""The receptor of a screen: one protein and its pocket, read once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

from domains.docking.structures.copies import without_copies
from domains.docking.structures.ligand_files import LIGAND_SUFFIXES, read_ligands
from domains.docking.structures.pocket import EmptyPocketError, Pocket, PocketChoice, choose_pocket
from domains.docking.structures.pocket_files import read_pocket_choice
from domains.docking.structures.protein import Protein
from domains.docking.structures.protein_files import read_protein
from domains.errors import InputError, InputProblem


@final
@dataclass(frozen=True, eq=False)
class Receptor:
    """What all ligands are docked into.

    remarks  lines about what was kept, left out or changed when it was read.
    """

    protein: Protein
    pocket: Pocket
    remarks: tuple[str, ...]


def read_receptor(path: Path, pocket: str) -> Receptor:
    """A protein, and the pocket that `pocket` means.

    Args:
        path: PDB or mmCIF file.
        pocket: a file of a ligand in its bound pose, the pocket being what is within 6 Å of it, or FILE:RADIUS; or
            point:X,Y,Z, point:X,Y,Z,RADIUS or protein. A copy of that ligand in the protein is removed.

    Raises:
        InputError: if a file cannot be used, or there is no residue in the pocket.
    """
    protein = read_protein(path)
    choice = _choice(pocket)
    if choice.kind == "points":  # of a file that was just read
        file = pocket if pocket.lower().endswith(LIGAND_SUFFIXES) else pocket.rpartition(":")[0]
        ligand = next(read_ligands(Path(file)))
        assert not isinstance(ligand, InputProblem)
        protein = without_copies(protein, ligand, ligand.positions)
    try:
        found = choose_pocket(protein, choice, None)
    except EmptyPocketError as error:
        remedy = "give a pocket in the protein's frame, or a larger radius"
        raise InputError(InputProblem(str(path), "", str(error), remedy)) from error
    return Receptor(protein, found, (*protein.report.remarks, *_in_the_way(protein, found)))


def _choice(text: str) -> PocketChoice:
    remedy = "give a ligand file, point:X,Y,Z, point:X,Y,Z,RADIUS or protein (Å)"
    try:
        choice = read_pocket_choice(text)
    except ValueError as error:
        raise InputError(InputProblem("--pocket", "", f"got '{text}'", remedy)) from error
    if choice.kind == "ligand":
        raise InputError(InputProblem("--pocket", "", f"got '{text}', and a library has no bound poses", remedy))
    return choice


def _in_the_way(protein: Protein, pocket: Pocket) -> tuple[str, ...]:
    """What is no amino acid in the pocket, for it may be the ligand of the crystal."""
    inside = set(pocket.residue_ids)
    kept = [
        f"{word} {name}"
        for word, name, is_amino_acid in zip(
            protein.residue_ids, protein.residue_names, protein.is_amino_acid, strict=True
        )
        if word in inside and not is_amino_acid
    ]
    if not kept:
        return ()
    return (f"{', '.join(kept)} in the pocket stays there; remove it from the file if ligands are to take its place",)
