"""How often the first pose was right before, by how many of the poses agreed with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from domains.docking.poses.metrics import symmetric_rmsd
from domains.docking.ranking.consensus import CUTOFF

SHARES: Final = (0.0, 0.25, 0.5, 1.0)
"""Bounds of the share of the other poses within 2 Å of the first one."""


@final
@dataclass(frozen=True)
class TrackRecord:
    """Ligands whose pose is known, and whose poses agreed so much.

    Attributes:
        least, most: share of the other poses within 2 Å of the first: at least, and less than; 1 is in the last.
        ligands: how many there were.
        right: of how many the first pose was within 2 Å of the known one.
    """

    least: float
    most: float
    ligands: int
    right: int

    def __post_init__(self) -> None:
        if not 0 <= self.right <= self.ligands:
            raise ValueError(f"right must be from 0 to {self.ligands}, got {self.right}")

    def __str__(self) -> str:
        """With the exact (Clopper-Pearson) 95% interval of the share, each ligand counted for itself."""
        if not self.ligands:
            return "nothing to compare with"
        low, high = binomtest(self.right, self.ligands).proportion_ci(0.95)
        share = 100 * self.right / self.ligands
        return f"{self.right} of {self.ligands} ({share:.0f}% [{100 * low:.0f}, {100 * high:.0f}])"

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def agreement(positions: NDArray[np.float32], first: int, permutations: NDArray[np.intp]) -> float:
    """Share of poses (S, A, 3), Å, within 2 Å of the one that is placed first. That one does not count, or it would
    agree with itself the more the fewer there are; 0 where there is no other.
    """
    others = np.delete(positions, first, axis=0)
    if not len(others):
        return 0.0
    return float((symmetric_rmsd(others, positions[first], permutations) <= CUTOFF).mean())


def track_records(shares: Sequence[float], right: Sequence[bool]) -> list[TrackRecord]:
    """Of ligands: agreement with their first pose, and whether that was right."""
    own, near = np.array(shares), np.array(right, dtype=bool)
    found = []
    for least, most in pairwise(SHARES):
        inside = (own >= least) & ((own < most) | (most == SHARES[-1]))
        found.append(TrackRecord(least, most, int(inside.sum()), int((near & inside).sum())))
    return found


def record_at(records: Sequence[TrackRecord], share: float) -> TrackRecord | None:
    """The one for such an agreement; None where there is none."""
    return next((own for own in records if own.least <= share < own.most or share == own.most == SHARES[-1]), None)


def read_records(plain: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[TrackRecord]]:
    """Kind of targets -> records, from what a file holds.

    Raises:
        TypeError: if a key is missing or unknown.
        ValueError: if numbers contradict each other.
    """
    return {kind: [TrackRecord(**own) for own in rows] for kind, rows in plain.items()}
