"""The pocket that is docked into: without the molecules that are bound in it and would be in the way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domains.docking.structures.bound_molecules import MoleculeChoice, bound_molecules, left_out
from domains.docking.structures.copies import in_place_of
from domains.docking.structures.pocket import Pocket, PocketChoice, choose_pocket
from domains.docking.structures.protein import Protein

_FEW_RESIDUES = 5


def free_pocket(
    protein: Protein, choice: PocketChoice, pose: NDArray[np.float32] | None, molecules: MoleculeChoice
) -> tuple[Protein, Pocket, tuple[str, ...]]:
    """The protein without what is left out, its pocket, and remarks about the pocket.

    Args:
        protein: without copies of the ligand.
        choice: which pocket; where it is not put around the pose, bound molecules in it are left out.
        pose: (A, 3), Å, of the ligand, where it is known.
        molecules: what the user wants left out and kept.

    Raises:
        EmptyPocketError: if no residue is in the pocket.
    """
    pocket = choose_pocket(protein, choice, pose)
    own = choice.kind == "ligand"
    reasons = left_out(protein, bound_molecules(protein), None if own else pocket.residue_ids, molecules)
    for i in in_place_of(protein, np.array(choice.points, dtype=np.float32)) if choice.points else ():
        words = {protein.residue_names[i], protein.residue_ids[i]}
        if not protein.is_amino_acid[i] and words.isdisjoint(molecules.keep):
            reasons.setdefault(i, f"it is where {choice.source} is")
    if reasons:
        protein = protein.leaving_out(reasons)
        pocket = choose_pocket(protein, choice, pose)
    small = len(pocket.residue_ids) < _FEW_RESIDUES
    return protein, pocket, (f"the pocket is small ({pocket.spec}): is it where the ligand binds?",) if small else ()
