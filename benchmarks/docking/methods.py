"""How poses are docked: the few-step grids under comparison, DiffDock's own samplers, and the teacher."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.common.store import Store
from benchmarks.docking.inputs import Group
from domains.docking.poses.diffdock_sampler import noise_from, sample_ode, sample_sde
from domains.docking.poses.flow import DockingFlow
from domains.docking.poses.pose import Poses
from domains.progress import WorkProgress
from domains.seeds import seed_of
from ld3.clock import Clock
from ld3.fingerprint import fingerprint
from ld3.grids import HAND_MADE, Grid
from ld3.learn import Teacher, run_teacher
from ld3.solvers import Solver, integrate
from ld3.state import take

OnStep = Callable[[int, int, Poses], None]
Sampler = Callable[[DockingFlow, Poses, torch.Generator, OnStep], Poses]

DIFFDOCK_STEPS = 20  # of DiffDock's published sampler


@dataclass(frozen=True, eq=False)
class Method:
    """One way to dock, as the results know it.

    Attributes:
        name: "learned", "teacher", "uniform_t", ...
        solver: a name of the registry, or "euler_maruyama".
        nfe: network evaluations a pose.
        key: hash of what is done; two names of one grid have the same.
        grid: of the solver at the run's score scale; None for the teacher and DiffDock's samplers.
        same_as: an earlier method whose grid this one's is.
        score_scale: c of the flow that it follows; None = that of the run.
    """

    name: str
    solver: str
    nfe: int
    key: str
    grid: Grid | None = None
    same_as: str | None = None
    score_scale: float | None = None


@dataclass(frozen=True, eq=False)
class Procedure:
    """How a method gets from noise to a pose."""

    method: Method
    sample: Sampler

    @property
    def sharp(self) -> bool:
        """Whether it follows the flow at the run's score scale, or at 1."""
        return self.method.score_scale is None


@dataclass(frozen=True, eq=False)
class Docked:
    """Poses (S, A, 3), Å, in each protein's frame, and what one cost."""

    positions: Mapping[str, NDArray[np.float32]]
    ms_per_pose: float


def grid_procedure(name: str, grid: Grid, solver: Solver, nfe: int) -> Procedure:
    """`solver` on a grid."""

    def sample(flow: DockingFlow, start: Poses, generator: torch.Generator, on_step: OnStep) -> Poses:
        return integrate(flow, start, grid, solver, on_step=on_step)

    key = fingerprint("grid", solver.name, solver.coefficients, grid.solver, grid.network)
    return Procedure(Method(name, solver.name, nfe, key, grid), sample)


def hand_made(clock: Clock, solver: Solver, nfe: int) -> list[Procedure]:
    """Every hand-made grid. Those that are equal on this clock (geometric in t: uniform_t and uniform_log_snr) share a
    key, and so are computed once.
    """
    found: dict[str, Procedure] = {}
    grids: dict[str, Grid] = {}
    for name, make in HAND_MADE.items():
        grid = make(clock, solver.steps(nfe))
        twin = next((other for other in grids if grids[other].equals(grid)), None)
        if twin:
            found[name] = replace(found[twin], method=replace(found[twin].method, name=name, same_as=twin))
        else:
            grids[name], found[name] = grid, grid_procedure(name, grid, solver, nfe)
    return list(found.values())


def diffdock() -> list[Procedure]:
    """DiffDock's published sampler, the reverse SDE, and its probability-flow ODE; score scale 1, as published."""

    def sde(flow: DockingFlow, start: Poses, generator: torch.Generator, on_step: OnStep) -> Poses:
        return sample_sde(flow, start, DIFFDOCK_STEPS, noise_from(generator), on_step)

    def ode(flow: DockingFlow, start: Poses, generator: torch.Generator, on_step: OnStep) -> Poses:
        return sample_ode(flow, start, DIFFDOCK_STEPS, on_step)

    methods = (
        Method("diffdock_sde", "euler_maruyama", DIFFDOCK_STEPS, f"sde-{DIFFDOCK_STEPS}", score_scale=1.0),
        Method("diffdock_ode", "euler_lambda", DIFFDOCK_STEPS, f"ode-{DIFFDOCK_STEPS}", score_scale=1.0),
    )
    return [Procedure(method, sample) for method, sample in zip(methods, (sde, ode), strict=True)]


def teacher_method(teacher: Teacher) -> Method:
    """The converged ODE, which is run by :func:`dock_by_teacher`."""
    return Method("teacher", teacher.solver, teacher.nfe, fingerprint("teacher", teacher))


def dock(procedure: Procedure, groups: Sequence[Group], seed: int, store: Store, bar: WorkProgress) -> Docked:
    """Take every group from its starts to the end, or read what an earlier run has docked."""

    def solve(group: Group) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed_of(seed, "dock", *group.names))
        flow = group.flow if procedure.sharp else group.plain
        ends: list[Tensor] = []
        began = time.perf_counter()
        with torch.no_grad():
            for rows in torch.arange(len(group)).chunk(-(-len(group) // group.at_once)):

                def count(step: int, steps: int, x: Poses) -> None:
                    bar.evaluated(procedure.method.nfe // steps * len(x.complex_row))

                ends.append(procedure.sample(flow, take(group.start, rows), generator, count).positions)
        positions = torch.cat(ends).cpu()  # waits for a GPU, which the clock has to include
        return {"positions": positions, "seconds": torch.tensor(time.perf_counter() - began)}

    keys = [_key(group, procedure.sharp, procedure.method.key, seed) for group in groups]
    return _docked(groups, [_kept(store, key, solve, group) for key, group in zip(keys, groups, strict=True)])


def dock_by_teacher(
    teacher: Teacher, groups: Sequence[Group], store: Store, bar: WorkProgress
) -> tuple[Docked, Tensor]:
    """Where the converged ODE ends, and its disagreement (M,), Å², with the same run at twice the steps."""
    checked = -(-teacher.checked // len(groups))
    own = replace(teacher, checked=checked)

    def solve(group: Group) -> dict[str, Tensor]:
        began = time.perf_counter()
        seconds = 0.0
        count = bar.counter()

        def on_progress(done: int, total: int) -> None:
            nonlocal seconds
            if done <= own.nfe * len(group):  # the rest is the check
                seconds = time.perf_counter() - began
            count(done, total)

        pairs = run_teacher(group.flow, group.start, own, on_progress=on_progress)
        return {
            "positions": pairs.end.positions,
            "seconds": torch.tensor(seconds),
            "disagreement": pairs.disagreement,
        }

    method = teacher_method(own).key
    found = [_kept(store, _key(group, True, method, 0), solve, group) for group in groups]
    return _docked(groups, found), torch.cat([part["disagreement"] for part in found])


def _key(group: Group, sharp: bool, method: str, seed: int) -> str:
    return f"poses-{fingerprint(group.keys[sharp], method, seed)}"


def _kept(store: Store, key: str, solve: Callable[[Group], dict[str, Tensor]], group: Group) -> dict[str, Tensor]:
    found = store.tensors(key)
    if found is None:
        found = solve(group)
        store.put_tensors(key, found)
    return found


def _docked(groups: Sequence[Group], found: Sequence[Mapping[str, Tensor]]) -> Docked:
    positions = {
        name: own
        for group, part in zip(groups, found, strict=True)
        for name, own in group.by_complex(part["positions"])
    }
    seconds = sum(float(part["seconds"]) for part in found)
    return Docked(positions, 1000 * seconds / sum(map(len, groups)))
