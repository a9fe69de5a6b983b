"""How far poses are from the bound one and from each other: RMSD, centroid distance, success, clusters.

Everything is in Å and in one frame: poses are not superposed on the reference.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 22  # numbers gathered at a time, 32 MB


def symmetric_rmsd(
    positions: NDArray[Any], reference: NDArray[Any], permutations: NDArray[np.intp]
) -> NDArray[np.float64]:
    """min over permutations π of sqrt(mean_a |x_a - y_π(a)|²), (n,) in Å; NaN where a pose is not finite.

    Over all automorphisms of elements and bonds this is spyrmsd's default, the convention of the field.

    Args:
        positions: (n, A, 3) Å, poses.
        reference: (A, 3) Å, the bound pose in the same frame.
        permutations: (S, A), see :func:`domains.docking.structures.symmetry.automorphisms`.

    Raises:
        ValueError: if the shapes do not fit, or the reference is not finite.
    """
    _check(positions, reference)
    n, atoms = positions.shape[:2]
    if permutations.ndim != 2 or permutations.shape[1] != atoms or len(permutations) == 0:
        raise ValueError(f"permutations must have shape (S >= 1, {atoms}), got {permutations.shape}")
    offset = positions.astype(np.float64)[:, :, None] - reference.astype(np.float64)[None, None]
    square = np.einsum("npqk,npqk->npq", offset, offset)
    smallest = np.full(n, np.inf)
    step = max(1, _CHUNK // max(1, n * atoms))
    for start in range(0, len(permutations), step):
        gathered = square[:, np.arange(atoms), permutations[start : start + step]]
        smallest = np.minimum(smallest, gathered.sum(-1).min(-1))
    return _where_finite(positions, np.sqrt(smallest / atoms))


def centroid_distance(positions: NDArray[Any], reference: NDArray[Any]) -> NDArray[np.float64]:
    """|mean_a x_a - mean_a y_a|, (n,) in Å, of poses (n, A, 3) from `reference` (A, 3); NaN where one is not finite.

    Raises:
        ValueError: if the shapes do not fit, or the reference is not finite.
    """
    _check(positions, reference)
    offset = positions.astype(np.float64).mean(1) - reference.astype(np.float64).mean(0)
    return _where_finite(positions, np.linalg.norm(offset, axis=-1))


def success(rmsd: NDArray[Any], threshold: float) -> NDArray[np.bool_]:
    """Which poses are nearer than `threshold` Å. A NaN, a pose that failed, is no success."""
    return rmsd < threshold


def clusters(positions: NDArray[Any], permutations: NDArray[np.intp], cutoff: float = 1.0) -> NDArray[np.intp]:
    """The cluster of each pose, (n,): 0, 1, ... in the order of their first poses; -1 where one is not finite.

    A pose joins the first cluster whose first pose is at most `cutoff` Å from it (symmetry-corrected RMSD), or begins a
    new one; the number of clusters is that of distinct poses.

    Args:
        positions: (n, A, 3) Å, poses of one ligand.
        permutations: (S, A), see :func:`domains.docking.structures.symmetry.automorphisms`.
        cutoff: Å.
    """
    found = np.full(len(positions), -1, dtype=np.intp)
    free = np.isfinite(positions).all((1, 2))
    count = 0
    while free.any():
        first = int(free.argmax())
        near = free & (symmetric_rmsd(positions, positions[first], permutations) <= cutoff)
        found[near] = count
        free &= ~near
        count += 1
    return found


def _where_finite(positions: NDArray[Any], values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(positions).all((1, 2)), values, np.nan)


def _check(positions: NDArray[Any], reference: NDArray[Any]) -> None:
    if reference.ndim != 2 or reference.shape[1] != 3 or not np.isfinite(reference).all():
        raise ValueError(f"reference must be finite and of shape (A, 3), got shape {reference.shape}")
    if positions.ndim != 3 or positions.shape[1:] != reference.shape:
        raise ValueError(f"positions must have shape (n, {len(reference)}, 3), got {positions.shape}")
