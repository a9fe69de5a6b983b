"""How images are made: the few-step grids under comparison, and the teacher."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.common.comparison import TEACHER_ROW
from benchmarks.common.grids import same_as
from benchmarks.common.store import Store
from domains.images.conditioned import Conditioned, ConditionedFlow
from ld3.clock import Clock
from ld3.fingerprint import fingerprint
from ld3.grids import HAND_MADE, Grid
from ld3.learn import Teacher
from ld3.solvers import Solver, get_solver, integrate
from ld3.state import cat, take

Count = Callable[[int], None]
"""Told of network evaluations that have been made."""


@dataclass(frozen=True, eq=False)
class Method:
    """A solver on a grid, as the results know it.

    Attributes:
        name: "teacher", "learned", "edm", ...
        nfe: network evaluations an image.
        same_as: an earlier method whose grid this one's is.
    """

    name: str
    solver: Solver
    nfe: int
    grid: Grid
    same_as: str | None = None

    @property
    def key(self) -> str:
        """Hash of what is done; two names of one grid have the same."""
        return fingerprint("grid", self.solver.name, self.solver.coefficients, self.grid.solver, self.grid.network)


def teacher_method(teacher: Teacher, clock: Clock) -> Method:
    """The converged ODE."""
    solver = get_solver(teacher.solver)
    return Method(TEACHER_ROW, solver, teacher.nfe, HAND_MADE[teacher.grid](clock, solver.steps(teacher.nfe)))


def on_grids(grids: Mapping[str, Grid], solver: Solver, nfe: int) -> list[Method]:
    """The solver on each of these grids; one that equals an earlier one says so, and is computed once."""
    twins = same_as(grids)
    return [Method(name, solver, nfe, grids[twins.get(name, name)], twins.get(name)) for name in grids]


def make(method: Method, flow: ConditionedFlow, starts: Sequence[Conditioned], store: Store, count: Count) -> Tensor:
    """x̂ (B, C, H, W) on the CPU, where every batch of starts ends; what an earlier run has made is read, be it in other
    batches.
    """

    def kept(start: Conditioned) -> Tensor:
        key = _key(method, flow, start)
        found = store.tensors(key)
        if found is None:
            found = {"x": solve(method, flow, start, count)}
            store.put_tensors(key, found)
        return found["x"]

    whole = _key(method, flow, cat(starts))
    found = store.tensors(whole)
    if found is None:
        found = {"x": torch.cat([kept(start) for start in starts])}
        store.put_tensors(whole, found)
        for start in starts if len(starts) > 1 else ():
            store.drop_tensors(_key(method, flow, start))
    return found["x"]


def milliseconds(method: Method, flow: ConditionedFlow, start: Conditioned, count: Count) -> float:
    """Wall time of an image."""
    began = time.perf_counter()
    solve(method, flow, start, count)
    return 1000 * (time.perf_counter() - began) / len(start.x)


@torch.no_grad()
def solve(method: Method, flow: ConditionedFlow, start: Conditioned, count: Count) -> Tensor:
    """x̂ (B, C, H, W) on the CPU, where the starts end."""

    def on_step(step: int, steps: int, x: Conditioned) -> None:
        count(method.nfe // steps * len(x.x))

    return integrate(flow, start, method.grid, method.solver, on_step=on_step).x.cpu()  # waits for a GPU


def make_starts(flow: ConditionedFlow, n: int, batch: int, seed: int) -> list[Conditioned]:
    """`n` samples of the prior in batches, the same on every device."""
    start = flow.starts(n, seed)
    return [take(start, slice(low, low + batch)) for low in range(0, n, batch)]


def _key(method: Method, flow: ConditionedFlow, start: Conditioned) -> str:
    return f"images-{fingerprint(flow.fingerprint(), *start, method.key)}"
