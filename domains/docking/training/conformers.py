"""Matched conformers of training ligands, computed once and kept beside the run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import rdkit
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from domains.docking.structures.complexes import Complex
from domains.docking.structures.matched_conformers import matched_conformer

FILE: Final = "conformers.safetensors"


def matched_conformers(
    complexes: Sequence[Complex], seed: int, folder: Path, done: Callable[[int], None]
) -> dict[str, NDArray[np.float32]]:
    """Name -> (A, 3) Å, of the complexes whose ligand has a matched conformer.

    What is in the folder's file is not computed again, unless seed, RDKit or the ligand's pose have changed; what is
    computed is written there in the end, and on an interruption.

    Args:
        complexes: in their bound poses.
        seed: of the conformers.
        folder: where the file is kept.
        done: told after each complex that one more is done.
    """
    path, key = folder / FILE, f"seed {seed}, rdkit {rdkit.__version__}"
    kept = _read(path, key)
    known = len(kept)
    try:
        for complex_ in complexes:
            bound = complex_.ligand.positions
            if complex_.name not in kept or not np.array_equal(kept[complex_.name][0], bound):
                found = matched_conformer(complex_.ligand, seed)
                kept[complex_.name] = np.stack([bound, bound if found is None else found])
                known = -1
            done(1)
    finally:
        if known != len(kept):
            _write(path, key, kept)
    pairs = {c.name: kept[c.name] for c in complexes}
    return {name: match for name, (bound, match) in pairs.items() if not np.array_equal(bound, match)}


def _read(path: Path, key: str) -> dict[str, NDArray[np.float32]]:
    """Name -> (2, A, 3), bound and matched (the same where there is no match); empty if the file is of no use."""
    try:
        with safe_open(path, framework="np") as file:
            if (file.metadata() or {}).get("made with") != key:
                return {}
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return {}


def _write(path: Path, key: str, pairs: Mapping[str, NDArray[np.float32]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file(dict(pairs), part, {"made with": key})
    os.replace(part, path)
