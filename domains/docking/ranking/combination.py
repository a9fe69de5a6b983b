"""A weighted sum of several rankers' scores, with weights that were fitted on training complexes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from domains.docking.ranking.ranker import PoseScores, Ranker
from domains.docking.structures.complexes import Complex

_RIDGE: Final = 1e-3


@final
@dataclass(frozen=True, eq=False)
class Combination:
    """Σ weight x score, over rankers; the score of a pose is a log-odds up to a constant for its complex.

    Attributes:
        rankers: whose scores are added.
        weights: name of a ranker -> its weight.
    """

    rankers: Sequence[Ranker]
    weights: Mapping[str, float]

    @property
    def name(self) -> str:
        """See :class:`domains.docking.ranking.ranker.Ranker`."""
        return "combination"

    def rank(self, complex_: Complex, positions: NDArray[np.float32]) -> PoseScores:
        """See :class:`domains.docking.ranking.ranker.Ranker`."""
        found = {ranker.name: ranker.rank(complex_, positions) for ranker in self.rankers}
        score = sum((self.weights[name] * own.score for name, own in found.items()), np.zeros(len(positions)))
        return PoseScores(score, {name: part for own in found.values() for name, part in own.parts.items()})


def fit_weights(
    scores: Sequence[Mapping[str, NDArray[np.float64]]], near: Sequence[NDArray[np.bool_]], names: Sequence[str]
) -> dict[str, float]:
    """Weights of a conditional logistic regression: which pose of a complex is near the bound one?

    The probability of pose i among the S of its complex is softmax(Σ weight x score); the loss is minus the logarithm
    of the probability that a near pose is drawn (McFadden 1974), with a small ridge on weights in units of one standard
    deviation within a complex. Complexes with no near pose, or near ones alone, say nothing.

    Args:
        scores: of each complex, name -> (S,).
        near: of each complex, (S,).
        names: of the scores to use.
    """
    kept = [k for k, own in enumerate(near) if own.any() and not own.all()]
    if not kept:
        raise ValueError("near has no complex with both near poses and others, so that there is nothing to learn from")
    columns = [np.stack([scores[k][name] for name in names], axis=1) for k in kept]
    columns = [own - own.mean(0) for own in columns]
    scale = np.sqrt(np.mean([own.var(0) for own in columns], axis=0)).clip(1e-9)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        total, gradient = _RIDGE * float(weights @ weights), 2 * _RIDGE * weights
        for own, k in zip(columns, kept, strict=True):
            x = own / scale
            logits = x @ weights
            p = np.exp(logits - logits.max())
            p /= p.sum()
            inside = p[near[k]].sum()
            q = np.where(near[k], p, 0.0) / inside
            total -= float(np.log(inside)) / len(kept)
            gradient = gradient - (q - p) @ x / len(kept)
        return total, gradient

    found = minimize(loss, np.zeros(len(names)), jac=True, method="L-BFGS-B")
    return {name: float(w) for name, w in zip(names, found.x / scale, strict=True)}
