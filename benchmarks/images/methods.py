"""How images are made: the few-step grids under comparison, and the teacher."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks.common.names import TEACHER_ROW
from benchmarks.common.options import mistake
from benchmarks.common.store import Store
from domains.images.conditioned import Conditioned, ConditionedFlow
from domains.progress import WorkProgress
from ld3.clock import Clock
from ld3.fingerprint import fingerprint
from ld3.grids import HAND_MADE, Grid
from ld3.learn import Teacher
from ld3.solvers import Solver, get_solver, integrate
from ld3.state import cat, take


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


@dataclass(frozen=True, eq=False)
class Made:
    """Where a method's starts have ended, x̂ (B, C, H, W) on the CPU, and what an image cost."""

    x: Tensor
    ms_per_image: float


def teacher_method(teacher: Teacher, clock: Clock) -> Method:
    """The converged ODE."""
    solver = get_solver(teacher.solver)
    return Method(TEACHER_ROW, solver, teacher.nfe, HAND_MADE[teacher.grid](clock, solver.steps(teacher.nfe)))


def on_grids(grids: Mapping[str, Grid], solver: Solver, nfe: int) -> list[Method]:
    """The solver on each of these grids; one that equals an earlier one says so."""
    found: list[Method] = []
    for name, grid in grids.items():
        own = Method(name, solver, nfe, grid)
        twin = next((other for other in found if other.grid.equals(own.grid)), None)
        found.append(replace(twin, name=name, same_as=twin.same_as or twin.name) if twin else own)
    return found


def make(method: Method, flow: ConditionedFlow, starts: Sequence[Conditioned], store: Store, bar: WorkProgress) -> Made:
    """Take every batch of starts to its end, or read what an earlier run has made, be it in other batches."""
    whole = _key(method, flow, cat(starts))
    found = store.tensors(whole)
    if found is None:
        parts = [_kept(method, flow, start, store, bar) for start in starts]
        seconds = torch.stack([part["seconds"] for part in parts]).sum()
        found = {"x": torch.cat([part["x"] for part in parts]), "seconds": seconds}
        store.put_tensors(whole, found)
        if len(starts) > 1:
            for start in starts:
                store.drop_tensors(_key(method, flow, start))
    return Made(found["x"], 1000 * float(found["seconds"]) / len(found["x"]))


def make_goals(
    method: Method, flow: ConditionedFlow, starts: Sequence[Conditioned], store: Store, bar: WorkProgress
) -> Made:
    """The same by the teacher, whose images all others are compared with.

    Raises:
        InputError: if none of them is finite.
    """
    made = make(method, flow, starts, store, bar)
    if not made.x.flatten(1).isfinite().all(1).any():
        raise mistake("model", "none of the teacher's images is finite", "give another, or --precision float32")
    return made


def _kept(
    method: Method, flow: ConditionedFlow, start: Conditioned, store: Store, bar: WorkProgress
) -> dict[str, Tensor]:
    key = _key(method, flow, start)
    found = store.tensors(key)
    if found is None:
        found = _solve(method, flow, start, bar)
        store.put_tensors(key, found)
    return found


def _key(method: Method, flow: ConditionedFlow, start: Conditioned) -> str:
    return f"images-{fingerprint(flow.fingerprint(), *start, method.key)}"


def _solve(method: Method, flow: ConditionedFlow, start: Conditioned, bar: WorkProgress) -> dict[str, Tensor]:
    def count(step: int, steps: int, x: Conditioned) -> None:
        bar.evaluated(method.nfe // steps * len(x.x))

    began = time.perf_counter()
    with torch.no_grad():
        end = integrate(flow, start, method.grid, method.solver, on_step=count).x.cpu()  # waits for a GPU
    return {"x": end, "seconds": torch.tensor(time.perf_counter() - began)}


def make_starts(flow: ConditionedFlow, n: int, batch: int, seed: int) -> list[Conditioned]:
    """`n` samples of the prior in batches, the same on every device."""
    start = flow.prior(n, torch.Generator().manual_seed(seed))
    moved = Conditioned(start.x.to(flow.device), start.condition.to(flow.device))
    return [take(moved, slice(low, low + batch)) for low in range(0, n, batch)]
