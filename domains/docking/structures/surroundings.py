"""The part of a protein that a pose can touch, as the PDB text that other programs read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from domains.docking.structures.structure_files import read_structure


@dataclass(frozen=True, eq=False)
class Surroundings:
    """All atoms of a protein file's first model, waters, ions and hydrogens too.

    lines  (N,) their lines in PDB format; tree: where they are, Å.
    """

    lines: NDArray[np.str_]
    tree: cKDTree

    @classmethod
    def read(cls, path: Path) -> Surroundings:
        """From a PDB or mmCIF file, gzipped or not. Raises ``InputError`` as :func:`read_structure` does."""
        structure = read_structure(path)
        del structure[1:]
        structure.shorten_chain_names()  # mmCIF has longer ones than PDB has room for
        text = structure.make_pdb_string(gemmi.PdbWriteOptions(ter_records=False, conect_records=False))
        lines = [line for line in text.splitlines() if line.startswith(("ATOM", "HETATM"))]
        positions = [[float(line[column : column + 8]) for column in (30, 38, 46)] for line in lines]
        return cls(np.array(lines), cKDTree(positions))

    def around(self, positions: NDArray[Any], reach: float) -> str:
        """A PDB block of the atoms within `reach` Å of any of `positions` (A, 3), or of the nearest one alone."""
        near = sorted(set().union(*self.tree.query_ball_point(positions, reach)))
        if not near:
            distance, index = self.tree.query(positions)
            near = [index[distance.argmin()]]
        # Serial numbers start again from 1: RDKit cannot read the hybrid-36 ones of large structures.
        numbered = [f"{line[:6]}{serial:5d}{line[11:]}" for serial, line in enumerate(self.lines[near], start=1)]
        return "\n".join([*numbered, "END\n"])
