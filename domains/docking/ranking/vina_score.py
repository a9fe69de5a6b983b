"""Vina's score of each pose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from domains.docking.ranking.ranker import PoseScores
from domains.docking.ranking.vina_energy import VinaEnergy
from domains.docking.refine.local import Refinement
from domains.docking.structures.complexes import Complex


@final
@dataclass(frozen=True)
class VinaScore:
    """Minus Vina's score in kcal/mol, after local optimisation; the poses themselves stay where they are.

    Attributes:
        refinement: the local optimisation; None for poses that have been through it already.
    """

    refinement: Refinement | None

    @property
    def name(self) -> str:
        """See :class:`domains.docking.ranking.ranker.Ranker`."""
        return "vina"

    def rank(self, complex_: Complex, positions: NDArray[np.float32]) -> PoseScores:
        """See :class:`domains.docking.ranking.ranker.Ranker`."""
        if self.refinement is not None:
            score = self.refinement(complex_, positions).score
        else:
            energy = VinaEnergy(complex_, positions)
            score = energy.score(torch.from_numpy(positions) - energy.origin).double().numpy()
        return PoseScores(-score, {"vina": -score})
