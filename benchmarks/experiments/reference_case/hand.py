"""Grids that nobody learned, on the reference case: every solver that can spend the evaluations, on every such grid."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final, final

import torch

from benchmarks.common.store import Store, finite
from benchmarks.experiments.reference_case.case import ReferenceCase
from benchmarks.experiments.reference_case.rows import HandRow, mse_to_teacher
from domains.progress import WorkProgress
from ld3.fingerprint import fingerprint
from ld3.grids import HAND_MADE, TRAJECTORY_SOLVER, Grid, Jumps, edm, jump_costs
from ld3.solvers import SOLVERS, Solver, get_solver

GITS: Final = "gits"
_NAMES: Final = (*HAND_MADE, GITS)
_TRAJECTORIES, _FINE_STEPS, _SEED = 256, 60, 0  # the paper's, from starts of their own


@final
class HandMade:
    """What the grids reach on the test starts of a case.

    Args:
        case: where.
        store: of what an earlier run has computed; None = nothing is kept.
    """

    def __init__(self, case: ReferenceCase, store: Store | None) -> None:
        self._case, self._store = case, store
        self._of_case = (case.flow.fingerprint(), case.test_start, case.test_end)

    def work(self, nfe: Sequence[int]) -> int:
        """Network evaluations of all rows, at most."""
        trials = sum(n for solver in SOLVERS.values() for n in nfe if _spends(solver, n))
        return trials * len(_NAMES) * len(self._case.test_start) + _TRAJECTORIES * _FINE_STEPS

    def rows(self, nfe: Sequence[int], bar: WorkProgress) -> list[HandRow]:
        """One a solver, budget and grid."""
        pairs = [(solver, n) for solver in SOLVERS.values() for n in nfe if _spends(solver, n)]
        return [self._row(solver, n, name, bar) for solver, n in pairs for name in _NAMES]

    def _row(self, solver: Solver, nfe: int, name: str, bar: WorkProgress) -> HandRow:
        grid = self._grid(name, solver.steps(nfe))
        key = f"hand-{fingerprint(solver.name, grid.solver, self._of_case)}"
        found = None if self._store is None else self._store.json(key)
        if found is None:
            found = {"mse": finite(mse_to_teacher(self._case, grid, solver))}
            bar.evaluated(nfe * len(self._case.test_start))
            if self._store is not None:
                self._store.put_json(key, found)
        return HandRow(solver.name, nfe, name, found["mse"])

    def _grid(self, name: str, steps: int) -> Grid:
        if name != GITS:
            return HAND_MADE[name](self._case.flow.clock, steps)
        return self._jumps.grid(steps)

    @cached_property
    def _jumps(self) -> Jumps:
        """Along a few trajectories."""
        flow = self._case.flow
        start = flow.prior(_TRAJECTORIES, torch.Generator().manual_seed(_SEED))
        fine = edm(flow.clock, _FINE_STEPS)
        return Jumps(fine, jump_costs(flow, start, fine, get_solver(TRAJECTORY_SOLVER)))


def published_rows(case: ReferenceCase, nfe: Sequence[int]) -> list[HandRow]:
    """The same, as the published code's own grids and solvers had them."""
    listed = ((solver, n, grids) for (solver, n), grids in case.hand.items() if n in nfe)
    return [
        HandRow(s, n, f"{name} of the published code", mse) for s, n, grids in listed for name, mse in grids.items()
    ]


def _spends(solver: Solver, nfe: int) -> bool:
    return nfe % solver.nfe_per_step == 0
