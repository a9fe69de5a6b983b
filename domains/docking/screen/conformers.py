"""Ligands with a conformer, made in worker processes; they import RDKit and no network."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from domains.docking.structures.ligand import Ligand, from_smiles
from domains.errors import InputError


class Recipe(NamedTuple):
    """What a ligand is made from: canonical SMILES, its key as the name, and the seed of its conformer."""

    smiles: str
    key: str
    seed: int


def prepare() -> Callable[[Recipe], Ligand]:
    """In a worker: the function that makes a ligand."""
    return make


def make(recipe: Recipe) -> Ligand:
    """The ligand. Raises ``ValueError`` with the reason if it cannot be docked."""
    try:
        return from_smiles(recipe.smiles, recipe.key, recipe.seed)
    except InputError as error:
        raise ValueError(f"{error.problem.message}; {error.problem.remedy}") from None
