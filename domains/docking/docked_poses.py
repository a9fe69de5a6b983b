"""What docking found: poses in each protein's frame, and their files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from domains.docking.poses.files import folder_names, write_sdf
from domains.docking.poses.metrics import symmetric_rmsd
from domains.docking.structures.complexes import Complex
from domains.docking.structures.symmetry import automorphisms
from domains.errors import InputError

_PACKAGES: Final = ("torch", "rdkit", "gemmi", "numpy")


@final
@dataclass(frozen=True, eq=False)
class DockedPoses:
    """What docking found.

    Attributes:
        complexes: that were docked.
        positions: complex -> poses (S, A, 3), Å, in the protein's frame; NaN where one failed.
        seeds: complex -> seed of its poses.
        ms_per_pose: wall time.
        score_scale: c that was followed.
        settings: what else the poses depend on, as plain values.
    """

    complexes: tuple[Complex, ...]
    positions: Mapping[str, NDArray[np.float32]]
    seeds: Mapping[str, int]
    ms_per_pose: float
    score_scale: float
    settings: Mapping[str, object]

    @property
    def failed(self) -> list[tuple[str, int]]:
        """(complex, sample) of every pose that is not finite."""
        return [
            (name, int(i))
            for name, poses in self.positions.items()
            for i in np.flatnonzero(~np.isfinite(poses).all((1, 2)))
        ]

    def rmsd(self) -> dict[str, NDArray[np.float64]]:
        """Complex -> symmetry-corrected RMSD (S,), Å, to its bound pose, where that is known; NaN for failed poses.

        Raises:
            InputError: if a ligand has too many symmetries to correct for.
        """
        return {
            c.name: symmetric_rmsd(self.positions[c.name], c.reference, automorphisms(c.ligand))
            for c in self.complexes
            if c.reference is not None
        }

    def write(self, folder: Path | str) -> None:
        """Write FOLDER/COMPLEX.sdf, the poses that did not fail, and FOLDER/poses.json, how they came about."""
        out = Path(folder)
        names = folder_names([c.name for c in self.complexes])
        entries = {c.name: self._write_complex(out, Path(f"{names[c.name]}.sdf"), c) for c in self.complexes}
        content = {
            "schema": "ld3.docking.poses",
            "version": 1,
            **self.settings,
            "score_scale": self.score_scale,
            "ms_per_pose": self.ms_per_pose,
            "versions": {name: version(name) for name in _PACKAGES},
            "complexes": entries,
        }
        (out / "poses.json").write_text(json.dumps(content, indent=2, allow_nan=False))

    def _write_complex(self, out: Path, file: Path, complex_: Complex) -> dict[str, object]:
        """Its poses in `file` below `out`; its entry in poses.json."""
        poses, name = self.positions[complex_.name], complex_.name
        sound = np.isfinite(poses).all((1, 2))
        kept = np.flatnonzero(sound).tolist()
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        write_sdf(out / file, complex_.ligand, poses[kept], [{"sample": str(i)} for i in kept])
        remarks, rmsd = list(complex_.remarks), None
        try:
            rmsd = replace(self, complexes=(complex_,)).rmsd().get(name)
        except InputError as error:  # a ligand too symmetric to compare; its poses are as good as any
            remarks.append(str(error))
        return {
            "file": str(file),
            "pocket": complex_.pocket.spec,
            "seed": self.seeds[name],
            "failed": np.flatnonzero(~sound).tolist(),
            "rmsd": None if rmsd is None else [float(r) if np.isfinite(r) else None for r in rmsd],
            "remarks": remarks,
        }
