"""Consensus: how many of a ligand's poses ended near each one."""

from __future__ import annotations

from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from domains.docking.poses.metrics import symmetric_rmsd
from domains.docking.ranking.ranker import PoseScores
from domains.docking.structures.complexes import Complex
from domains.docking.structures.symmetry import automorphisms
from domains.errors import InputError

CUTOFF: Final = 2.0
"""Å between poses of one cluster."""


def pair_rmsd(positions: NDArray[np.float32], permutations: NDArray[np.intp]) -> NDArray[np.float64]:
    """Symmetry-corrected RMSD (S, S), Å, between poses (S, A, 3); permutations as in :func:`automorphisms`."""
    return np.stack([symmetric_rmsd(positions, pose, permutations) for pose in positions])


def symmetries(complex_: Complex) -> NDArray[np.intp]:
    """Of its ligand; the identity alone where there are too many to go through, which calls equal poses different."""
    try:
        return automorphisms(complex_.ligand)
    except InputError:
        return np.arange(complex_.ligand.n_atoms, dtype=np.intp)[None]


@final
class Consensus:
    """The share of the poses within `CUTOFF` of each one, itself included.

    Of poses with as many neighbours, the one in the middle of its own is better: their mean distance in Å, divided by
    the cutoff and by the number of poses, is taken off.
    """

    name = "consensus"

    def rank(self, complex_: Complex, positions: NDArray[np.float32]) -> PoseScores:
        """See :class:`domains.docking.ranking.ranker.Ranker`."""
        distance = pair_rmsd(positions, symmetries(complex_))
        near = distance <= CUTOFF
        count = near.sum(1)
        spread = np.where(near, distance, 0.0).sum(1) / count
        share = count / len(positions)
        return PoseScores(share - spread / CUTOFF / len(positions), {"consensus": share})
