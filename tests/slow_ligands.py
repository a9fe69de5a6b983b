"""A maker of conformers that hangs at bromine and raises at chlorine."""

from __future__ import annotations

import time
from collections.abc import Callable

from domains.docking.screen import conformers
from domains.docking.screen.conformers import Recipe
from domains.docking.structures.ligand import Ligand


def prepare() -> Callable[[Recipe], Ligand]:
    def work(recipe: Recipe) -> Ligand:
        if "Br" in recipe.smiles:
            time.sleep(600)
        if "Cl" in recipe.smiles:
            raise ValueError("no conformer today")
        return conformers.make(recipe)

    return work
