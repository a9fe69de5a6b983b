"""The part of a protein that the network sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from domains.docking.structures.protein import Protein

POINT_RADIUS: Final = 12.0
"""Å around a point, unless said otherwise."""


_WHOLE: Final = "whole protein"


def _check_radius(radius: float) -> None:
    if not 0 < radius < float("inf"):
        raise ValueError(f"radius is {radius}; give a positive number of Å")


class EmptyPocketError(ValueError):
    """No residue of the protein is where the pocket was chosen."""


@dataclass(frozen=True)
class PocketChoice:
    """How pockets are chosen: within ``radius`` Å of the reference ligand, of the mean of its atoms
    ("point-of-ligand"), of the point ``xyz``, of any of the ``points`` (the atoms of another ligand, from the file
    ``source``), or everything.
    """

    kind: Literal["ligand", "point-of-ligand", "point", "points", "protein"] = "ligand"
    radius: float = 6.0
    xyz: tuple[float, float, float] | None = None
    points: tuple[tuple[float, float, float], ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        _check_radius(self.radius)
        if self.kind not in get_args(get_type_hints(PocketChoice)["kind"]):
            known = "'ligand', 'point-of-ligand', 'point', 'points' or 'protein'"
            raise ValueError(f"kind is {self.kind!r}; use {known}")
        if (self.kind == "points") != bool(self.points):
            raise ValueError(f"points are {self.points} with kind {self.kind!r}; give them for 'points' and only there")
        if (self.xyz is None) == (self.kind == "point"):
            raise ValueError(f"xyz is {self.xyz} with kind {self.kind!r}; give it for a point and only there")

    @property
    def needs_pose(self) -> bool:
        """Whether the ligand's own pose says where it is."""
        return self.kind in ("ligand", "point-of-ligand")

    @staticmethod
    def parse(text: str) -> PocketChoice:
        """From ``ligand``, ``ligand:RADIUS``, ``point-of-ligand``, ``point-of-ligand:RADIUS``, ``point:X,Y,Z``,
        ``point:X,Y,Z,RADIUS`` or ``protein`` (Å).

        Raises ``ValueError`` for anything else.
        """
        kind, colon, rest = text.strip().partition(":")
        known = "ligand, ligand:RADIUS, point-of-ligand, point:X,Y,Z, point:X,Y,Z,RADIUS or protein (in Å)"
        refusal = f"pocket is '{text}'; use {known}"
        try:
            numbers = [float(word) for word in rest.split(",")] if colon else []
        except ValueError as error:
            raise ValueError(refusal) from error
        if not np.isfinite(numbers).all():
            raise ValueError(refusal)
        match kind, numbers:
            case "ligand", []:
                return PocketChoice()
            case "ligand", [radius] if radius > 0:
                return PocketChoice("ligand", radius)
            case "point-of-ligand", []:
                return PocketChoice("point-of-ligand", POINT_RADIUS)
            case "point-of-ligand", [radius] if radius > 0:
                return PocketChoice("point-of-ligand", radius)
            case "point", [x, y, z]:
                return PocketChoice("point", POINT_RADIUS, (x, y, z))
            case "point", [x, y, z, radius] if radius > 0:
                return PocketChoice("point", radius, (x, y, z))
            case "protein", []:
                return PocketChoice("protein")
        raise ValueError(refusal)


@dataclass(frozen=True, eq=False)
class Pocket:
    """Heavy atoms (P) of whole residues, in the order of the protein.

    positions (P, 3) float32, Å, in the file's frame; element, residue, atom_name (P,) int64 into the vocabularies of
    ``domains.docking.structures.residues``; residue_index (P,) int64 into ``residue_ids`` ("A:45B").
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


def choose_pocket(protein: Protein, choice: PocketChoice, reference: NDArray[np.float32] | None) -> Pocket:
    """The pocket that ``choice`` means; ``reference`` (A, 3), Å, is the ligand's bound pose.

    Raises ``EmptyPocketError``, and ``ValueError`` for a pocket around a ligand without a bound pose.
    """
    if choice.kind == "protein":
        return whole_protein(protein)
    if choice.kind == "point":
        return pocket_around_point(protein, np.array(choice.xyz, dtype=np.float32), choice.radius)
    if choice.kind == "points":
        around = np.array(choice.points, dtype=np.float32)
        return pocket_around_ligand(protein, around, choice.radius, choice.source)
    if reference is None:
        raise ValueError("reference is None; a pocket around the ligand needs its bound pose")
    if choice.kind == "point-of-ligand":
        return pocket_around_point(protein, reference.mean(0), choice.radius)
    return pocket_around_ligand(protein, reference, choice.radius)


def pocket_around_ligand(
    protein: Protein, positions: NDArray[np.float32], radius: float = 6.0, source: str = "ligand"
) -> Pocket:
    """Residues with an atom within ``radius`` Å of an atom of the reference ligand (A, 3), called ``source``.

    Raises ``EmptyPocketError`` if no residue is that near, ``ValueError`` if the radius is not positive.
    """
    _check_radius(radius)
    distance, _ = cKDTree(positions).query(protein.positions)
    return _pocket(protein, np.unique(protein.residue_index[distance <= radius]), f"{source}, {radius:g} Å")


def pocket_around_point(protein: Protein, xyz: NDArray[np.float32], radius: float = POINT_RADIUS) -> Pocket:
    """Residues with an atom within ``radius`` Å of a point (3,), Å. Raises as ``pocket_around_ligand``."""
    _check_radius(radius)
    distance = np.linalg.norm(protein.positions - np.asarray(xyz, dtype=np.float32), axis=1)
    near = np.unique(protein.residue_index[distance <= radius])
    return _pocket(protein, near, "point " + ", ".join(f"{c:g}" for c in xyz) + f", {radius:g} Å")


def whole_protein(protein: Protein) -> Pocket:
    """Every residue."""
    return _pocket(protein, np.arange(len(protein.residue_ids)), _WHOLE)


def is_whole(pocket: Pocket) -> bool:
    """Whether every residue was chosen, as :func:`whole_protein` does."""
    return pocket.spec.startswith(_WHOLE)


def _pocket(protein: Protein, residues: NDArray[np.int64], spec: str) -> Pocket:
    inside = np.isin(protein.residue_index, residues)
    if not inside.any():
        raise EmptyPocketError(f"there is no residue in the pocket ({spec})")
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
