"""One grid for every number of steps: a learned, continuous, increasing map from progress to λ."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from ld3.grids.grid import Grid
from ld3.learn.gaps import offset_share, scaled_gaps
from ld3.saved_values import count, flag, numbers, table, value_of

SCHEMA = "ld3.warp"
VERSION = 2


@final
class Warp(nn.Module):
    """λ at progress s ∈ [0, 1], from which a grid of any N is read off at s = i/N.

    A monotone cubic through K + 1 knots, evenly spaced in s. Gap k of its λ is that of `init` times
    exp(θ_k + θ'_k f/N), rescaled to fill the interval, with f the fewest steps it is meant for: θ' lets the grid change
    with the number of steps.

    The network is given λ at s + (R(s) - s) f/N in place of s, with R another monotone cubic, R(0) >= 0 and R(1) = 1:
    by how many *steps* the two differ depends on s alone, so that the more steps there are, the nearer the network is
    to the solver. With f <= N this is a mean of two increasing functions, hence increasing.

    A new warp is `init` read off its own cubic: all parameters are zero.

    Args:
        init: K steps that end at a finite λ; its network levels are not used.
        fewest: f.
        shared: one clock (the same parameters for every factor) or one per factor.

    Raises:
        ValueError: if `init` ends at λ = +inf, or `fewest` is not positive.
    """

    def __init__(self, init: Grid, fewest: int, shared: bool = True) -> None:
        super().__init__()
        if fewest < 1:
            raise ValueError(f"fewest must be at least 1 step, got {fewest}")
        self.init, self.fewest, self.shared = init, fewest, shared
        self.factors = tuple(init.solver)
        for factor, knots in init.solver.items():
            if torch.isinf(knots[-1]):
                raise ValueError(f"init must end at a finite λ to be learned, got solver[{factor!r}] = +inf")
        clocks = 1 if shared else len(self.factors)

        def zeros(n: int) -> nn.ParameterList:
            return nn.ParameterList([torch.zeros(n, dtype=torch.float64) for _ in range(clocks)])

        self.gaps, self.drift, self.network_gaps = zeros(init.n_steps), zeros(init.n_steps), zeros(init.n_steps)
        self.first_offset = zeros(1)

    def forward(self, n: int) -> Grid:
        """The grid of `n` steps, differentiable in the parameters.

        Raises:
            ValueError: if there is no step.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1 step, got {n}")
        share = min(1.0, self.fewest / n)
        progress = torch.linspace(0, 1, n + 1, dtype=torch.float64)
        solver: dict[str, Tensor] = {}
        network: dict[str, Tensor] = {}
        for factor, nodes in self.init.solver.items():
            clock = 0 if self.shared else self.factors.index(factor)
            knots = scaled_gaps(nodes, self.gaps[clock] + share * self.drift[clock])
            given = progress[:-1] + share * self._network_lead(clock, progress[:-1])
            # The ends are exact, whatever the cubic rounds; and without a lead the network has the solver's levels.
            solver[factor] = torch.cat([nodes[:1], monotone_cubic(knots, progress[1:-1]), nodes[-1:]])
            apart = monotone_cubic(knots, given) - monotone_cubic(knots, progress[:-1])
            network[factor] = solver[factor][:-1] + apart
        init = self.init
        return Grid(solver, network, f"warp from {init.name}", init.score_scale, init.clean_end)

    def _network_lead(self, clock: int, progress: Tensor) -> Tensor:
        """R(s) - s at `progress`; zero to the last bit where nothing was learned."""
        even = torch.linspace(0, 1, self.init.n_steps + 1, dtype=torch.float64)
        gaps = self.network_gaps[clock]
        knots = scaled_gaps(even, gaps)
        ahead = offset_share(self.first_offset[clock]) * knots[1:2]
        unmoved = monotone_cubic(scaled_gaps(even, torch.zeros_like(gaps)), progress)
        return monotone_cubic(torch.cat([ahead, knots[1:]]), progress) - unmoved

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON that `from_dict` reads back without losing a digit."""
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "fewest": self.fewest,
            "shared": self.shared,
            "init": self.init.to_dict(),
            "parameters": {name: value.tolist() for name, value in self.state_dict().items()},
        }

    @classmethod
    def from_dict(cls, content: object) -> Warp:
        """The warp that `to_dict` gave.

        Raises:
            ValueError: naming the value that is missing, of another type, or does not go with the others.
        """
        content = table("warp", content)
        if (found := (content.get("schema"), content.get("version"))) != (SCHEMA, VERSION):
            raise ValueError(f"warp must be of schema {SCHEMA!r}, version {VERSION}, got {found!r}")
        init = Grid.from_dict(value_of(content, "init", table))
        warp = cls(init, value_of(content, "fewest", count), value_of(content, "shared", flag))
        parameters = {name: numbers(name, x) for name, x in value_of(content, "parameters", table).items()}
        lengths = {name: len(value) for name, value in warp.state_dict().items()}
        if (found_lengths := {name: len(x) for name, x in parameters.items()}) != lengths:
            raise ValueError(f"parameters must be of lengths {lengths}, got {found_lengths}")
        warp.load_state_dict({name: torch.tensor(x, dtype=torch.float64) for name, x in parameters.items()})
        return warp


def monotone_cubic(knots: Tensor, at: Tensor) -> Tensor:
    """The piecewise cubic through increasing `knots` (K+1,), evenly spaced over [0, 1], at positions in [0, 1].

    Once differentiable; increasing, since its slope at a knot is the harmonic mean of those of the pieces beside it
    (Fritsch & Butland 1984) and at an end what makes that piece a parabola.
    """
    pieces = len(knots) - 1
    slopes = knots.diff() * pieces
    if pieces == 1:
        return knots[0] + slopes[0] * at
    inner = 2 * slopes[:-1] * slopes[1:] / (slopes[:-1] + slopes[1:])
    ends = (3 * slopes[[0, -1]] - inner[[0, -1]]) / 2
    tangents = torch.cat([ends[:1], inner, ends[1:]]) / pieces
    k = (at.detach() * pieces).long().clamp(max=pieces - 1)
    u = at * pieces - k
    low, high, rise, fall = knots[k], knots[k + 1], tangents[k], tangents[k + 1]
    return low + u * (rise + u * ((3 * (high - low) - 2 * rise - fall) + u * (2 * (low - high) + rise + fall)))
