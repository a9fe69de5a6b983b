"""The conformers that a ligand's poses start from; sampling turns torsions, and leaves rings as they are."""

from __future__ import annotations

from typing import Final

from domains.docking.structures.ligand import Ligand, with_conformer
from domains.seeds import seed_of

LARGEST_RDKIT_SEED: Final = 2**31 - 1


def conformers(ligand: Ligand, count: int, seed: int, name: str) -> list[Ligand]:
    """The ligand with its own coordinates, and then with `count` - 1 fresh ones of RDKit.

    Args:
        ligand: as it was read.
        count: of all.
        seed: of the run; the k-th conformer of a complex called `name` depends on these three alone.
        name: of the complex.

    Raises:
        InputError: if RDKit finds no conformer.
    """
    seeds = [seed_of(seed, "conformer", name, str(k)) % LARGEST_RDKIT_SEED for k in range(1, count)]
    return [ligand, *(with_conformer(ligand, own) for own in seeds)]
