"""One protein file and what is docked into it: a ligand file, or a SMILES."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from domains.docking.structures.isomers import SmilesReader
from domains.docking.structures.ligand import smiles_and_name
from domains.docking.structures.ligand_files import LIGAND_SUFFIXES, LigandReader
from domains.docking.structures.protein_files import read_protein
from domains.docking.structures.records import Record
from domains.errors import InputError, InputProblem


@dataclass(frozen=True)
class Pair:
    """A protein's file, and a ligand file or a SMILES, with a name after a blank if it has one."""

    protein: Path | str
    ligand: Path | str


def pair_records(
    pair: Pair, read: LigandReader, read_smiles: SmilesReader, keep: frozenset[str] = frozenset()
) -> Iterator[Record | InputProblem]:
    """One for each ligand of the file, by its title, or the file's name where it has none; for a SMILES "ligand", or
    the name that follows it, and "isomer_1", ... where there are several. keep: additives of the protein's file that
    stay.
    """
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
    for number, found in enumerate(read(Path(text)), start=1):
        if isinstance(found, InputProblem):
            yield found
            continue
        place = replace(where, record=f"record {number} ({found.name})")
        yield Record(found.name, protein, found, found.pose, None, place)
