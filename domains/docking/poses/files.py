"""Poses into SDF files, and names for those files that are safe whatever a complex is called."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Geometry import Point3D

from domains.docking.structures.ligand import Ligand

_UNSAFE = re.compile(r"[^\w.+=-]+")
_FILE_ENDING = re.compile(r"\.(?=(sdf|sd|mol|mol2|pdb|csv|json|html|png|txt|part)$)", re.IGNORECASE)
_MOST_PARTS = 8  # of a name with slashes; a path has at most 4096 bytes, and 260 letters on some systems
_LONGEST = 100  # bytes of one name; most file systems allow 255, and an ending is still to come


def write_sdf(
    path: Path, ligand: Ligand, positions: NDArray[np.float32], properties: Sequence[Mapping[str, str]]
) -> None:
    """Poses of a ligand (S, A, 3), Å, as S records titled with its name, with one mapping of properties each.

    The file appears whole or not at all: it is written beside ``path`` and then renamed. Raises ``ValueError`` if the
    shapes do not fit or a coordinate is not finite, ``OSError`` if the folder cannot be written.
    """
    if positions.shape[1:] != (ligand.n_atoms, 3) or len(positions) != len(properties):
        raise ValueError(
            f"positions has shape {tuple(positions.shape)} with {len(properties)} properties; "
            f"give (S, {ligand.n_atoms}, 3) and S mappings"
        )
    if not np.isfinite(positions).all():
        raise ValueError(f"positions of {ligand.name} for {path} are not all finite; leave out the poses that failed")
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with Chem.SDWriter(str(partial)) as writer:
            for pose, record in zip(positions, properties, strict=True):
                writer.write(_titled(posed(ligand.mol, pose), ligand.name, record))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def posed(mol: Chem.Mol, pose: NDArray[np.float32]) -> Chem.Mol:
    """A copy of `mol` with its atoms at `pose` (A, 3), Å."""
    copy = Chem.Mol(mol)
    conformer = copy.GetConformer()
    for index, xyz in enumerate(pose.tolist()):
        conformer.SetAtomPosition(index, Point3D(*xyz))
    return copy


def _titled(mol: Chem.Mol, name: str, properties: Mapping[str, str]) -> Chem.Mol:
    for key in mol.GetPropNames():
        mol.ClearProp(key)
    mol.SetProp("_Name", name)
    for key, value in properties.items():
        mol.SetProp(key, value)
    return mol


def folder_names(names: Sequence[str]) -> dict[str, str]:
    """Name of a complex -> a relative path that no name can lead out of its folder, and that no two share.

    "SERIES/LIGAND" becomes a name in a folder. A part of more than 100 bytes is cut and ends in a hash of the whole.
    No part ends like a file, so that the folder of "a.sdf/b" is not the file of "a".
    """
    folders: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain = folder = "/".join(_safe(part) for part in name.split("/", _MOST_PARTS - 1))
        count = 1
        while _on_any_disk(folder) in taken:
            count += 1
            folder = f"{plain}_{count}"
        taken.add(_on_any_disk(folder))
        folders[name] = folder
    return folders


def _safe(part: str) -> str:
    plain = _FILE_ENDING.sub("_", _UNSAFE.sub("_", part).strip(".") or "_")
    if len(plain.encode()) <= _LONGEST:
        return plain
    ending = "_" + hashlib.sha256(part.encode(errors="surrogatepass")).hexdigest()[:12]
    return plain.encode()[: _LONGEST - len(ending)].decode(errors="ignore") + ending


def _on_any_disk(folder: str) -> str:
    """Some file systems know neither capitals nor how an accent is written."""
    return unicodedata.normalize("NFC", folder).casefold()
