"""Ways from noise to a pose: a solver on a grid, and DiffDock's own samplers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from domains.docking.general_grids import general_fit, grid_path
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.diffdock_sampler import sample_ode, sample_sde
from domains.docking.poses.flow import DockingFlow
from domains.docking.poses.low_temperature_sde import PUBLISHED, sample_low_temperature_sde
from domains.docking.poses.pose import Poses
from domains.docking.settings import SOLVER
from ld3.fingerprint import fingerprint
from ld3.grids import HAND_MADE, Grid
from ld3.learn import FitResult
from ld3.saved_values import mean_lists
from ld3.solvers import Noise, Solver, get_solver, integrate

DIFFDOCK_STEPS: Final = 20
"""Of DiffDock's published sampler."""

OnStep = Callable[[int, int, Poses], None]
"""Called as on_step(i, n, x) after step i = 1..n."""


@final
@dataclass(frozen=True, eq=False)
class Sampler:
    """A way from noise to a pose.

    Attributes:
        solve: (flow, starts, standard normal noise for those who need it, a callback after each step) -> ends.
        key: hash of what is done.
        nfe: network evaluations a pose.
        score_scale: c of the flow that it follows; None = the model's.
        settings: what is done, in words and numbers, for files of results.
    """

    solve: Callable[[DockingFlow, Poses, Noise, OnStep], Poses]
    key: str
    nfe: int
    score_scale: float | None = None
    settings: Mapping[str, object] = field(default_factory=dict)


Method = FitResult | Grid | int | Sampler
"""A learned grid; a grid for the default solver; a number of evaluations, as :func:`usual_sampler` has it; or any."""

HAND_MADE_GRID: Final = "edm"
"""Where no grid was learned for a model."""


def grid_sampler(grid: Grid, solver: Solver, score_scale: float | None = None) -> Sampler:
    """`solver`, which may be stochastic, on a grid, at a score scale; the model's if None."""

    def solve(flow: DockingFlow, start: Poses, noise: Noise, on_step: OnStep) -> Poses:
        return integrate(flow, start, grid, solver, on_step=on_step, noise=noise)

    key = fingerprint("grid", solver.name, solver.coefficients, solver.data_mean, grid.solver, grid.network)
    weights = solver.coefficients and solver.coefficients.to_dict()
    settings = {
        "solver": solver.name,
        "coefficients": weights,
        "data_mean": mean_lists(solver.data_mean),
        "grid": grid.to_dict(),
    }
    return Sampler(solve, key, solver.evaluations(grid.n_steps), score_scale, settings)


def hand_made_sampler(grid: str, solver: str, nfe: int, score_scale: float | None = None) -> Sampler:
    """A solver on a hand-made grid at a score scale; the model's if None.

    Raises:
        ValueError: if there is no such solver or grid, or the solver cannot spend `nfe`.
    """
    rule = get_solver(solver)
    steps = rule.steps(nfe)
    if grid not in HAND_MADE:
        raise ValueError(f"grid must be one of {', '.join(HAND_MADE)}, got {grid!r}")

    def solve(flow: DockingFlow, start: Poses, noise: Noise, on_step: OnStep) -> Poses:
        return integrate(flow, start, HAND_MADE[grid](flow.clock, steps), rule, on_step=on_step)

    return Sampler(solve, f"{solver}-{grid}-{nfe}", nfe, score_scale, {"solver": solver, "grid": grid})


def plain_sde(score_scale: float | None = 1.0, steps: int = DIFFDOCK_STEPS) -> Sampler:
    """The reverse SDE that DiffDock's temperatures change, at a score scale; None = the model's."""

    def solve(flow: DockingFlow, start: Poses, noise: Noise, on_step: OnStep) -> Poses:
        return sample_sde(flow, start, steps, noise, on_step)

    return Sampler(solve, f"sde-{steps}", steps, score_scale, {"solver": "euler_maruyama", "grid": "uniform_t"})


def diffdock_low_temperature_sde(model: DockingModel) -> Sampler:
    """DiffDock's published sampler, with the temperatures and steps that the model's weights say; the published ones
    where they say none.
    """
    chosen = model.low_temperature or PUBLISHED

    def solve(flow: DockingFlow, start: Poses, noise: Noise, on_step: OnStep) -> Poses:
        return sample_low_temperature_sde(flow, start, noise, chosen, on_step)

    settings = {"solver": "euler_maruyama", "grid": "uniform_t", "low_temperature": chosen.plain()}
    return Sampler(solve, f"low-temperature-{fingerprint(chosen)}", chosen.run, 1.0, settings)


def diffdock_ode(score_scale: float | None = 1.0, steps: int = DIFFDOCK_STEPS) -> Sampler:
    """DiffDock's probability-flow ODE; published at score scale 1, None = the model's."""

    def solve(flow: DockingFlow, start: Poses, noise: Noise, on_step: OnStep) -> Poses:
        return sample_ode(flow, start, steps, on_step)

    return Sampler(solve, f"ode-{steps}", steps, score_scale, {"solver": "euler_lambda", "grid": "uniform_t"})


def sampler_of(model: DockingModel, method: Method) -> Sampler:
    """What a method does.

    Raises:
        ValueError: if it is a number of evaluations that cannot be spent, or a grid of another noise range or score
            scale.
        InputError: if the general grid's file is no saved fit.
    """
    if isinstance(method, Sampler):
        return method
    if isinstance(method, int):
        return usual_sampler(model, method)[0]
    grid, solver = (method, get_solver(SOLVER)) if isinstance(method, Grid) else (method.grid, method.student())
    if problem := grid.mismatch(model.noise_range.clock(model.score_scale), end=False):
        raise ValueError(
            f"method does not go with the model: {problem}; learn a grid for it, or for another score scale c "
            "dock with dataclasses.replace(model, score_scale=c)"
        )
    return grid_sampler(grid, solver)


def usual_sampler(model: DockingModel, nfe: int) -> tuple[Sampler, Path | None]:
    """The model's general grid of `nfe` evaluations and its file; the grid `edm` made by hand, and None, where none of
    the model's score scale was learned and passed its test.

    Raises:
        ValueError: if the solver cannot spend `nfe`.
        InputError: if the general grid's file is no saved fit.
    """
    fit = general_fit(model, nfe)
    if fit is None or fit.grid.mismatch(model.noise_range.clock(model.score_scale), end=False):
        return hand_made_sampler(HAND_MADE_GRID, SOLVER, nfe), None
    assert model.path is not None
    return grid_sampler(fit.grid, fit.student()), grid_path(model.path, SOLVER, nfe)
