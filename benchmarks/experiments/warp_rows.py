"""Grids fitted for one budget each, and warps fitted for many, on the reference case: how near they come, what they
cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal, final

import torch
from torch import Tensor

from benchmarks.common.fits import fine_steps
from benchmarks.common.store import Store, finite
from benchmarks.experiments.reference_case.case import ReferenceCase
from ld3.fingerprint import fingerprint
from ld3.grids import HAND_MADE, TRAJECTORY_SOLVER, Grid, Jumps, edm, jump_costs
from ld3.learn import FitConfig, Pairs, Teacher, WarpConfig, fit, fit_warp, run_teacher
from ld3.solvers import get_solver, integrate
from ld3.state import Levels

Method = Literal["hand", "gits", "fitted", "warp", "curve"]
"""The hand-made grid that the validation pairs like best; GITS; the grid fitted for the budget; a warp; a warp without
drift."""

TEACHER: Final = Teacher(solver="unipc_bh1_3", grid="edm", nfe=32, tolerance=1e-4, checked=8, chunk=256)
FIT: Final = FitConfig(optimiser="bfgs", phases=("joint",), steps=1000, chunk=256, validate_every=10, patience=6)
WARP: Final = WarpConfig(chunk=256)

_FORMAT: Final = 2  # of what is kept; raise it when the code that makes it changes


@final
@dataclass(frozen=True)
class Row:
    """One grid.

    Attributes:
        method: whose grid it is.
        nfe: its budget.
        seed: of the pairs.
        mse: mean squared distance of pixels to the teacher, on the case's test set; None where a sample is not finite.
    """

    method: Method
    nfe: int
    seed: int
    mse: float | None


@final
@dataclass(frozen=True)
class Cost:
    """One fit.

    Attributes:
        method: what was fitted.
        nfe: the budgets that it was for.
        seed: of the pairs.
        network_evaluations: of the fit; the teacher's are the same for all.
        cpu_seconds: of the fit.
    """

    method: Method
    nfe: tuple[int, ...]
    seed: int
    network_evaluations: int
    cpu_seconds: float


@final
class Comparison:
    """All fits of one seed, on the same pairs.

    Args:
        case: the reference case.
        solver: a name of the registry.
        learned_on: budgets of the warps.
        pairs: that are learned from, and chosen by.
        seed: of their starts.
        store: where fits are kept.
    """

    def __init__(
        self,
        case: ReferenceCase,
        solver: str,
        learned_on: Sequence[int],
        pairs: tuple[int, int],
        seed: int,
        store: Store,
    ) -> None:
        self.case, self.solver, self.learned_on, self.seed = case, get_solver(solver), tuple(learned_on), seed
        self.n_train, self.n_valid = pairs
        self._store = store
        self._pairs: Pairs[Tensor] | None = None

    def run(self, budgets: Sequence[int]) -> tuple[list[Row], list[Cost]]:
        """Figures of every method at every budget; warps are fitted on `learned_on` alone."""
        rows: list[Row] = []
        costs: list[Cost] = []
        for nfe in budgets:
            starts = self._hand_made(self.solver.steps(nfe))
            found = self._kept("fitted", (nfe,), (FIT, starts), partial(self._fitted, nfe))
            rows += [Row("hand", nfe, self.seed, found["hand"]), Row("fitted", nfe, self.seed, found["fitted"])]
            costs.append(Cost("fitted", (nfe,), self.seed, found["network_evaluations"], found["cpu_seconds"]))
        fine = edm(self.case.flow.clock, fine_steps(max(map(self.solver.steps, budgets))))
        found = self._kept("gits", tuple(budgets), fine.solver, partial(self._gits, fine, budgets))
        rows += [Row("gits", nfe, self.seed, mse) for nfe, mse in zip(budgets, found["mse"], strict=True)]
        spent = (found["network_evaluations"], found["cpu_seconds"])
        costs.append(Cost("gits", self.learned_on, self.seed, *spent))
        warps: tuple[tuple[Method, bool], ...] = (("warp", True), ("curve", False))
        for method, drift in warps:
            config = replace(WARP, drift=drift)
            settings = (config, self._hand_made(config.knots))
            found = self._kept(method, (*self.learned_on, *budgets), settings, partial(self._warp, config, budgets))
            rows += [Row(method, nfe, self.seed, mse) for nfe, mse in zip(budgets, found["mse"], strict=True)]
            spent = (found["network_evaluations"], found["cpu_seconds"])
            costs.append(Cost(method, self.learned_on, self.seed, *spent))
        return rows, costs

    def _hand_made(self, n: int) -> dict[str, Levels]:
        """Levels of the grids of `n` steps that a fit may start from."""
        return {name: make(self.case.flow.clock, n).solver for name, make in HAND_MADE.items()}

    def _kept(
        self, method: str, budgets: tuple[int, ...], settings: object, make: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        case = self.case
        inputs = (case.flow.fingerprint(), case.test_start, case.test_end, TEACHER, self.n_train, self.n_valid)
        key = fingerprint(_FORMAT, inputs, self.solver.name, self.seed, method, budgets, self.learned_on, settings)
        found = self._store.json(key)
        if found is None:
            found = make()
            self._store.put_json(key, found)
        return dict(found)

    def _fitted(self, nfe: int) -> dict[str, Any]:
        train, valid = self._taught()
        began = time.process_time()
        result = fit(self.case.flow, train, valid, self.solver, nfe, FIT)
        seconds = time.process_time() - began
        best = HAND_MADE[min(result.hand_made, key=result.hand_made.__getitem__)](
            self.case.flow.clock, self.solver.steps(nfe)
        )
        mse = {"hand": self._mse(best), "fitted": self._mse(result.grid)}
        return {**mse, "network_evaluations": result.network_evaluations, "cpu_seconds": seconds}

    def _gits(self, fine: Grid, budgets: Sequence[int]) -> dict[str, Any]:
        flow = self.case.flow
        train, _ = self._taught()
        began = time.process_time()
        jumps = Jumps(fine, jump_costs(flow, train.start, fine, get_solver(TRAJECTORY_SOLVER), WARP.chunk))
        grids = [jumps.grid(self.solver.steps(nfe)) for nfe in budgets]
        seconds = time.process_time() - began
        mse = [self._mse(grid) for grid in grids]
        return {"mse": mse, "network_evaluations": fine.n_steps * len(train), "cpu_seconds": seconds}

    def _warp(self, config: WarpConfig, budgets: Sequence[int]) -> dict[str, Any]:
        train, valid = self._taught()
        began = time.process_time()
        result = fit_warp(self.case.flow, train, valid, self.solver, self.learned_on, config)
        seconds = time.process_time() - began
        mse = [self._mse(result.warp(self.solver.steps(nfe))) for nfe in budgets]
        return {"mse": mse, "network_evaluations": result.network_evaluations, "cpu_seconds": seconds}

    def _taught(self) -> tuple[Pairs[Tensor], Pairs[Tensor]]:
        if self._pairs is None:
            starts = self.case.flow.prior(self.n_train + self.n_valid, torch.Generator().manual_seed(self.seed))
            self._pairs = run_teacher(self.case.flow, starts, TEACHER)
        return self._pairs.take(slice(0, self.n_train)), self._pairs.take(slice(self.n_train, None))

    @torch.no_grad()
    def _mse(self, grid: Grid) -> float | None:
        flow = self.case.flow
        end = integrate(flow, self.case.test_start, grid, self.solver)
        return finite(float(flow.distance(end, self.case.test_end).mean()))
