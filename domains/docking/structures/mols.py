"""Ligands that are RDKit molecules already, as a notebook has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from rdkit import Chem

from domains.docking.structures.isomers import Stereo, read_smiles
from domains.docking.structures.ligand import Ligand, from_mol
from domains.docking.structures.templates import NO_TEMPLATES
from domains.docking.structures.torsions import TorsionRule
from domains.errors import InputError, InputProblem

MolReader = Callable[[Chem.Mol, str, InputProblem], list[Ligand]]
"""The ligands of a molecule with a name, and a place for messages."""

_SOURCE: Final = "RDKit molecule"


def read_mol(
    mol: Chem.Mol,
    name: str,
    where: InputProblem,
    *,
    seed: int,
    rule: TorsionRule,
    stereo: Stereo,
    templates: Mapping[str, Chem.Mol] = NO_TEMPLATES,
) -> list[Ligand]:
    """With a 3-D conformer (the first is taken) one ligand in that pose, its heavy atoms in the molecule's order.

    Without one, or with a drawing's, the molecule is read as its SMILES is, whose order the atoms then have.

    Raises:
        InputError: as :func:`domains.docking.structures.ligand.from_mol` and
            :func:`domains.docking.structures.isomers.read_smiles`.
    """
    if mol.GetNumConformers() and mol.GetConformer().Is3D():
        return [from_mol(mol, name, rule, file=where.file, record=where.record, templates=templates)]
    text = Chem.MolToCXSmiles(mol, Chem.SmilesWriteParams(), Chem.CXSmilesFields.CX_ENHANCEDSTEREO)
    return read_smiles(text, name, where, seed=seed, rule=rule, stereo=stereo)


def ligands_of(
    mols: Sequence[Chem.Mol | None], read: MolReader
) -> Iterator[tuple[InputProblem, Ligand] | InputProblem]:
    """Each ligand with its place for messages, in order; called as the molecules are (`_Name`), else by their numbers.

    Raises:
        TypeError: if one is no molecule; None is one that RDKit could not read, and a problem.
    """
    if not mols:
        yield InputProblem(_SOURCE, "", "there is none in the list", "give at least one")
    for number, mol in enumerate(mols, start=1):
        if mol is None:
            message = "it is None: RDKit could not read what it was made from"
            yield InputProblem(_SOURCE, f"molecule {number}", message, "correct its source, or leave it out")
            continue
        if not isinstance(mol, Chem.Mol):
            raise TypeError(f"ligand must be a path, a SMILES or RDKit molecules, got {type(mol).__name__} at {number}")
        title = mol.GetProp("_Name").strip() if mol.HasProp("_Name") else ""
        name = title or ("ligand" if len(mols) == 1 else f"ligand_{number}")
        where = InputProblem(_SOURCE, f"molecule {number} ({name})", "", "")
        try:
            for ligand in read(mol, name, where):
                yield where, ligand
        except InputError as error:
            yield error.problem
