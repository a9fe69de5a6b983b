"""Ligands from a SMILES as people write it: with counter-ions, and with stereo that is not specified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Literal

from rdkit import Chem, rdBase
from rdkit.Chem import EnumerateStereoisomers

from domains.docking.structures.ligand import Ligand, from_smiles
from domains.docking.structures.torsions import TorsionRule
from domains.errors import InputError, InputProblem

Stereo = Literal["one", "enumerate"]
"""What becomes of a SMILES whose stereo is open: one isomer is docked, or each is."""

SmilesReader = Callable[[str, str, InputProblem], list[Ligand]]
"""The ligands of a SMILES with a name, and a place for messages."""

MOST_ISOMERS: Final = 32


def read_smiles(
    smiles: str, name: str, where: InputProblem, *, seed: int, rule: TorsionRule, stereo: Stereo
) -> list[Ligand]:
    """One ligand, or one for each stereoisomer, called "isomer_1", "isomer_2", ... where there are several.

    Protonation and tautomer stay as they are written. Of a salt the largest part is taken, and a remark says what was
    left out.

    Raises:
        InputError: as :func:`from_smiles`; also if two parts are equally large, or there are more than 32 isomers.
    """
    parent, remarks = without_salts(smiles, where)
    forms = isomers(parent, where) if stereo == "enumerate" else [parent]
    several = len(forms) > 1
    found = []
    for number, form in enumerate(forms, start=1):
        own = f"isomer_{number}" if several else name
        ligand = from_smiles(form, own, seed, rule, file=where.file, record=where.record)
        said = (*remarks, f"stereoisomer {number} of {len(forms)}: {form}") if several else remarks
        found.append(replace(ligand, remarks=(*said, *ligand.remarks)))
    return found


def without_salts(smiles: str, where: InputProblem) -> tuple[str, tuple[str, ...]]:
    """The part with the most heavy atoms, and a remark about the others; the text itself if it has one part alone.

    Raises:
        InputError: if another molecule is as large.
    """
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles) if "." in smiles else None
        if mol is None:
            return smiles, ()
        parts = {Chem.MolToSmiles(part): part.GetNumHeavyAtoms() for part in Chem.GetMolFrags(mol, asMols=True)}
    if len(parts) == 1 and len(Chem.GetMolFrags(mol)) == 1:
        return smiles, ()
    largest = max(parts.values())
    parents = [part for part, size in parts.items() if size == largest]
    if len(parents) > 1:
        message = f"{' and '.join(parents)} are equally large, so that neither is the other's counter-ion"
        raise InputError(replace(where, message=message, remedy="give the SMILES of one molecule"))
    rest = [part for part in parts if part != parents[0]]
    return parents[0], (f"left out {', '.join(rest) or 'its copies'}; docked is {parents[0]}",)


def isomers(smiles: str, where: InputProblem) -> list[str]:
    """Every stereoisomer that the SMILES stands for and that can be built in space, in the order of their SMILES.

    Raises:
        InputError: if there are more than 32.
    """
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
        if mol is None:
            return [smiles]
        options = EnumerateStereoisomers.StereoEnumerationOptions(tryEmbedding=True, unique=True, rand=1)
        if (count := EnumerateStereoisomers.GetStereoisomerCount(mol, options=options)) > MOST_ISOMERS:
            message = f"its stereo is open in {count} ways, and at most {MOST_ISOMERS} are docked"
            raise InputError(replace(where, message=message, remedy="specify some of the centres"))
        found = sorted(
            Chem.MolToSmiles(isomer) for isomer in EnumerateStereoisomers.EnumerateStereoisomers(mol, options=options)
        )
    return found or [smiles]
