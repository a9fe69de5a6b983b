"""PoseBusters' verdicts for the study of ranking; each set of poses is checked once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.store import Store
from benchmarks.experiments.ranking_poses import Scored, top
from benchmarks.experiments.ranking_rows import MEAN
from benchmarks.experiments.ranking_weights import Fitted
from domains.docking.poses.validity import check_all
from domains.docking.structures.complexes import Complex
from ld3.fingerprint import fingerprint

KINDS: Final = ("docked", "refined")

_AT_ONCE: Final = 16  # complexes of a call of PoseBusters

Job = tuple[Complex, NDArray[np.float32]]
"""A complex, and poses of it."""

Weights = Mapping[str, Fitted]
"""Kind of poses -> weights of combinations."""


@final
class Checker:
    """Asks PoseBusters, many complexes at a time, for its worker takes long to start.

    Args:
        store: where verdicts are kept.
        on_checked: called with the number of complexes that were checked now.
    """

    def __init__(self, store: Store, on_checked: Callable[[int], None]) -> None:
        self._store, self._on_checked = store, on_checked

    def poses(self, jobs: Sequence[Job]) -> list[list[bool]]:
        """Whether each pose of each complex is valid."""
        found: dict[str, list[bool]] = {}
        names = [f"valid-{fingerprint(complex_.name, poses.tobytes())}" for complex_, poses in jobs]
        left = []
        for name, job in zip(names, jobs, strict=True):
            if (answers := self._store.json(name)) is None:
                left.append((name, job))
            else:
                found[name] = answers
        for first in range(0, len(left), _AT_ONCE):
            part = left[first : first + _AT_ONCE]
            for (name, _), answers in zip(part, check_all([job for _, job in part], processes=1), strict=True):
                found[name] = [answer.valid is True for answer in answers]
                self._store.put_json(name, found[name])
            self._on_checked(len(part))
        return [found[name] for name in names]

    def first_poses(self, table: Sequence[Scored], weights: Weights, chosen: str) -> list[dict[tuple[str, str], bool]]:
        """Of each complex, (kind of poses, ranker) -> whether its first pose is valid: by `chosen`, and at random."""

        def place(scored: Scored, kind: str, ranker: str) -> int:
            return 0 if ranker == MEAN else top(scored, kind, weights[kind].of(scored.complex.name, ranker))

        picks = [
            [(kind, ranker, place(scored, kind, ranker)) for kind in KINDS for ranker in (MEAN, chosen)]
            for scored in table
        ]
        jobs = [
            (scored.complex, np.stack([scored.positions[kind][i] for kind, _, i in own]))
            for scored, own in zip(table, picks, strict=True)
        ]
        return [
            {(kind, ranker): valid for (kind, ranker, _), valid in zip(own, verdicts, strict=True)}
            for own, verdicts in zip(picks, self.poses(jobs), strict=True)
        ]
