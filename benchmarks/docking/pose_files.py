"""Docked poses as SDF files, one for each complex and method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.docking.methods import Docked, Method
from domains.docking.poses.files import folder_names, write_sdf
from domains.docking.structures.complexes import Complex


def write_poses(out: Path, complexes: Sequence[Complex], method: Method, docked: Docked) -> list[str]:
    """sdf/COMPLEX/METHOD_nfeK.sdf in the protein's frame, without the poses that failed.

    Returns:
        The files, relative to `out`.
    """
    folders = folder_names([found.name for found in complexes])
    files = []
    for found in complexes:
        poses = docked.positions[found.name]
        kept = np.flatnonzero(np.isfinite(poses).all((1, 2)))
        file = Path("sdf") / folders[found.name] / f"{method.name}_nfe{method.nfe}.sdf"
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        properties = [{"method": method.name, "nfe": str(method.nfe), "sample": str(i)} for i in kept]
        write_sdf(out / file, found.ligand, poses[kept], properties)
        files.append(str(file))
    return files


def remove_stale(out: Path, earlier: Mapping[str, Any], files: Sequence[str]) -> None:
    """Remove the pose files that the results of an earlier run list and the present ones do not."""
    for name in set(earlier.get("files", ())) - set(files):
        path = (out / name).resolve()
        if path.is_relative_to((out / "sdf").resolve()):
            path.unlink(missing_ok=True)
