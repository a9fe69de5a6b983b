"""Refinements side by side in the study of ranking: what becomes of the first poses of each complex."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.docking.vina import optimise_by_vina
from benchmarks.experiments.ranking_poses import Scored
from benchmarks.experiments.ranking_validity import Checker
from benchmarks.experiments.study import Kept
from domains.bootstrap import bootstrap_interval
from domains.docking.poses.metrics import symmetric_rmsd
from domains.docking.ranking.consensus import symmetries
from domains.docking.refine.local import Refinement
from domains.docking.structures.complexes import Complex
from ld3.fingerprint import fingerprint

TRIED: Final = 4
"""Poses of a complex on which refinements are compared."""


def refinements(
    table: Sequence[Scored], restraints: Sequence[float], kept: Kept, checker: Checker
) -> list[dict[str, Any]]:
    """Success and validity of the first poses of each complex, moved in several ways."""
    moved: list[dict[str, NDArray[np.float32]]] = []
    for scored in table:
        complex_, docked = scored.complex, scored.positions["docked"][:TRIED]
        own = {"none": docked}
        for restraint in restraints:
            own[f"restraint {restraint:g}"] = Refinement(restraint=restraint)(complex_, docked).positions
        key = (complex_.name, fingerprint(docked.tobytes()))
        plain = kept("vina-local", key, partial(_optimised_by_vina, complex_, docked))
        own["Vina's own"] = np.array(plain, dtype=np.float32)
        moved.append(own)
    jobs = [(scored.complex, np.concatenate(list(own.values()))) for scored, own in zip(table, moved, strict=True)]
    ways: dict[str, list[tuple[NDArray[np.float64], list[bool], NDArray[np.float64]]]] = {}
    for scored, own, verdicts in zip(table, moved, checker.poses(jobs), strict=True):
        complex_, docked = scored.complex, scored.positions["docked"][:TRIED]
        assert complex_.reference is not None
        first = 0
        for way, poses in own.items():
            rmsd = symmetric_rmsd(poses, complex_.reference, symmetries(complex_))
            shift = np.sqrt(((poses - docked) ** 2).sum(-1).mean(1))
            ways.setdefault(way, []).append((rmsd, verdicts[first : first + len(poses)], shift))
            first += len(poses)
    return [
        {
            "way": way,
            "complexes": len(own),
            "success": bootstrap_interval([(rmsd < 2.0).astype(float) for rmsd, _, _ in own], "mean", seed=0),
            "valid": bootstrap_interval([np.array(valid, dtype=float) for _, valid, _ in own], "mean", seed=0),
            "median_rmsd": float(np.median(np.concatenate([rmsd for rmsd, _, _ in own]))),
            "median_moved": float(np.median(np.concatenate([shift for _, _, shift in own]))),
        }
        for way, own in ways.items()
    ]


def _optimised_by_vina(complex_: Complex, positions: NDArray[np.float32]) -> list[Any]:
    return list(optimise_by_vina(complex_, positions).tolist())
