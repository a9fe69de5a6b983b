"""A part of a protein's file, for tests whose cost grows with the protein."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rdkit import Chem


def around_ligand(protein: Path, ligand: Path, reach: float) -> str:
    """The lines of a PDB file of the residues with an atom within `reach` Å of the first ligand of an SDF file."""
    mol = next(iter(Chem.SDMolSupplier(str(ligand))))
    lines = [line for line in protein.read_text().splitlines() if line.startswith("ATOM")]
    atoms = np.array([[float(line[k : k + 8]) for k in (30, 38, 46)] for line in lines])
    near = np.linalg.norm(atoms[:, None] - mol.GetConformer().GetPositions(), axis=-1).min(1) < reach
    kept = {line[21:27] for line, is_near in zip(lines, near, strict=True) if is_near}
    return "\n".join([*(line for line in lines if line[21:27] in kept), "END", ""])
