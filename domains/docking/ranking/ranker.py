"""The one interface between docked poses and what ranks them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from domains.docking.structures.complexes import Complex


@final
@dataclass(frozen=True, eq=False)
class PoseScores:
    """Scores of S poses of one ligand.

    Attributes:
        score: (S,), higher is better.
        parts: name -> (S,), what the score is made of, in the units of each part.

    Raises:
        ValueError: if the shapes differ, or a score is NaN.
    """

    score: NDArray[np.float64]
    parts: Mapping[str, NDArray[np.float64]]

    def __post_init__(self) -> None:
        if self.score.ndim != 1 or any(part.shape != self.score.shape for part in self.parts.values()):
            shapes = {name: part.shape for name, part in self.parts.items()}
            raise ValueError(f"score and parts must be of one shape (S,), got {self.score.shape} and {shapes}")
        if np.isnan(self.score).any():
            raise ValueError("score must not be NaN; leave out the poses that failed")

    @property
    def order(self) -> NDArray[np.intp]:
        """(S,) places of the poses, best first; of equal ones the earlier first."""
        return np.argsort(-self.score, kind="stable")


class Ranker(Protocol):
    """Scores the poses of one complex against each other."""

    @property
    def name(self) -> str:
        """What command lines and result files call it."""

    def rank(self, complex_: Complex, positions: NDArray[np.float32]) -> PoseScores:
        """Scores of poses (S, A, 3), Å, in the protein's frame, all of them finite."""
