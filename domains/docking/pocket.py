"""The part of a protein that the network sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from domains.docking.receptor import Protein

_SAME_PLACE = 1.0  # Å; no two atoms that are not the same one come this close


@dataclass(frozen=True, eq=False)
class Pocket:
    """Heavy atoms (P) of whole residues, in the order of the protein.

    positions (P, 3) float32, Å, in the file's frame; element, residue, atom_name (P,) int64 into the vocabularies of
    ``domains.docking.residues``; residue_index (P,) int64 into ``residue_ids`` ("A:45B").
    origin (3,) float32, Å: mean alpha carbon, or mean atom where there is none. spec: how the pocket was chosen.
    """

    positions: NDArray[np.float32]
    element: NDArray[np.int64]
    residue: NDArray[np.int64]
    atom_name: NDArray[np.int64]
    residue_index: NDArray[np.int64]
    origin: NDArray[np.float32]
    residue_ids: tuple[str, ...]
    spec: str


def pocket_around_ligand(protein: Protein, positions: NDArray[np.float32], radius: float = 6.0) -> Pocket:
    """Residues with an atom within ``radius`` Å of an atom of the reference ligand (A, 3).

    A copy of the reference ligand in the protein file is left out, or the answer would be part of the question.
    Raises ``ValueError`` if no residue is that near or the radius is not positive.
    """
    _check_radius(radius)
    distance, _ = cKDTree(positions).query(protein.positions)
    copies = _copies(protein, positions, distance)
    near = np.unique(protein.residue_index[distance <= radius])
    names = ", ".join(f"{protein.residue_ids[i]} {protein.residue_names[i]}" for i in copies)
    spec = f"ligand, {radius:g} Å" + (f", without the copy of the ligand at {names}" if copies else "")
    return _pocket(protein, np.setdiff1d(near, copies), spec)


def pocket_around_point(protein: Protein, xyz: NDArray[np.float32], radius: float = 12.0) -> Pocket:
    """Residues with an atom within ``radius`` Å of a point (3,), Å. Raises ``ValueError`` as the above."""
    _check_radius(radius)
    distance = np.linalg.norm(protein.positions - np.asarray(xyz, dtype=np.float32), axis=1)
    near = np.unique(protein.residue_index[distance <= radius])
    return _pocket(protein, near, "point " + ", ".join(f"{c:g}" for c in xyz) + f", {radius:g} Å")


def whole_protein(protein: Protein) -> Pocket:
    """Every residue."""
    return _pocket(protein, np.arange(len(protein.residue_ids)), "whole protein")


def _copies(protein: Protein, ligand: NDArray[np.float32], distance: NDArray[np.float64]) -> list[int]:
    """Residues that are the reference ligand, or a piece of it where a file splits a peptide or sugar into residues.

    Either half of the ligand's atoms have an atom of the residue in their place, or half of the residue's atoms have
    an atom of the ligand in theirs.
    """
    copies = []
    for index in np.unique(protein.residue_index[distance <= _SAME_PLACE]):
        own = protein.residue_index == index
        covered, _ = cKDTree(protein.positions[own]).query(ligand)
        if np.mean(covered <= _SAME_PLACE) >= 0.5 or np.mean(distance[own] <= _SAME_PLACE) >= 0.5:
            copies.append(int(index))
    return copies


def _pocket(protein: Protein, residues: NDArray[np.int64], spec: str) -> Pocket:
    inside = np.isin(protein.residue_index, residues)
    if not inside.any():
        raise ValueError(f"pocket '{spec}' contains no residue; use a larger radius or another centre")
    positions = protein.positions[inside]
    alpha = protein.positions[inside & protein.is_ca]
    return Pocket(
        positions,
        protein.element[inside],
        protein.residue[inside],
        protein.atom_name[inside],
        np.searchsorted(residues, protein.residue_index[inside]),
        (alpha if len(alpha) else positions).mean(axis=0, dtype=np.float64).astype(np.float32),
        tuple(protein.residue_ids[i] for i in residues),
        f"{spec}: {len(residues)} residues",
    )


def _check_radius(radius: float) -> None:
    if not 0 < radius < float("inf"):
        raise ValueError(f"radius is {radius}; give a positive number of Å")
