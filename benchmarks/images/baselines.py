"""Grids that nobody learned, as baselines: a recipe for any number of steps, and what it took to get it.

Most need nothing but the clock (`ld3.grids.HAND_MADE`). Two need something else: GITS looks at trajectories of the
model, Align Your Steps is a table that was published for some models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks.common.grids import fine_steps
from benchmarks.common.store import Store
from benchmarks.images.methods import make_starts
from benchmarks.images.options import Choices
from domains.images.conditioned import ConditionedFlow
from domains.progress import WorkProgress
from domains.seeds import seed_of
from ld3.fingerprint import fingerprint
from ld3.grids import HAND_MADE, TRAJECTORY_SOLVER, Grid, Jumps, ays, edm, jump_costs
from ld3.learn import parts
from ld3.solvers import get_solver
from ld3.state import cat

GITS: Final = "gits"
AYS: Final = "ays"

_TRAJECTORIES: Final = 256  # as in the paper
_CHUNK: Final = 64  # all steps of so many trajectories are in memory at once


@dataclass(frozen=True, eq=False)
class Baseline:
    """A grid for any number of steps.

    Attributes:
        name: of its rows.
        make: number of steps -> grid.
        network_evaluations: that it took, once for all numbers of steps.
    """

    name: str
    make: Callable[[int], Grid]
    network_evaluations: int = 0


def trajectories(choices: Choices) -> int:
    """Of GITS: as many as a fit has pairs to learn from, at most as many as in the paper."""
    return min(_TRAJECTORIES, parts(choices.options.fit_pairs)[0])


def gits_work(choices: Choices) -> int:
    """Network evaluations of GITS."""
    return trajectories(choices) * _fine_steps(choices)


def baselines(
    flow: ConditionedFlow, choices: Choices, store: Store, bar: WorkProgress
) -> tuple[list[Baseline], list[str]]:
    """All that there are for this model, and remarks on those that should be there and are not."""
    found = [Baseline(name, partial(make, flow.clock)) for name, make in HAND_MADE.items()]
    remarks = []
    try:
        found.append(_gits(flow, choices, store, bar))
    except ValueError as error:
        remarks.append(f"there are no rows of gits: {error}")
    if flow.published_table is not None:
        found.append(Baseline(AYS, partial(ays, flow.clock, model=flow.published_table)))
    return found, remarks


def _gits(flow: ConditionedFlow, choices: Choices, store: Store, bar: WorkProgress) -> Baseline:
    """From starts of its own, none of which is evaluated or learned from.

    Raises:
        ValueError: if a trajectory leaves the finite numbers.
    """
    options = choices.options
    fine = edm(flow.clock, _fine_steps(choices))
    parts = make_starts(flow, trajectories(choices), options.batch, seed_of(options.seed, GITS))
    start = cat(parts)
    key = f"gits-{fingerprint(flow.fingerprint(), *start, fine.solver, TRAJECTORY_SOLVER)}"
    kept = store.tensors(key)
    if kept is None:
        count = bar.counter()
        chunk = min(_CHUNK, options.batch)
        kept = {"costs": jump_costs(flow, start, fine, get_solver(TRAJECTORY_SOLVER), chunk, on_progress=count)}
        store.put_tensors(key, kept)
    return Baseline(GITS, Jumps(fine, kept["costs"]).grid, gits_work(choices))


def _fine_steps(choices: Choices) -> int:
    return fine_steps(max(map(choices.solver.steps, choices.options.nfe)))
