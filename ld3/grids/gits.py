"""A grid from the shape of a few trajectories (Chen et al., arXiv 2405.11326: "GITS").

Trajectories are solved on a fine grid once. Among all ways of reaching the end in n jumps from fine node to fine node,
dynamic programming finds the one whose jumps, each a DDIM step from a point of the trajectory itself, miss it by the
least.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import torch
from torch import Tensor

from ld3.flow import ProbabilityFlow
from ld3.grids.grid import Grid
from ld3.grids.hand_made import edm
from ld3.solvers.registry import get_solver
from ld3.solvers.solve import solve
from ld3.solvers.solver import Solver
from ld3.state import State, Tangent, size, take

TRAJECTORY_SOLVER: Final = "ipndm_3"
"""Solver of the trajectories, unless another one is named."""

GROWTH: Final = 1.15
"""What a jump weighs relative to the one before; the paper takes 1.1 to 1.2."""


class Jumps(NamedTuple):
    """What jumps between the nodes of a fine grid cost, once measured: grids of any number of steps come from it.

    Attributes:
        fine: the grid of the trajectories, M steps.
        costs: of `jump_costs` on it, (M+1, M+1).
    """

    fine: Grid
    costs: Tensor

    def grid(self, n: int, growth: float = GROWTH) -> Grid:
        """The cheapest `n` steps from node to node.

        Raises:
            ValueError: if there are more steps than the trajectories have.
        """
        return thinned(self.fine, cheapest_path(self.costs, n, growth))


@torch.no_grad()
def gits(
    flow: ProbabilityFlow[State],
    start: State,
    n: int,
    *,
    fine_steps: int = 60,
    solver: str = TRAJECTORY_SOLVER,
    growth: float = GROWTH,
    chunk: int = 64,
) -> Grid:
    """`n` steps from node to node of the `edm` grid of `fine_steps`; costs `fine_steps` evaluations per sample.

    For several n at once, measure `Jumps` once.

    Args:
        flow: the model.
        start: samples of its prior; the paper takes 256.
        n: number of steps.
        fine_steps: of the trajectories.
        solver: of the trajectories; of one evaluation a step.
        growth: what a jump weighs relative to the one before.
        chunk: samples solved at once.

    Raises:
        ValueError: if there are more steps than the trajectories have, or the solver evaluates more than once a step.
    """
    fine = edm(flow.clock, fine_steps)
    return Jumps(fine, jump_costs(flow, start, fine, get_solver(solver), chunk)).grid(n, growth)


@torch.no_grad()
def jump_costs(
    flow: ProbabilityFlow[State],
    start: State,
    fine: Grid,
    solver: Solver,
    chunk: int = 64,
    on_progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """By how much a jump from node i misses node j > i on average, shape (M+1, M+1), float64; elsewhere +inf.

    The jump is u = (1 - e^(c(λ_i - λ_j))) d_i, and the way of the trajectory is the sum of its moves: exact on R^n and
    on tori, to second order on SO(3). Their difference counts in standard deviations of each factor's prior. The
    paper's code also offers distances from the chord of the trajectory, which have no meaning on curved spaces.

    Args:
        flow: the model.
        start: samples of its prior.
        fine: M steps of the trajectories.
        solver: of the trajectories.
        chunk: samples solved at once.
        on_progress: called after every chunk with the network evaluations so far, and in all.

    Raises:
        ValueError: if the solver evaluates more than once a step, or a trajectory leaves the finite numbers.
    """
    if solver.corrector is not None:
        raise ValueError(f"solver must evaluate once a step and correct nothing, got {solver.name}")
    nodes, c = fine.n_steps + 1, fine.score_scale
    total = torch.zeros(nodes, nodes, dtype=torch.float64)
    solved = 0
    for rows in torch.arange(size(start)).split(chunk):
        displacements, moves = _trajectory(flow, take(start, rows), fine, solver)
        for i in range(nodes - 1):
            way = dict(moves[i])
            for j in range(i + 1, nodes):
                jump = {f: -torch.expm1(c * (lam[i] - lam[j])) * displacements[i][f] for f, lam in fine.stops.items()}
                total[i, j] += _length(flow, {f: jump[f] - way[f] for f in way}).sum()
                if j < nodes - 1:
                    way = {f: way[f] + moves[j][f] for f in way}
        solved += len(rows)
        if on_progress is not None:
            on_progress(fine.n_steps * solved, fine.n_steps * size(start))
    if not total.isfinite().all():
        raise ValueError("start must lead to finite trajectories; leave out samples that break, or take finer steps")
    reachable = torch.ones_like(total).triu(1).bool()
    return torch.where(reachable, total / size(start), torch.inf)


def cheapest_path(costs: Tensor, n: int, growth: float = GROWTH) -> list[int]:
    """Nodes 0 = k_0 < ... < k_n = M with the least Σ_s growth^s costs[k_s, k_{s+1}].

    Raises:
        ValueError: if there is no path of `n` steps.
    """
    last = len(costs) - 1
    if not 1 <= n <= last:
        raise ValueError(f"n must be from 1 to the {last} steps of the fine grid, got {n}")
    onward = torch.full((last + 1,), torch.inf, dtype=costs.dtype)
    onward[last] = 0.0
    choices = []
    for _ in range(n):  # onward[i]: what it takes from node i to the end in one jump more
        onward, choice = (costs + growth * onward).min(dim=1)
        choices.append(choice)
    path = [0]
    for choice in reversed(choices):
        path.append(int(choice[path[-1]]))
    return path


def thinned(fine: Grid, path: Sequence[int]) -> Grid:
    """The grid through some nodes of another, the first and the last among them."""
    levels = {factor: lam[list(path)] for factor, lam in fine.solver.items()}
    return Grid.coupled(levels, "gits", fine.score_scale, fine.clean_end)


def _length(flow: ProbabilityFlow[State], v: Tangent) -> Tensor:
    """Length of all factors together, in standard deviations of their priors, (B,) float64."""
    parts = [length.double().cpu() / flow.prior_scale[factor] for factor, length in flow.norm(v).items()]
    return torch.stack(parts).square().sum(0).sqrt()


def _trajectory(
    flow: ProbabilityFlow[State], start: State, fine: Grid, solver: Solver
) -> tuple[list[Tangent], list[Tangent]]:
    """What the network answers at the nodes, and the moves from node to node."""
    displacements: list[Tangent] = []
    moves: list[Tangent] = []

    def retract(x: State, v: Tangent) -> State:
        moves.append(v)
        return flow.retract(x, v)

    steps = solve(start, fine, solver, retract)
    question = next(steps)
    while len(displacements) < fine.n_steps - 1:
        displacements.append(flow.displacement(*question))
        question = steps.send(displacements[-1])
    displacements.append(flow.displacement(*question))
    with suppress(StopIteration):
        steps.send(displacements[-1])
    return displacements, moves
