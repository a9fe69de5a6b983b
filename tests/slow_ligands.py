"""A maker of conformers that hangs at bromine and raises at chlorine."""

from __future__ import annotations

import time
from collections.abc import Callable

from domains.docking.screen import conformers
from domains.docking.screen.conformers import Form, Recipe


def prepare() -> Callable[[Recipe], list[Form]]:
    def work(recipe: Recipe) -> list[Form]:
        if "Br" in recipe.smiles:
            time.sleep(600)
        if "Cl" in recipe.smiles:
            raise ValueError("no conformer today")
        return conformers.make(recipe)

    return work
