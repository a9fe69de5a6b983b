"""What ranks poses: consensus against a count by hand, fitted weights against those that made the data."""

from __future__ import annotations

import numpy as np
import pytest
from docking_models import complexes

from domains.docking.networks.weights import load_model
from domains.docking.ranking.combination import Combination, fit_weights
from domains.docking.ranking.consensus import Consensus
from domains.docking.ranking.ranker import PoseScores
from domains.docking.ranking.residual import Residual
from domains.docking.ranking.vina_score import VinaScore
from domains.docking.refine.local import Refinement


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


def test_weights_are_those_that_made_the_data() -> None:
    """The near pose of each complex is drawn with softmax(2 a - b + 0 c): the fit finds 2, -1 and about nothing."""
    rng = np.random.default_rng(0)
    scores, near = [], []
    for _ in range(3000):
        table = {name: rng.normal(size=6) for name in "abc"}
        logits = 2 * table["a"] - table["b"]
        p = np.exp(logits) / np.exp(logits).sum()
        near.append(np.arange(6) == rng.choice(6, p=p))
        scores.append(table)
    found = fit_weights(scores, near, "abc")
    assert found == pytest.approx({"a": 2.0, "b": -1.0, "c": 0.0}, abs=0.15)
    with pytest.raises(ValueError, match="nothing to learn from"):
        fit_weights(scores[:1], [np.zeros(6, dtype=bool)], "abc")


def test_a_combination_adds_what_its_rankers_say() -> None:
    complex_ = complexes()[0]
    poses = complex_.ligand.positions + np.arange(3, dtype=np.float32)[:, None, None]
    vina, consensus = VinaScore(None), Consensus()
    found = Combination([vina, consensus], {"vina": 0.5, "consensus": 3.0}).rank(complex_, poses)
    expected = 0.5 * vina.rank(complex_, poses).score + 3 * consensus.rank(complex_, poses).score
    np.testing.assert_allclose(found.score, expected)
    assert found.parts.keys() == {"vina", "consensus"}


def test_vina_and_the_residual_prefer_the_crystal_pose_to_a_shifted_one() -> None:
    """Of complexes that the demo model has seen; Vina's score after optimisation forgives the small shift."""
    model = load_model("demo")
    for complex_ in complexes():
        shifts = np.array([0.0, 0.3, 3.0], dtype=np.float32)
        poses = complex_.ligand.positions + shifts[:, None, None] * np.array([0.6, 0.6, 0.52], dtype=np.float32)
        residual = Residual(model).rank(complex_, poses).score
        assert residual[0] > residual[2]
        plain, optimised = (VinaScore(way).rank(complex_, poses).score for way in (None, Refinement()))
        assert plain[0] > plain[2]
        assert abs(optimised[0] - optimised[1]) < 1.0 and (optimised >= plain - 1e-3).all()
