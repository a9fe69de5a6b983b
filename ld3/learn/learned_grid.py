"""A grid with parameters: strictly increasing whatever their values."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ld3.grids.grid import Grid
from ld3.learn.gaps import offset_share, scaled_gaps
from ld3.state import Levels


class LearnedGrid(nn.Module):
    """Levels at cumulative softmax gaps, those of the solver and those that the network is given.

    The solver's ends stay where they are. Gap k of a factor is its initial gap times exp(θ_k), rescaled to fill the
    interval; for the network's levels it is exp(θ_k + φ_k), so that they follow the solver's until φ moves them, and
    can never cross each other. The first network level may lie beyond the prior's own, by the share 1 - exp(-ψ) of
    the way to the second: where the prior is flat (rotations, angles) the network has nothing to say at its largest
    noise, and that evaluation would be lost. A new one is `init`, hand-made or learned: θ and φ are zero, and so is ψ
    unless the first network level of `init` lies beyond.

    Args:
        init: the grid to begin with; finite, its network levels between the solver's ends.
        shared: one clock (the same θ, φ, ψ for every factor) or one per factor.

    Raises:
        ValueError: if `init` ends at λ = +inf, a network level lies beyond the solver's ends, or one clock is asked for
            and ψ differs between its factors.
    """

    def __init__(self, init: Grid, shared: bool = True) -> None:
        super().__init__()
        self.init, self.shared = init, shared
        self.factors = tuple(init.solver)
        for factor, nodes in init.solver.items():
            levels = init.network[factor]
            if torch.isinf(nodes[-1]):
                raise ValueError(f"init must end at a finite λ to be learned, got solver[{factor!r}] = +inf")
            if levels[0] < nodes[0] or levels[-1] >= nodes[-1]:
                raise ValueError(
                    f"init must have network levels from {nodes[0]:.4g} to below {nodes[-1]:.4g} to be learned, "
                    f"got network[{factor!r}] from {levels[0]:.4g} to {levels[-1]:.4g}"
                )
        clocks = 1 if shared else len(self.factors)

        def zeros(n: int) -> nn.ParameterList:
            return nn.ParameterList([torch.zeros(n, dtype=torch.float64) for _ in range(clocks)])

        self.gaps, self.network_gaps, self.first_offset = zeros(init.n_steps), zeros(init.n_steps), zeros(1)
        offsets = {factor: self._first_offset(factor) for factor in self.factors}
        for factor, offset in offsets.items():
            if shared and not torch.isclose(offset, offsets[self.factors[0]]):
                raise ValueError(
                    f"init must have its first network level equally far from the solver's in all factors to be "
                    f"learned with one clock, got ψ = { {f: float(o) for f, o in offsets.items()} }; learn one clock "
                    "per factor"
                )
            self.first_offset[self._clock(factor)].data.fill_(offset)

    def nodes(self, factor: str) -> Tensor:
        """The solver's λ, shape (N+1,)."""
        return scaled_gaps(self.init.solver[factor], self.gaps[self._clock(factor)])

    def network_levels(self, factor: str) -> Tensor:
        """λ that the network is given, shape (N,)."""
        clock = self._clock(factor)
        levels = scaled_gaps(self._network_nodes(factor), self.gaps[clock] + self.network_gaps[clock])
        ahead = offset_share(self.first_offset[clock]) * (levels[1] - levels[0])
        return torch.cat([levels[:1] + ahead, levels[1:-1]])

    def forward(self) -> Grid:
        """The grid, differentiable in the parameters."""
        solver: Levels = {f: self.nodes(f) for f in self.factors}
        network: Levels = {f: self.network_levels(f) for f in self.factors}
        init = self.init
        return Grid(solver, network, f"learned from {init.name}", init.score_scale, init.clean_end)

    @torch.no_grad()
    def project(self) -> None:
        """Bring ψ back to where it has a gradient, after a step that made it negative."""
        for offset in self.first_offset:
            offset.clamp_(min=0.0)

    def network_parameters(self) -> list[nn.Parameter]:
        """φ and ψ: what gives the network other levels than the solver's."""
        return [*self.network_gaps, *self.first_offset]

    def _network_nodes(self, factor: str) -> Tensor:
        """The initial network levels between the solver's ends, without ψ, shape (N+1,)."""
        nodes = self.init.solver[factor]
        return torch.cat([nodes[:1], self.init.network[factor][1:], nodes[-1:]])

    def _first_offset(self, factor: str) -> Tensor:
        """ψ of the initial grid."""
        base = self._network_nodes(factor)
        return -torch.log1p(-(self.init.network[factor][0] - base[0]) / (base[1] - base[0]))

    def _clock(self, factor: str) -> int:
        return 0 if self.shared else self.factors.index(factor)
