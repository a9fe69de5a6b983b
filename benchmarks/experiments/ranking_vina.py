"""Vina's first poses for the study of ranking; each complex is docked once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.docking.vina import dock_by_vina
from benchmarks.experiments.study import Kept
from domains.docking.structures.complexes import Complex


class VinaRun(NamedTuple):
    """Of one complex.

    pose         (1, A, 3) float32, Å, Vina's first.
    cpu_seconds  of maps and search, one thread.
    """

    pose: NDArray[np.float32]
    cpu_seconds: float


def dock_in_turn(
    splits: Mapping[str, Sequence[Complex]],
    exhaustiveness: int,
    seed: int,
    kept: Kept,
    on_complex: Callable[[], None],
) -> dict[str, VinaRun]:
    """Name of a complex -> what Vina found; one of each split in turn, so that an interrupted run has some of all."""
    found = {}
    for complex_ in chain.from_iterable(zip_longest(*splits.values())):
        if complex_ is None:
            continue

        def make(complex_: Complex = complex_) -> dict[str, Any]:
            docked = dock_by_vina(complex_, exhaustiveness, 1, seed + 1)
            return {"pose": docked.positions[:1].tolist(), "seconds": docked.cpu_seconds}

        plain = kept("vina", (complex_.name, exhaustiveness, seed), make)
        found[complex_.name] = VinaRun(np.array(plain["pose"], dtype=np.float32), plain["seconds"])
        on_complex()
    return found
