"""A grid with parameters: strictly increasing whatever their values."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ld3.grid import Grid
from ld3.state import Levels


class LearnedGrid(nn.Module):
    """Levels at cumulative softmax gaps, those of the solver and those that the network is told.

    The solver's ends stay where they are. Gap k of a factor is its initial gap times exp(θ_k), rescaled to fill the
    interval; for the network's levels it is exp(θ_k + φ_k), so that they follow the solver's until φ moves them, and
    can never cross each other. The first network level may be ahead of the prior's own, by the share 1 - exp(-ψ) of
    the way to the second: where the prior is flat (rotations, angles) the network has nothing to say at its largest
    noise, and that evaluation would be lost. With all parameters at zero the grid is `init`, whatever grid that was.

    Args:
        init: where to start; finite, with network levels equal to the solver's.
        shared: one clock (the same θ, φ, ψ for every factor) or one per factor.

    Raises:
        ValueError: if `init` ends at λ = +inf or its network levels are its own.
    """

    def __init__(self, init: Grid, shared: bool = True) -> None:
        super().__init__()
        self.factors = tuple(init.validated().solver)
        self.shared = shared
        self.init_name = init.name
        for factor in self.factors:
            nodes = init.solver[factor]
            if torch.isinf(nodes[-1]):
                raise ValueError(f"init must end at a finite λ to be learned, got solver[{factor!r}] = +inf")
            if not torch.equal(nodes[:-1], init.network[factor]):
                raise ValueError(f"init must tell the network the solver's levels, got other levels for {factor!r}")
            self.register_buffer(f"nodes_{factor}", nodes.clone())
        clocks = ("shared",) if shared else self.factors

        def zeros(n: int) -> nn.ParameterDict:
            return nn.ParameterDict({clock: nn.Parameter(torch.zeros(n, dtype=torch.float64)) for clock in clocks})

        self.gaps = zeros(init.n_steps)
        self.network_gaps = zeros(init.n_steps)
        self.lead = zeros(1)

    def nodes(self, factor: str) -> Tensor:
        """The solver's λ, shape (N+1,)."""
        return self._levels(factor, self.gaps[self._clock(factor)])

    def network_levels(self, factor: str) -> Tensor:
        """λ told to the network, shape (N,)."""
        clock = self._clock(factor)
        levels = self._levels(factor, self.gaps[clock] + self.network_gaps[clock])
        ahead = -torch.expm1(-self.lead[clock].clamp(min=0.0))
        return torch.cat([levels[:1] + ahead * (levels[1] - levels[0]), levels[1:-1]])

    def forward(self) -> Grid:
        """The grid, differentiable in the parameters."""
        solver: Levels = {f: self.nodes(f) for f in self.factors}
        network: Levels = {f: self.network_levels(f) for f in self.factors}
        return Grid(solver, network, f"learned from {self.init_name}")

    @torch.no_grad()
    def project(self) -> None:
        """Bring ψ back to where it has a gradient, after a step that made it negative."""
        for lead in self.lead.values():
            lead.clamp_(min=0.0)

    def network_parameters(self) -> list[nn.Parameter]:
        """φ and ψ: what tells the network other levels than the solver's."""
        return [*self.network_gaps.values(), *self.lead.values()]

    def _levels(self, factor: str, theta: Tensor) -> Tensor:
        init: Tensor = getattr(self, f"nodes_{factor}")
        share = torch.softmax(init.diff().log() + theta, 0)
        inner = init[0] + (init[-1] - init[0]) * share.cumsum(0)[:-1]
        return torch.cat([init[:1], inner, init[-1:]])

    def _clock(self, factor: str) -> str:
        return "shared" if self.shared else factor
