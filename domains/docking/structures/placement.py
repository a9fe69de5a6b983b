"""Whether a ligand's coordinates can be its bound pose in a protein, and what is said if they cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from domains.docking.structures.clashes import clash_of
from domains.docking.structures.protein import Protein
from domains.docking.structures.records import Record
from domains.errors import InputError

_FAR = 10.0  # Å from the nearest protein atom; a bound ligand touches its protein at 3-4 Å
_FRAME = "give both in one frame, or choose the pocket around a point or the whole protein"


def given_pose(record: Record, purpose: str) -> NDArray[np.float32]:
    """The coordinates (A, 3), Å, of the ligand; ``InputError`` for a SMILES or a drawing, which has none."""
    if record.pose is None:
        message = f"a {record.ligand.source} has no pose to {purpose}"
        remedy = (
            "choose a --pocket (a ligand file that lies in it, point:X,Y,Z, protein), or give its pose as known_pose"
        )
        raise InputError(replace(record.where, message=message, remedy=remedy))
    return record.pose


def check_near(record: Record, pose: NDArray[np.float32]) -> None:
    """``InputError`` if a pose (A, 3), Å, is not at the protein; it names what of the file was not read."""
    protein = record.protein
    distance = float(protein.tree.query(pose)[0].min())
    if distance <= _FAR:
        return
    message, remedy = f"the ligand is {distance:.0f} Å away from {protein.path.name}", _FRAME
    if protein.other_models:
        message += f", of whose {len(protein.other_models) + 1} models only the first is read"
        remedy = "give the protein as the chains of one model, or the model that the ligand is bound to"
        near = [float(cKDTree(other).query(pose)[0].min()) for other in protein.other_models if len(other)]
        if near and min(near) <= _FAR:
            message += f"; it is at model {near.index(min(near)) + 2}"
    raise InputError(replace(record.where, message=message, remedy=remedy))


def clash_remark(record: Record, protein: Protein, pose: NDArray[np.float32]) -> str:
    """What there is to say of a bound pose (A, 3), Å, that lies on atoms of the protein without copies of the ligand;
    ``InputError`` if most of it does."""
    clash = clash_of(protein, pose)
    if clash.is_impossible:
        message = f"{clash}: this is no bound pose"
        raise InputError(replace(record.where, message=message, remedy=_FRAME))
    return clash.remark
