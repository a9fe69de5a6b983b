"""How well a ranking finds the known ligands: EF1%, BEDROC and AUC (RDKit), with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rdkit.ML.Scoring import Scoring

from domains.bootstrap import Interval

ALPHA: Final = 20.0
"""Of BEDROC (Truchon & Bayly 2007, doi 10.1021/ci600426e): 80% of it comes from the first 8% of the list."""

_RESAMPLES: Final = 1000


def enrichment(score: NDArray[Any], is_active: NDArray[np.bool_], seed: int) -> dict[str, Interval]:
    """EF1%, BEDROC and AUC of a list sorted by score (n,), higher first; 95% intervals over actives and decoys.

    Actives and decoys are drawn apart, so that their numbers stay. Equal scores are in random order. A ligand without
    a score (NaN) comes last.

    Raises:
        ValueError: if there is no active or no decoy.
    """
    if not is_active.any() or is_active.all():
        raise ValueError("is_active must hold at least one active and one decoy")
    rng = np.random.default_rng(seed)
    score = np.where(np.isnan(score), -np.inf, score)
    groups = [np.flatnonzero(is_active), np.flatnonzero(~is_active)]
    drawn = [
        _figures(score, is_active, np.concatenate([rng.choice(g, len(g)) for g in groups]), rng)
        for _ in range(_RESAMPLES)
    ]
    once = np.array([list(_figures(score, is_active, np.arange(len(score)), rng).values()) for _ in range(100)]).mean(0)
    found = {}
    for i, name in enumerate(drawn[0]):
        low, high = np.quantile([figures[name] for figures in drawn], [0.025, 0.975])
        found[name] = Interval(float(once[i]), float(low), float(high))
    return found


def _figures(
    score: NDArray[Any], is_active: NDArray[np.bool_], rows: NDArray[np.int64], rng: np.random.Generator
) -> dict[str, float]:
    shuffled = rng.permutation(rows)
    order = shuffled[np.argsort(-score[shuffled], kind="stable")]
    ranked = is_active[order, None].tolist()
    figures: dict[str, Callable[[], float]] = {
        "EF1%": lambda: Scoring.CalcEnrichment(ranked, 0, [0.01])[0],
        "BEDROC": lambda: Scoring.CalcBEDROC(ranked, 0, ALPHA),
        "AUC": lambda: Scoring.CalcAUC(ranked, 0),
    }
    return {name: float(figure()) for name, figure in figures.items()}
