"""Learn one warp for many budgets, jointly over several numbers of steps."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Generic

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

from ld3.flow import ProbabilityFlow
from ld3.grid import HAND_MADE
from ld3.learn.loss import soft_loss
from ld3.learn.teacher import Pairs
from ld3.learn.warp import Warp
from ld3.learn.warp_result import WarpFit
from ld3.solvers.integrate import Solver
from ld3.state import State, take


@dataclass(frozen=True)
class WarpConfig:
    """Settings of a fit.

    Attributes:
        start: a hand-made grid to start from, or "best": the one whose warp has the lowest validation loss.
        knots: pieces of the warp.
        shared_clock: one clock for all factors, or one per factor.
        drift: let the warp change with the number of steps.
        network: learn what the network is told as well.
        iterations: of L-BFGS, at most.
        patience: iterations without improvement on the validation pairs before the fit ends.
        limit: what a parameter's absolute value may not exceed; they are logarithms.
        chunk: pairs whose activations are held at once.
        scale: of the bounded distance, in the units of the flow's distance before squaring; None = unbounded.
        checkpoint: recompute activations in the backward pass instead of keeping them.

    Raises:
        ValueError: if a number is not positive.
    """

    start: str = "best"
    knots: int = 12
    shared_clock: bool = True
    drift: bool = True
    network: bool = True
    iterations: int = 100
    patience: int = 10
    limit: float = 3.0
    chunk: int = 64
    scale: float | None = None
    checkpoint: bool = False

    def __post_init__(self) -> None:
        for name in ("knots", "iterations", "patience", "limit", "chunk"):
            if (value := getattr(self, name)) <= 0:
                raise ValueError(f"{name} must be positive, got {value}")


def fit_warp(
    flow: ProbabilityFlow[State],
    train: Pairs[State],
    valid: Pairs[State],
    solver: Solver,
    nfe: Sequence[int],
    config: WarpConfig,
    *,
    on_progress: Callable[[int, float], None] | None = None,
) -> WarpFit:
    """Learn a warp whose grids are good at every budget of `nfe`.

    Minimised is the mean over budgets of the logarithm of the mean loss, so that each budget counts for what it gains
    in proportion, by L-BFGS with exact gradients over all pairs.

    Args:
        flow: whose starts and ends the pairs are.
        train: pairs that the gradients come from.
        valid: pairs that decide which warp is kept; never differentiated.
        nfe: budgets.
        on_progress: called after every iteration with its number and the validation objective.

    Raises:
        ValueError: if `nfe` is empty, the solver cannot spend one of them, `config.start` names no grid, or a start
            reaches no finite sample.
    """
    if not nfe:
        raise ValueError("nfe must hold at least one budget, got none")
    if config.start not in ("best", *HAND_MADE):
        raise ValueError(f"config.start must be 'best' or one of {', '.join(HAND_MADE)}, got {config.start!r}")
    return _WarpFit(flow, train, valid, solver, nfe, config, on_progress).run()


class _WarpFit(Generic[State]):
    """One fit under way."""

    def __init__(
        self,
        flow: ProbabilityFlow[State],
        train: Pairs[State],
        valid: Pairs[State],
        solver: Solver,
        nfe: Sequence[int],
        config: WarpConfig,
        on_progress: Callable[[int, float], None] | None,
    ) -> None:
        self.flow, self.train, self.valid = flow, train, valid
        self.solver, self.config, self.on_progress = solver, config, on_progress
        self.steps = {budget: solver.steps(budget) for budget in nfe}
        self.evaluations = self.gradients = self.failed = self.iteration = self.best_iteration = 0

    def run(self) -> WarpFit:
        began = time.monotonic()
        self.choose_start()
        loss_start = self.best_losses
        moving = self.moving()
        minimize(
            self.objective,
            self.flat().numpy(),
            jac=True,
            method="L-BFGS-B",
            bounds=[limits for parameter, limits in moving for _ in range(parameter.numel())],
            callback=self.judge,
            options={"maxiter": self.config.iterations},
        )
        self.warp.load_state_dict(self.best)
        return WarpFit(
            warp=self.warp.requires_grad_(False),
            solver=self.solver.name,
            nfe=tuple(self.steps),
            start=self.warp.init.name,
            loss_start=loss_start,
            loss_learned=self.best_losses,
            iterations=self.iteration,
            network_evaluations=self.evaluations,
            gradient_evaluations=self.gradients,
            failed=self.failed,
            seconds=time.monotonic() - began,
            config=asdict(self.config),
            flow=self.flow.fingerprint(),
        )

    def choose_start(self) -> None:
        """The warp of the wanted hand-made grid, or of the best."""
        config = self.config
        names = list(HAND_MADE) if config.start == "best" else [config.start]
        tried: list[tuple[float, Warp, dict[int, float]]] = []
        for name in names:
            grid = HAND_MADE[name](self.flow.clock, config.knots)
            warp = Warp(grid, min(self.steps.values()), config.shared_clock)
            losses = self.validate(warp)
            tried.append((_mean_log(losses), warp, losses))
        self.best_objective, self.warp, self.best_losses = min(tried, key=lambda row: row[0])
        if not math.isfinite(self.best_objective):
            raise ValueError(f"config.start must be a grid with which samples stay finite, got {config.start!r}")
        self.best = copy.deepcopy(self.warp.state_dict())

    def moving(self) -> list[tuple[nn.Parameter, tuple[float, float]]]:
        """The parameters that are learned, with their limits: the network may lead at its first level, not lag."""
        limit, warp = self.config.limit, self.warp
        learned = [(parameter, (-limit, limit)) for parameter in warp.gaps.values()]
        if self.config.drift:
            learned += [(parameter, (-limit, limit)) for parameter in warp.drift.values()]
        if self.config.network:
            learned += [(parameter, (-limit, limit)) for parameter in warp.network_gaps.values()]
            learned += [(parameter, (0.0, limit)) for parameter in warp.lead.values()]
        return learned

    def flat(self) -> Tensor:
        return torch.nn.utils.parameters_to_vector([parameter for parameter, _ in self.moving()]).detach()

    def take_up(self, x: NDArray[np.float64]) -> None:
        parameters = [parameter for parameter, _ in self.moving()]
        torch.nn.utils.vector_to_parameters(torch.from_numpy(x.copy()), parameters)

    def objective(self, x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Mean over budgets of log(mean loss) on the training pairs, and its gradient."""
        self.take_up(x)
        value, gradient = 0.0, torch.zeros(len(x), dtype=torch.float64)
        for budget, n in self.steps.items():
            loss, slope = self.differentiate(budget, n)
            value += math.log(loss) / len(self.steps)
            gradient += slope / loss / len(self.steps)
        return value, gradient.numpy()

    def differentiate(self, budget: int, n: int) -> tuple[float, Tensor]:
        """Mean loss of the training pairs at one budget, and its gradient; samples not finite are left out."""
        parameters = [parameter for parameter, _ in self.moving()]
        total, kept = 0.0, 0
        gradient = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64)
        for rows in torch.arange(len(self.train)).split(self.config.chunk):
            while len(rows):
                loss = self.losses(self.train, rows, n, self.warp)
                self.evaluations += budget * len(rows)
                finite = loss.detach().isfinite().to(rows.device)
                if finite.all():
                    slopes = torch.autograd.grad(loss.sum(), parameters)
                    gradient += torch.nn.utils.parameters_to_vector(slopes).cpu()
                    self.gradients += budget * len(rows)
                    total, kept = total + float(loss.detach().sum()), kept + len(rows)
                    break
                # One such sample would spoil everybody's gradient.
                self.failed += int((~finite).sum())
                rows = rows[finite]
        if not kept:
            raise ValueError(f"config.limit must keep samples finite, got {self.config.limit}")
        return total / kept, gradient / kept

    @torch.no_grad()
    def validate(self, warp: Warp) -> dict[int, float]:
        """Budget -> plain mean loss on the validation pairs."""
        found = {}
        for budget, n in self.steps.items():
            chunks = torch.arange(len(self.valid)).split(self.config.chunk)
            loss = torch.cat([self.losses(self.valid, rows, n, warp) for rows in chunks])
            self.evaluations += budget * len(self.valid)
            miss = math.inf if self.config.scale is None else 1.0  # the bounded distance of a sample at infinity
            found[budget] = float(torch.where(loss.isfinite(), loss, miss).mean())
        return found

    def losses(self, pairs: Pairs[State], rows: Tensor, n: int, warp: Warp) -> Tensor:
        config = self.config
        start, end = take(pairs.start, rows), take(pairs.end, rows)
        return soft_loss(
            self.flow, start, None, end, warp(n), self.solver, scale=config.scale, checkpoint=config.checkpoint
        )

    def judge(self, x: NDArray[np.float64]) -> None:
        """Validate after an iteration; keep the warp if it wins, end the fit if nothing has won for a while."""
        self.take_up(x)
        self.iteration += 1
        losses = self.validate(self.warp)
        objective = _mean_log(losses)
        if objective < self.best_objective:
            self.best_objective, self.best_losses = objective, losses
            self.best, self.best_iteration = copy.deepcopy(self.warp.state_dict()), self.iteration
        if self.on_progress is not None:
            self.on_progress(self.iteration, objective)
        if self.iteration - self.best_iteration >= self.config.patience:
            raise StopIteration


def _mean_log(losses: Mapping[int, float]) -> float:
    return sum(math.log(loss) for loss in losses.values()) / len(losses)
