"""Atoms as the lines of a protein file give them, before it is decided which residue each belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Row(NamedTuple):
    """One atom of a file.

    line        of the file, from 1.
    name        of the atom; column is where a PDB file has it (" CA ", "CA  "), and empty in mmCIF.
    residue     name of the residue.
    chain       its id, and segment where a PDB file has one.
    number      of the residue, with its insertion code (" " if none).
    piece       counts the parts that TER records make of a PDB file.
    element     as it is written, perhaps empty; is_pdbqt: it is an AutoDock type.
    """

    line: int
    is_hetero: bool
    name: str
    column: str
    altloc: str
    residue: str
    chain: str
    segment: str
    number: int
    insertion: str
    piece: int
    position: tuple[float, float, float]
    occupancy: float
    element: str
    is_pdbqt: bool
    charge: int


class FileError(ValueError):
    """Something in a protein file that cannot be read; the message names the line."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The atoms of the first model of a file.

    waters  residues that were recognised as water by their names, and are not among the rows.
    models  of the file; other_models: positions (N, 3), Å, of the atoms of each one that is not read.
    remarks lines about the file.
    """

    rows: Sequence[Row]
    waters: int
    models: int
    other_models: tuple[NDArray[np.float32], ...]
    remarks: tuple[str, ...]


WATER_NAMES = frozenset(
    (
        *("HOH", "WAT", "DOD", "H2O", "SOL", "SPC", "SPCE", "TIP", "TIP3", "TIP4", "TIP5", "TP3", "TP4", "TP5"),
        *("T3P", "T4P", "OH2", "OPC", "SWM4", "HOD"),
    )
)
