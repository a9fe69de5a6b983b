"""One protein file and what is docked into it: a ligand file, a SMILES, or RDKit molecules."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rdkit import Chem

from domains.docking.structures.isomers import SmilesReader
from domains.docking.structures.ligand import smiles_and_name
from domains.docking.structures.ligand_files import LIGAND_SUFFIXES, LigandReader
from domains.docking.structures.mols import MolReader, ligands_of
from domains.docking.structures.protein_files import read_protein
from domains.docking.structures.records import Record
from domains.errors import InputError, InputProblem


@dataclass(frozen=True)
class Pair:
    """A protein's file, and a ligand file, a SMILES with a name after a blank if it has one, or RDKit molecules."""

    protein: Path | str
    ligand: Path | str | Chem.Mol | Sequence[Chem.Mol | None]


def pair_records(
    pair: Pair, read: LigandReader, read_smiles: SmilesReader, read_mol: MolReader, keep: frozenset[str] = frozenset()
) -> Iterator[Record | InputProblem]:
    """One for each ligand of the file, by its title, or the file's name where it has none; for a SMILES "ligand", or
    the name that follows it, and "isomer_1", ... where there are several; for molecules see
    :func:`domains.docking.structures.mols.ligands_of`. keep: additives of the protein's file that stay.
    """
    if not isinstance(pair.ligand, str | Path):
        mols = [pair.ligand] if isinstance(pair.ligand, Chem.Mol) else list(pair.ligand)
        try:
            protein = read_protein(Path(pair.protein), keep)
        except InputError as error:
            yield error.problem
            return
        for found in ligands_of(mols, read_mol):
            if isinstance(found, InputProblem):
                yield found
            else:
                where, ligand = found
                yield Record(ligand.name, protein, ligand, ligand.pose, None, where)
        return
    text = str(pair.ligand)
    is_file = isinstance(pair.ligand, Path) or os.path.isfile(text) or text.lower().endswith(LIGAND_SUFFIXES)
    where = InputProblem(text if is_file else "SMILES", "" if is_file else text, "", "")
    try:
        protein = read_protein(Path(pair.protein), keep)
        if not is_file:
            smiles, name = smiles_and_name(text)
            for ligand in read_smiles(smiles, name or "ligand", where):
                yield Record(ligand.name, protein, ligand, None, None, where)
            return
    except InputError as error:
        yield error.problem
        return
    for number, read_ligand in enumerate(read(Path(text)), start=1):
        if isinstance(read_ligand, InputProblem):
            yield read_ligand
            continue
        place = replace(where, record=f"record {number} ({read_ligand.name})")
        yield Record(read_ligand.name, protein, read_ligand, read_ligand.pose, None, place)
