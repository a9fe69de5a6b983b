"""The receptor of a screen: one protein and its pocket, read once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import final

from domains.docking.structures.bound_molecules import ALL_LIGANDS, MoleculeChoice
from domains.docking.structures.complexes import Complex
from domains.docking.structures.copies import without_copies
from domains.docking.structures.free_pocket import free_pocket
from domains.docking.structures.ligand import Ligand
from domains.docking.structures.ligand_files import LIGAND_SUFFIXES, read_ligands
from domains.docking.structures.pocket import EmptyPocketError, Pocket, PocketChoice
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

    def with_ligand(self, ligand: Ligand, name: str) -> Complex:
        """What is docked; nobody knows how the ligand binds."""
        return Complex(name, ligand, self.pocket, None, self.protein)


def read_receptor(path: Path, pocket: str, drop: Collection[str] = (), keep: Collection[str] = ()) -> Receptor:
    """A protein, and the pocket that `pocket` means.

    Args:
        path: PDB or mmCIF file.
        pocket: a file of a ligand in its bound pose, the pocket being what is within 6 Å of it, or FILE:RADIUS; or
            point:X,Y,Z, point:X,Y,Z,RADIUS or protein. A copy of that ligand in the protein is removed.
        drop: molecules of the protein file to leave out: names of residues, places (A:301), or "all-ligands".
        keep: those to keep; without either, what is bound in the pocket and no cofactor is left out.

    Raises:
        InputError: if a file cannot be used, there is no residue in the pocket, or a name is to be left out and kept.
    """
    try:
        molecules = MoleculeChoice(frozenset(drop), frozenset(keep))
    except ValueError as error:
        raise InputError(InputProblem("--drop", "", str(error), "name it once")) from error
    protein = read_protein(path, molecules.keep)
    for name in sorted((molecules.drop | molecules.keep) - protein.residue_words - {ALL_LIGANDS}):
        remedy = f"give the name of a residue as the file has it (LIG), its place (A:301), or {ALL_LIGANDS}"
        raise InputError(InputProblem(str(path), "", f"no residue in it is called {name}", remedy))
    choice = _choice(pocket)
    if choice.kind == "points":  # of a file that was just read
        file = pocket if pocket.lower().endswith(LIGAND_SUFFIXES) else pocket.rpartition(":")[0]
        ligand = next(read_ligands(Path(file)))
        assert not isinstance(ligand, InputProblem)
        protein = without_copies(protein, ligand, ligand.positions)
    try:
        protein, found, remarks = free_pocket(protein, choice, None, molecules)
    except EmptyPocketError as error:
        remedy = "give a pocket in the protein's frame, or a larger radius"
        raise InputError(InputProblem(str(path), "", str(error), remedy)) from error
    return Receptor(protein, found, (*remarks, *protein.report.remarks))


def _choice(text: str) -> PocketChoice:
    remedy = "give a ligand file, point:X,Y,Z, point:X,Y,Z,RADIUS or protein (Å)"
    try:
        choice = read_pocket_choice(text)
    except ValueError as error:
        raise InputError(InputProblem("--pocket", "", f"got '{text}'", remedy)) from error
    if choice.kind == "ligand":
        raise InputError(InputProblem("--pocket", "", f"got '{text}', and a library has no bound poses", remedy))
    return choice
