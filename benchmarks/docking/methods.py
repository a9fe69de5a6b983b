"""How poses are docked: the teacher, DiffDock's own samplers, and a solver on few-step grids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from benchmarks.common.comparison import LEARNED, SHIPPED, TEACHER_ROW
from benchmarks.common.grids import same_as
from domains.docking.networks.weights import DockingModel
from domains.docking.samplers import (
    Sampler,
    diffdock_low_temperature_sde,
    diffdock_ode,
    grid_sampler,
    hand_made_sampler,
    plain_sde,
)
from ld3.clock import Clock
from ld3.fingerprint import fingerprint
from ld3.grids import HAND_MADE, Grid
from ld3.learn import FitResult, Teacher
from ld3.solvers import Solver

LOW_TEMPERATURE: Final = "diffdock_sde"
"""The sampler that DiffDock-L publishes, at temperatures that were chosen for the weights."""
SCALED: Final[Mapping[str, str]] = {"plain_sde": "plain_sde_c", "diffdock_ode": "diffdock_ode_c"}
"""The reverse SDE and its ODE at score scale 1 -> the same at the run's score scale."""
DIFFDOCK: Final = (LOW_TEMPERATURE, *SCALED, *SCALED.values())
"""All of DiffDock's samplers."""


@dataclass(frozen=True, eq=False)
class Method:
    """One way to dock, as the results know it.

    Attributes:
        name: "teacher", "shipped", "uniform_t", ...
        solver: a name of ld3.solvers, or "euler_maruyama".
        sampler: what is done.
        score_scale: c that it is done at.
        grid: of the solver; None for the teacher and DiffDock's samplers.
        same_as: an earlier method whose grid this one's is.
    """

    name: str
    solver: str
    sampler: Sampler
    score_scale: float
    grid: Grid | None = None
    same_as: str | None = None

    @property
    def nfe(self) -> int:
        """Network evaluations a pose."""
        return self.sampler.nfe

    @property
    def key(self) -> str:
        """Hash of what is done; two names of one grid have the same."""
        return fingerprint(self.sampler.key, self.score_scale)


def teacher_method(teacher: Teacher, score_scale: float) -> Method:
    """The probability-flow ODE, solved with many steps."""
    return Method(
        TEACHER_ROW, teacher.solver, hand_made_sampler(teacher.grid, teacher.solver, teacher.nfe), score_scale
    )


def diffdock_methods(model: DockingModel) -> list[Method]:
    """DiffDock's low-temperature SDE, its plain SDE and its ODE; the last two also at the model's score scale."""
    found = [Method(LOW_TEMPERATURE, "euler_maruyama", diffdock_low_temperature_sde(model), 1.0)]
    for c in dict.fromkeys((1.0, model.score_scale)):
        for name, solver, sampler in (
            ("plain_sde", "euler_maruyama", plain_sde(c)),
            ("diffdock_ode", "euler_lambda", diffdock_ode(c)),
        ):
            found.append(Method(name if c == 1.0 else SCALED[name], solver, sampler, c))
    return found


def grid_methods(
    clock: Clock, solver: Solver, nfe: int, shipped: FitResult | None, learned: FitResult | None
) -> list[Method]:
    """The shipped grid, the fitted one, and every hand-made one; grids that are equal on this clock say so, and are
    computed once."""
    given = {SHIPPED: shipped, LEARNED: learned}
    found = [
        Method(name, fit.solver, grid_sampler(fit.grid, fit.student()), clock.score_scale, fit.grid)
        for name, fit in given.items()
        if fit is not None
    ]
    grids = {name: make(clock, solver.steps(nfe)) for name, make in HAND_MADE.items()}
    twins = same_as(grids)
    for name, grid in grids.items():
        twin = twins.get(name)
        sampler = grid_sampler(grids[twin] if twin else grid, solver)
        found.append(Method(name, solver.name, sampler, clock.score_scale, grid, twin))
    return found
