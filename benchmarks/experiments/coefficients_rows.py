"""Fits with and without learned solver coefficients on the same teacher pairs, and where their images end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, TypeVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.common.fits import fine_steps, fit_work
from benchmarks.common.store import Store
from benchmarks.images.baselines import GITS
from domains.images.conditioned import ConditionedFlow
from domains.images.settings import BATCH, FIT, TEACHER
from domains.progress import WorkProgress
from domains.seeds import seed_of
from ld3.fingerprint import fingerprint
from ld3.grids import HAND_MADE, TRAJECTORY_SOLVER, Grid, Jumps, edm, jump_costs
from ld3.learn import FitConfig, Phase, Point, fit, run_teacher
from ld3.solvers import Solver, get_solver, integrate
from ld3.state import take

BASELINE: Final = "no fit"
"""The grid that all fits start from: the one of those made by hand and GITS that the validation pairs like best."""

T = TypeVar("T")

_FORMAT: Final = 2  # of what is kept; raise it when the code that makes it changes
_IMAGES: Final = 250  # side by side


@final
@dataclass(frozen=True)
class Variant:
    """What a fit learns.

    Attributes:
        name: of its rows.
        asks: what they are there to show.
        phases: of the fit, which share its gradients equally.
    """

    name: str
    asks: str
    phases: tuple[Phase, ...]

    def config(self, steps: int, seed: int) -> FitConfig:
        """Of the fit: that of the images benchmark, with `steps` gradients in all, none of which is saved by stopping
        early: few pairs to choose by can choose, but not tell that no better student will come.
        """
        steps = steps // len(self.phases)
        return replace(FIT, phases=self.phases, steps=steps, patience=steps, chunk=BATCH, seed=seed)


JOINT: Final = Variant("times and levels", "what the images benchmark learns by default", ("joint",))
VARIANTS: Final = (
    Variant("coefficients", "the solver's coefficients alone, on the grid of the line above (S4S)", ("coefficients",)),
    JOINT,
    Variant("times and levels first", "then all three; half of the gradients each", ("joint", "all")),
    Variant("all", "all three at once, from the grid without a fit (S4S-Alt, which has them in turn)", ("all",)),
)


@final
@dataclass(frozen=True, eq=False)
class Fitted:
    """A solver on a grid, and how far its images are from the teacher's.

    Attributes:
        solver: name.
        nfe: network evaluations an image.
        seed: of pairs and starts.
        variant: name of what was learned, or `BASELINE`.
        start: the grid that was started from.
        distances: squared, mean over pixels, of each image, (S,); +inf for one that is not finite.
        network_evaluations: of the fit.
        seconds: wall time of the fit.
    """

    solver: str
    nfe: int
    seed: int
    variant: str
    start: str
    distances: NDArray[np.float64]
    network_evaluations: int
    seconds: float


@final
class Seed:
    """Pairs to learn from, to choose by, and to measure with.

    Args:
        flow: the model.
        number: of the seed.
        pairs: to learn from, and to choose by.
        samples: to measure with.
        finest: the most steps that a grid will have.
        store: where all is kept.
        bar: counts the teacher's evaluations.
    """

    def __init__(
        self,
        flow: ConditionedFlow,
        number: int,
        pairs: tuple[int, int],
        samples: int,
        finest: int,
        store: Store,
        bar: WorkProgress,
    ) -> None:
        self.flow, self.number, self.store = flow, number, store
        n_train, n_valid = pairs
        generator = torch.Generator().manual_seed(seed_of(number, "coefficients"))
        start = flow.prior(n_train + n_valid + samples, generator)
        teacher = replace(TEACHER, chunk=BATCH)
        taught = run_teacher(flow, start, teacher, store.folder / "teacher", bar.counter())
        self.train = taught.take(slice(0, n_train))
        self.valid = taught.take(slice(n_train, n_train + n_valid))
        self.test = taught.take(slice(n_train + n_valid, None))
        fine = edm(flow.clock, fine_steps(finest))
        costs = jump_costs(flow, self.train.start, fine, get_solver(TRAJECTORY_SOLVER), on_progress=bar.counter())
        self.jumps = Jumps(fine, costs)

    def run(self, solver: Solver, nfe: int, steps: int, bar: WorkProgress) -> list[Fitted]:
        """The grid that is not learned, and every variant."""
        n = solver.steps(nfe)
        grids = {name: make(self.flow.clock, n) for name, make in HAND_MADE.items()}
        grids[GITS] = self.jumps.grid(n)
        found = [self._fitted(solver, nfe, variant, steps, grids, bar) for variant in VARIANTS]
        start = found[0].start
        what = ("distances", solver.name, nfe, grids[start].solver)
        kept = self._kept(what, lambda: self._distances(grids[start], solver, bar))
        return [Fitted(solver.name, nfe, self.number, BASELINE, start, _array(kept), 0, 0.0), *found]

    def _fitted(
        self, solver: Solver, nfe: int, variant: Variant, steps: int, grids: Mapping[str, Grid], bar: WorkProgress
    ) -> Fitted:
        """A fit that starts from the best of `grids`."""
        config = variant.config(steps, self.number)
        count = bar.counter()

        def on_progress(point: Point) -> None:
            count(point.network_evaluations, 0)

        def learn() -> dict[str, Any]:
            folder = self.store.folder / "fit"
            result = fit(
                self.flow,
                self.train,
                self.valid,
                solver,
                nfe,
                config,
                starting_grids={GITS: grids[GITS]},
                folder=folder,
                on_progress=on_progress,
            )
            return {
                "start": result.initial_grid,
                "distances": self._distances(result.grid, result.student(), bar),
                "network_evaluations": result.network_evaluations,
                "seconds": result.seconds,
            }

        levels = {name: grid.solver for name, grid in grids.items()}
        kept = self._kept(("fitted", solver.name, nfe, levels, asdict(config)), learn)
        return Fitted(
            solver=solver.name,
            nfe=nfe,
            seed=self.number,
            variant=variant.name,
            start=kept["start"],
            distances=_array(kept["distances"]),
            network_evaluations=kept["network_evaluations"],
            seconds=kept["seconds"],
        )

    def _kept(self, what: tuple[object, ...], make: Callable[[], T]) -> T:
        parts = (self.train, self.valid, self.test)
        inputs = (self.flow.fingerprint(), *((*pairs.start, *pairs.end) for pairs in parts))
        key = f"{what[0]}-{fingerprint(_FORMAT, inputs, what)}"
        found: T | None = self.store.json(key)
        if found is None:
            found = make()
            self.store.put_json(key, found)
        return found

    @torch.no_grad()
    def _distances(self, grid: Grid, solver: Solver, bar: WorkProgress) -> list[float | None]:
        """Of each image; JSON has no infinity, None stands for it."""
        found: list[Tensor] = []
        for rows in torch.arange(len(self.test)).split(_IMAGES):
            end = integrate(self.flow, take(self.test.start, rows), grid, solver)
            bar.evaluated(grid.n_steps * len(rows))
            found.append(self.flow.distance(end, take(self.test.end, rows)))
        return [float(distance) if distance.isfinite() else None for distance in torch.cat(found)]


def seed_work(pairs: tuple[int, int], samples: int, finest: int) -> float:
    """Network evaluations of the teacher, and of the trajectories of GITS."""
    return TEACHER.nfe * (sum(pairs) + samples + 3 * TEACHER.checked) + fine_steps(finest) * pairs[0]


def work(pairs: tuple[int, int], samples: int, steps: int, nfe: int) -> float:
    """Network evaluations of all variants, at most."""
    fits = sum(fit_work(variant.config(steps, 0), *pairs, nfe, more_starts=1) for variant in VARIANTS)
    return fits + (1 + len(VARIANTS)) * nfe * samples


def _array(distances: list[float | None]) -> NDArray[np.float64]:
    return np.array([np.inf if distance is None else distance for distance in distances])
