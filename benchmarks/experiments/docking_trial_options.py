"""Options of the comparison of docking fits, and what a fit in it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final

import tyro

from domains.docking.settings import fit_config
from ld3.learn import FitConfig

USUAL: Final = "usual"
"""The fit that all others are compared with."""


@dataclass(frozen=True)
class Trial:
    """A fit.

    Attributes:
        name: of the row.
        asks: what the row is there to show.
        change: fields of the usual `FitConfig` that differ.
        share: of the usual teacher pairs.
        general: whether the model's general grid is what it starts from.
    """

    name: str
    asks: str
    change: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0
    general: bool = False

    def config(self, nfe: int) -> FitConfig:
        """Of the fit, without its seed."""
        change: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in self.change.items()
        }
        return replace(fit_config(nfe), **change)


@dataclass(frozen=True)
class Options:
    """Options of the comparison."""

    complexes: Path
    """folder with NAME/protein.pdb and NAME/ligands.sdf, or a CSV in DiffDock's format"""
    fits: Annotated[tuple[Trial, ...], tyro.conf.Suppress]
    nfe: int
    """network evaluations a pose"""
    twice: int
    """hand-made grids are shown at this number of evaluations as well"""
    seeds: tuple[int, ...]
    """of starts, teacher pairs and batches; one fit each"""
    samples: int
    """poses a complex and seed"""
    fit_poses: int
    """teacher poses that the usual fit may see, none of which is evaluated"""
    out: Path
    """folder for the results; a comparison that was interrupted there goes on"""
    weights: Path
    """general, demo, or a file of domains.docking.train"""
    only: Path | None = None
    """list of names: the complexes to dock"""
    trials: tuple[str, ...] = ()
    """names of the fits; all of them without it"""
    page: Path | None = None
    """Markdown page with the markers of the table"""
    ball_page: Path | None = None
    """Markdown page with the markers of the table of balls"""
