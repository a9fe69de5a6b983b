"""What ranks poses: consensus against a count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from docking_models import complexes

from domains.docking.ranking.consensus import Consensus
from domains.docking.ranking.ranker import PoseScores


def test_consensus_counts_the_poses_within_2_a() -> None:
    """Shifts along a line at 0, 1, 1.5 and 8 Å: three, three, three and one of four; the middle one wins."""
    complex_ = complexes()[0]
    shifts = np.array([0.0, 1.0, 1.5, 8.0], dtype=np.float32)
    poses = complex_.ligand.positions + shifts[:, None, None] * np.array([1, 0, 0], dtype=np.float32)
    found = Consensus().rank(complex_, poses)
    np.testing.assert_allclose(found.parts["consensus"], [0.75, 0.75, 0.75, 0.25])
    # Mean distances are 2.5/3, 1.5/3, 2/3 and 0 Å, less where a symmetric atom is nearer.
    assert found.order.tolist() == [1, 2, 0, 3]


def test_scores_refuse_a_nan_and_parts_of_another_shape() -> None:
    with pytest.raises(ValueError, match="must not be NaN"):
        PoseScores(np.array([0.0, np.nan]), {})
    with pytest.raises(ValueError, match="one shape"):
        PoseScores(np.zeros(2), {"a": np.zeros(3)})
