"""The flow's residual: how far the network still wants to move a pose at its smallest noise level."""

from __future__ import annotations

from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray

from domains.docking.networks.weights import DockingModel
from domains.docking.poses.flow import DockingFlow
from domains.docking.poses.pose import Poses
from domains.docking.ranking.ranker import PoseScores
from domains.docking.settings import poses_at_once
from domains.docking.structures.batch import collate
from domains.docking.structures.complexes import Complex

LEVELS: Final = (0.0, 0.25)
"""Where on the clock it is asked: t = 0, the smallest noise, and a quarter of the way up, where it sees further."""


@final
class Residual:
    """Minus the root mean square, over the factors, of σ² times the score in units of σ, summed over two noise levels.

    Args:
        model: whose network is asked; one evaluation a pose and level.
    """

    name = "residual"

    def __init__(self, model: DockingModel) -> None:
        self._model = model

    @torch.no_grad()
    def rank(self, complex_: Complex, positions: NDArray[np.float32]) -> PoseScores:
        """See :class:`domains.docking.ranking.ranker.Ranker`."""
        encoded = self._model.encode(collate([complex_]))
        flow = DockingFlow(encoded)
        own = torch.from_numpy(positions - complex_.pocket.origin).to(self._model.device)
        total = np.zeros(len(positions))
        for t in LEVELS:
            levels = flow.clock.levels(torch.tensor(t))
            sigma = flow.clock.sigma(levels)
            parts = []
            for chunk in own.split(poses_at_once(self._model.device)):
                rows = torch.zeros(len(chunk), dtype=torch.long, device=chunk.device)
                moves = flow.displacement(Poses(rows, chunk), levels)
                squares = [(moves[f] / sigma[f]).square().sum(1) for f in moves]
                parts.append(torch.stack(squares).sum(0).sqrt())
            total += torch.cat(parts).double().cpu().numpy()
        return PoseScores(-total, {"residual": -total})
