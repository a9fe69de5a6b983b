"""Weights of combinations of rankers, fitted so that no complex is ranked by weights that have seen its cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Final, final

from benchmarks.common.store import write_text
from benchmarks.experiments.ranking_poses import PLAIN, Scored, top
from domains.docking.ranking.combination import fit_weights
from domains.docking.ranking.consensus import symmetries
from domains.docking.ranking.track_record import TrackRecord, agreement, track_records
from domains.docking.training.clusters import Clusters

_PARTS: Final = 5

Weights = Mapping[str, Mapping[str, float]]
"""Name of a combination -> name of a ranker -> weight."""


@final
@dataclass(frozen=True)
class Fitted:
    """Weights of combinations.

    Attributes:
        final: fitted on all complexes.
        held_out: name of a complex that `final` was fitted on -> weights fitted without those of its cluster.
    """

    final: Weights
    held_out: Mapping[str, Weights] = field(default_factory=dict)

    def of(self, complex_: str, ranker: str) -> Mapping[str, float]:
        """With which a complex is ranked; a single ranker has the weight 1."""
        return self.held_out.get(complex_, self.final).get(ranker, {ranker: 1.0})


def fitted(table: Sequence[Scored], kind: str) -> Fitted:
    """On complexes that are not ranked themselves."""
    return Fitted(_all(table, kind))


def cross_fitted(table: Sequence[Scored], kind: str, clusters: Clusters) -> Fitted:
    """On complexes that are ranked as well: their clusters are dealt to five parts."""
    names = list(dict.fromkeys(clusters.of(scored.complex.name) for scored in table))
    part = {name: i % _PARTS for i, name in enumerate(names)}
    held_out: dict[str, Weights] = {}
    for i in range(_PARTS):
        own = [scored for scored in table if part[clusters.of(scored.complex.name)] == i]
        if own:
            others = _all([scored for scored in table if part[clusters.of(scored.complex.name)] != i], kind)
            held_out |= {scored.complex.name: others for scored in own}
    return Fitted(_all(table, kind), held_out)


def _all(table: Sequence[Scored], kind: str) -> Weights:
    """Every combination of two or more rankers."""
    near = [scored.rmsd[kind] < 2.0 for scored in table]
    scores = [scored.scores[kind] for scored in table]
    names = [own for n in range(2, len(PLAIN) + 1) for own in combinations(PLAIN, n)]
    return {" + ".join(own): fit_weights(scores, near, own) for own in names}


def records_of(table: Sequence[Scored], chosen: str, weights: Fitted) -> list[TrackRecord]:
    """How often the first refined pose was right, by how many agreed with it."""
    shares, right = [], []
    for scored in table:
        first = top(scored, "refined", weights.of(scored.complex.name, chosen))
        shares.append(agreement(scored.positions["refined"], first, symmetries(scored.complex)))
        right.append(bool(scored.rmsd["refined"][first] < 2.0))
    return track_records(shares, right)


def store_weights(
    path: Path,
    command: str,
    fitted_on: str,
    chosen_on: str,
    chosen: str,
    weights: Weights,
    setting: str,
    poses: int,
    records: Mapping[str, Sequence[TrackRecord]],
) -> None:
    """Write the weights of the chosen ranker, and how often it was right, where `ld3 dock` finds them."""
    content = {
        "command": command,
        "fitted_on": fitted_on,
        "chosen": f"{chosen}: most first poses within 2 Å on {chosen_on}",
        "weights": weights.get(chosen, {chosen: 1.0}),
        "setting": setting,
        "poses": poses,
        "records": {kind: [record.plain() for record in own] for kind, own in records.items()},
    }
    write_text(path, json.dumps(content, indent=2) + "\n")
