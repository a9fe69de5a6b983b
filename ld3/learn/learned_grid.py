"""A grid with parameters: strictly increasing whatever their values."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ld3.grid import Grid
from ld3.state import Levels


class LearnedGrid(nn.Module):
    """Nodes at cumulative softmax gaps, network levels between the midpoints around each node.

    The ends stay where they are. Gap k of a factor is its initial gap times exp(θ_k), rescaled to fill the interval;
    a network level stays between the midpoints to the neighbouring nodes, so that levels can never cross, and the first
    one is the prior's own. With all parameters at zero the grid is `init`, whatever grid that was.

    Args:
        init: where to start; finite, with network levels equal to the solver's.
        shared: one clock (the same θ and offsets for every factor) or one per factor.

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
        n = init.n_steps
        zeros = {clock: torch.zeros(n, dtype=torch.float64) for clock in clocks}
        self.gaps = nn.ParameterDict({c: nn.Parameter(z) for c, z in zeros.items()})
        self.offsets = nn.ParameterDict({c: nn.Parameter(z[1:].clone()) for c, z in zeros.items()})

    def nodes(self, factor: str) -> Tensor:
        """λ at the nodes, shape (N+1,)."""
        init: Tensor = getattr(self, f"nodes_{factor}")
        share = torch.log_softmax(init.diff().log() + self.gaps[self._clock(factor)], 0).exp()
        inner = init[0] + (init[-1] - init[0]) * share.cumsum(0)[:-1]
        return torch.cat([init[:1], inner, init[-1:]])

    def network_levels(self, factor: str) -> Tensor:
        """λ told to the network, shape (N,)."""
        nodes = self.nodes(factor)
        middle = (nodes[1:] + nodes[:-1]) / 2
        low, width = middle[:-1], middle.diff()
        place = torch.logit((nodes[1:-1] - low) / width)
        inner = low + width * torch.sigmoid(place + self.offsets[self._clock(factor)])
        return torch.cat([nodes[:1], inner])

    def forward(self) -> Grid:
        """The grid, differentiable in the parameters."""
        solver: Levels = {f: self.nodes(f) for f in self.factors}
        network: Levels = {f: self.network_levels(f) for f in self.factors}
        return Grid(solver, network, f"learned from {self.init_name}")

    def _clock(self, factor: str) -> str:
        return "shared" if self.shared else factor
