"""Ligands with their conformers, made in worker processes; they import RDKit and no network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from rdkit import Chem

from domains.docking.screen.molecules import key_of
from domains.docking.structures.conformers import conformers
from domains.docking.structures.isomers import Stereo, isomers
from domains.docking.structures.ligand import Ligand, from_smiles
from domains.errors import InputError, InputProblem
from domains.seeds import seed_of

_RDKIT_SEEDS: Final = 2**31


class Recipe(NamedTuple):
    """What is made of a molecule.

    smiles      canonical.
    seed        of the run.
    conformers  of each form.
    stereo      "one" form of a molecule that leaves its stereo open, or "enumerate" for all.
    """

    smiles: str
    seed: int
    conformers: int = 1
    stereo: Stereo = "one"


class Form(NamedTuple):
    """One stereoisomer of a molecule, or the molecule as its SMILES has it.

    smiles   canonical, with atoms in the order of the ligands'.
    ligands  with a conformer each, called by the key of the SMILES.
    """

    smiles: str
    ligands: tuple[Ligand, ...]

    @property
    def key(self) -> str:
        """That the seeds of its poses depend on: it is docked alike wherever it stands."""
        return self.ligands[0].name


def prepare() -> Callable[[Recipe], list[Form]]:
    """In a worker: the function that makes the forms of a molecule."""
    return make


def make(recipe: Recipe) -> list[Form]:
    """The forms that are docked. Raises ``ValueError`` with the reason if there are none."""
    try:
        forms = [recipe.smiles]
        if recipe.stereo == "enumerate":
            forms = [Chem.CanonSmiles(form) for form in isomers(recipe.smiles, InputProblem("", "", "", ""))]
        return [_form(smiles, recipe) for smiles in forms]
    except InputError as error:
        raise ValueError(f"{error.problem.message}; {error.problem.remedy}") from None


def _form(smiles: str, recipe: Recipe) -> Form:
    key = key_of(smiles).hex()
    first = from_smiles(smiles, key, seed_of(recipe.seed, "conformer", key) % _RDKIT_SEEDS)
    return Form(smiles, tuple(conformers(first, recipe.conformers, recipe.seed, key)))
