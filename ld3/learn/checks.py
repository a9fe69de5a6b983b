"""What is refused before a fit: grids, solvers, settings and pairs that do not go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ld3.flow import ProbabilityFlow
from ld3.grids.grid import Grid
from ld3.grids.hand_made import HAND_MADE, hand_made
from ld3.learn.ball import radii
from ld3.learn.config import FitConfig
from ld3.learn.student import Student
from ld3.learn.teacher import Pairs
from ld3.solvers.solver import Solver
from ld3.state import State


def check_fit(
    flow: ProbabilityFlow[State], solver: Solver, nfe: int, config: FitConfig, starting_grids: Mapping[str, Grid]
) -> tuple[str, dict[str, Grid]]:
    """The flow's fingerprint and the grids that a fit may start from; computes nothing that costs.

    Raises:
        ValueError: if the solver cannot spend `nfe`, end where the flow ends, or has no coefficients to learn;
            `config.initial_grid` names no grid; one of `starting_grids` has a hand-made one's name, other steps,
            another range or score scale, or cannot be learned as `config` says; or `config.radius` is of other factors.
        TypeError: if the flow cannot be hashed.
    """
    identity, n_steps = flow.fingerprint(), solver.steps(nfe)
    if solver.finite_end and flow.clock.clean_end:
        raise ValueError(f"solver must be one that can end without noise, as the flow does; {solver.name} cannot")
    for name, grid in starting_grids.items():
        if name in (*HAND_MADE, "best"):
            raise ValueError(f"starting_grids must not use the name of a hand-made grid, got {name!r}")
        if grid.n_steps != n_steps:
            raise ValueError(f"starting_grids[{name!r}] must have {n_steps} steps, got {grid.n_steps}")
        if problem := grid.mismatch(flow.clock):
            raise ValueError(f"starting_grids[{name!r}] must go with the flow: {problem}")
    grids = hand_made(flow.clock, n_steps) | {name: replace(g, name=name) for name, g in starting_grids.items()}
    if config.initial_grid not in ("best", *grids):
        raise ValueError(
            f"config.initial_grid must be 'best' or one of {', '.join(grids)}, got {config.initial_grid!r}"
        )
    for name in grids if config.initial_grid == "best" else (config.initial_grid,):
        try:
            Student(grids[name], solver, config.shared_clock, config.phases, config.coefficient_depth)
        except ValueError as error:
            raise ValueError(f"grid {name!r} cannot be learned: {error}") from error
    radii(flow, config.radius)
    return identity, grids


def check_noise(name: str, pairs: Pairs[State], solver: Solver, nfe: int) -> None:
    """ValueError unless pairs have the noise that the solver asks for, and none where it asks for none."""
    if (pairs.noise is None) != (solver.spread is None):
        raise ValueError(f"{name}.noise must {'' if solver.spread else 'not '}be given for {solver.name}")
    needed = solver.steps(nfe) - 1
    for factor, z in (pairs.noise or {}).items():
        if z.shape[:2] != (len(pairs), needed):
            raise ValueError(f"{name}.noise[{factor!r}] must be ({len(pairs)}, {needed}, ...), got {tuple(z.shape)}")
