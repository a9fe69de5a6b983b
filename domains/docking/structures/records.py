"""What a user's files say about each complex: a folder of proteins and ligands, and the complexes of PoseBusters."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from domains.docking.structures.ligand import Ligand
from domains.docking.structures.ligand_files import LigandReader, read_sdf
from domains.docking.structures.protein import Protein
from domains.docking.structures.protein_files import read_protein
from domains.docking.structures.torsions import TorsionRule
from domains.errors import InputError, InputProblem

POSEBUSTERS_NAMES: tuple[str, ...] = ("1ia1", "1of6", "1s3v", "1uou")


@dataclass(frozen=True, eq=False)
class Record:
    """One complex as it was given.

    pose      (A, 3) float32, Å, of the ligand, in the protein's frame if the user is right; ``None`` if it has none.
    is_known  whether the user says of this very complex that the pose is the bound one; ``None``: nothing is said.
    where     the place in the user's files, for messages.
    remarks   lines about how the ligand was read.
    """

    name: str
    protein: Protein
    ligand: Ligand
    pose: NDArray[np.float32] | None
    is_known: bool | None
    where: InputProblem
    remarks: tuple[str, ...] = ()


def folder_records(
    folder: Path, read: LigandReader, keep: frozenset[str] = frozenset(), only: Collection[str] | None = None
) -> Iterator[Record | InputProblem]:
    """From ``NAME/protein.pdb`` + ``NAME/ligands.sdf``: one for each ligand, called ``NAME/title``; ``keep``: additives
    of the protein files that stay; ``only``: the NAMEs that are read."""
    remedy = "give a folder with NAME/protein.pdb and NAME/ligands.sdf"
    if not folder.is_dir():
        yield InputProblem(str(folder), "", "it is not a folder", remedy)
        return
    series = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not series:
        yield InputProblem(str(folder), "", "there are no complexes in it", remedy)
    for place in series if only is None else [place for place in series if place.name in only]:
        try:
            protein = read_protein(place / "protein.pdb", keep)
        except InputError as error:
            yield error.problem
            continue
        for number, ligand in enumerate(read(place / "ligands.sdf"), start=1):
            if isinstance(ligand, InputProblem):
                yield ligand
                continue
            where = InputProblem(str(place / "ligands.sdf"), f"record {number} ({ligand.name})", "", "")
            yield Record(f"{place.name}/{ligand.name}", protein, ligand, ligand.pose, None, where)


def posebusters_records(rule: TorsionRule) -> Iterator[Record | InputProblem]:
    """The four crystal complexes in the ``posebusters`` package: 1ia1, 1of6, 1s3v, 1uou.

    For each, ``posebusters/datasets/pdb/NAME/NAME_protein_one_lig_removed.pdb`` and ``NAME_ligand.sdf``, the pose of
    the ligand that was removed.
    """
    datasets = Path(str(resources.files("posebusters"))) / "datasets" / "pdb"
    for name in POSEBUSTERS_NAMES:
        path = datasets / name / f"{name}_ligand.sdf"
        where = InputProblem(str(path), name, "", "")
        try:
            protein = read_protein(datasets / name / f"{name}_protein_one_lig_removed.pdb")
            ligand = only_ligand(read_sdf(path, rule), where)
        except InputError as error:
            yield error.problem
        else:
            yield Record(name, protein, ligand, ligand.pose, None, where)


def only_ligand(ligands: Iterator[Ligand | InputProblem], where: InputProblem) -> Ligand:
    """The one ligand of a file; ``InputError`` if it cannot be used or there are several."""
    first, second = next(ligands), next(ligands, None)
    if isinstance(first, InputProblem):
        raise InputError(first)
    if second is not None:
        raise InputError(replace(where, message="the ligand file has several records", remedy="give one in each file"))
    return first
