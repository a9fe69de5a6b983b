"""A grid with parameters: strictly increasing whatever their values."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ld3.grids.grid import Grid
from ld3.learn.gaps import lead_share, scaled_gaps
from ld3.state import Levels


class LearnedGrid(nn.Module):
    """Levels at cumulative softmax gaps, those of the solver and those that the network is told.

    The solver's ends stay where they are. Gap k of a factor is its initial gap times exp(θ_k), rescaled to fill the
    interval; for the network's levels it is exp(θ_k + φ_k), so that they follow the solver's until φ moves them, and
    can never cross each other. The first network level may be ahead of the prior's own, by the share 1 - exp(-ψ) of
    the way to the second: where the prior is flat (rotations, angles) the network has nothing to say at its largest
    noise, and that evaluation would be lost. A new one is `init`, hand-made or learned: θ and φ are zero, and so is ψ
    unless `init` leads.

    Args:
        init: where to start; finite, its network levels between the solver's ends.
        shared: one clock (the same θ, φ, ψ for every factor) or one per factor.

    Raises:
        ValueError: if `init` ends at λ = +inf, a network level lies beyond the solver's ends, or one clock is asked for
            and its factors lead differently.
    """

    def __init__(self, init: Grid, shared: bool = True) -> None:
        super().__init__()
        self.factors = tuple(init.validated().solver)
        self.shared = shared
        self.init_name = init.name
        for factor in self.factors:
            nodes, told = init.solver[factor], init.network[factor]
            if torch.isinf(nodes[-1]):
                raise ValueError(f"init must end at a finite λ to be learned, got solver[{factor!r}] = +inf")
            if told[0] < nodes[0] or told[-1] >= nodes[-1]:
                raise ValueError(
                    f"init must tell the network levels from {nodes[0]:.4g} to below {nodes[-1]:.4g} to be learned, "
                    f"got network[{factor!r}] from {told[0]:.4g} to {told[-1]:.4g}"
                )
            self.register_buffer(f"nodes_{factor}", nodes.clone())
            self.register_buffer(f"network_nodes_{factor}", torch.cat([nodes[:1], told[1:], nodes[-1:]]))
        clocks = ("shared",) if shared else self.factors

        def zeros(n: int) -> nn.ParameterDict:
            return nn.ParameterDict({clock: nn.Parameter(torch.zeros(n, dtype=torch.float64)) for clock in clocks})

        self.gaps = zeros(init.n_steps)
        self.network_gaps = zeros(init.n_steps)
        self.lead = zeros(1)
        leads = {factor: self._lead(init.network[factor][0], factor) for factor in self.factors}
        for factor, lead in leads.items():
            if not torch.isclose(lead, leads[self.factors[0]]) and shared:
                raise ValueError(f"init must lead equally in all factors for one clock, got ψ = {leads}")
            self.lead[self._clock(factor)].data.fill_(lead)

    def nodes(self, factor: str) -> Tensor:
        """The solver's λ, shape (N+1,)."""
        return scaled_gaps(getattr(self, f"nodes_{factor}"), self.gaps[self._clock(factor)])

    def network_levels(self, factor: str) -> Tensor:
        """λ told to the network, shape (N,)."""
        clock = self._clock(factor)
        levels = scaled_gaps(getattr(self, f"network_nodes_{factor}"), self.gaps[clock] + self.network_gaps[clock])
        ahead = lead_share(self.lead[clock]) * (levels[1] - levels[0])
        return torch.cat([levels[:1] + ahead, levels[1:-1]])

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

    def _lead(self, first: Tensor, factor: str) -> Tensor:
        """ψ of a grid whose first network level is `first`."""
        base: Tensor = getattr(self, f"network_nodes_{factor}")
        return -torch.log1p(-(first - base[0]) / (base[1] - base[0]))

    def _clock(self, factor: str) -> str:
        return "shared" if self.shared else factor
