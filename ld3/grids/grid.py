"""Where a solver stops on its way from noise to data: the discretisation, hand-made or learned."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Final, final

import torch
from torch import Tensor

from ld3.clock import Clock
from ld3.saved_values import number, positive, sequence, table, text, value_of
from ld3.state import Levels

SCHEMA: Final = "ld3.grid"
VERSION: Final = 2

_EQUAL = 1e-12  # differences of λ that are rounding, absolute or relative
_SAME_END = 1e-6  # of λ, where a grid that was written to a file is compared with a clock


@final
@dataclass(frozen=True, eq=False)
class Grid:
    """N steps between N+1 nodes, factor by factor. Two are equal (==) where all numbers and names are.

    Attributes:
        solver: factor -> λ at the nodes, shape (N+1,), strictly increasing, float64. The last one may be +inf: a full
            step onto the clean prediction.
        network: factor -> λ of the noise level that the network is given at node k < N, shape (N,), strictly
            increasing, float64. LD3 (arXiv 2405.15506) learns it apart from `solver`; in hand-made grids it is
            `solver[:-1]`.
        name: where the grid comes from.
        score_scale: c of the clock that it was made for; at another it is refused, unless :meth:`at` says so.
        clean_end: the last step goes on past the last node, onto the clean prediction at λ = +inf, as samplers do that
            end in no noise. The node still bounds the levels of the others, from which it can be learned like any.

    Raises:
        ValueError: naming the factor, the index and the value that break these rules.
    """

    solver: Levels
    network: Levels
    name: str = "custom"
    score_scale: float = 1.0
    clean_end: bool = False

    def __post_init__(self) -> None:
        if not self.solver or self.solver.keys() != self.network.keys():
            raise ValueError(
                f"solver and network must have the same factors, at least one; "
                f"got {sorted(self.solver)} and {sorted(self.network)}"
            )
        if not (self.score_scale > 0 and math.isfinite(self.score_scale)):
            raise ValueError(f"score_scale must be positive and finite, got {self.score_scale}")
        n_steps = self.n_steps
        for factor in self.solver:
            _check(f"solver[{factor!r}]", self.solver[factor], n_steps + 1, infinite_end=True)
            _check(f"network[{factor!r}]", self.network[factor], n_steps, infinite_end=False)

    @classmethod
    def coupled(cls, solver: Levels, name: str = "custom", score_scale: float = 1.0, clean_end: bool = False) -> Grid:
        """The grid whose network is given the solver's own levels."""
        return cls(solver, {factor: levels[:-1] for factor, levels in solver.items()}, name, score_scale, clean_end)

    @property
    def n_steps(self) -> int:
        """N."""
        return len(next(iter(self.solver.values()))) - 1

    @property
    def stops(self) -> Levels:
        """Factor -> λ where the steps lead: `solver`, but +inf at the end of a grid that ends clean."""
        if not self.clean_end:
            return self.solver
        return {f: torch.cat([levels[:-1], levels.new_full((1,), math.inf)]) for f, levels in self.solver.items()}

    def at(self, score_scale: float) -> Grid:
        """The same levels for flows of another score scale, for which they were neither made nor learned."""
        return replace(self, score_scale=score_scale)

    def mismatch(self, clock: Clock, *, end: bool = True) -> str | None:
        """Why the grid is not one over the whole range of `clock`, or with `end` False from its prior to anywhere, in
        words; None if it is.
        """
        if self.solver.keys() != clock.schedules.keys():
            return f"it has the factors {sorted(self.solver)}, the flow {sorted(clock.schedules)}"
        if self.score_scale != clock.score_scale:
            return f"it is for score scale {self.score_scale:g}, the flow has {clock.score_scale:g}"
        if end and self.clean_end != clock.clean_end:
            here, there = ("no noise" if clean else "the last level" for clean in (self.clean_end, clock.clean_end))
            return f"it ends at {here}, the flow at {there}"
        for factor, ends in clock.bounds.items():
            own = self.solver[factor][[0, -1]].tolist()
            if abs(own[0] - ends[0]) > _SAME_END or (end and abs(own[1] - ends[1]) > _SAME_END):
                return (
                    f"it runs from {own[0]:.6g} to {own[1]:.6g} in {factor!r}, the flow from {ends[0]:.6g} to "
                    f"{ends[1]:.6g}"
                )
        return None

    def equals(self, other: Grid) -> bool:
        """Whether two grids take the same steps to rounding, whatever their names."""
        mine, its = ((g.solver.keys(), g.score_scale, g.clean_end) for g in (self, other))
        if mine != its:
            return False
        return all(
            a.shape == b.shape and torch.allclose(a, b, rtol=_EQUAL, atol=_EQUAL) for a, b in self._pairs_with(other)
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        mine, its = ((g.name, g.score_scale, g.clean_end, g.solver.keys()) for g in (self, other))
        return mine == its and all(torch.equal(a, b) for a, b in self._pairs_with(other))

    def __hash__(self) -> int:
        return hash((self.name, self.score_scale, self.n_steps, frozenset(self.solver)))

    def describe(self) -> str:
        """A table with a row per node, and per factor the λ of the solver and, where it differs, of the network."""
        columns = {"node": [str(k) for k in range(self.n_steps + 1)]}
        for factor, solver in self.solver.items():
            network = self.network[factor]
            columns[factor] = [f"{lam:.4f}" for lam in solver.tolist()]
            if not torch.equal(network, solver[:-1]):
                columns[f"{factor} (network)"] = [*(f"{lam:.4f}" for lam in network.tolist()), "-"]
        widths = [max(map(len, (title, *cells))) for title, cells in columns.items()]
        rows = [columns.keys(), *zip(*columns.values(), strict=True)]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        scale = "" if self.score_scale == 1.0 else f", for score scale {self.score_scale:g}"
        if self.clean_end:
            scale += ", the last one to no noise"
        return "\n".join([f"{self.name}: {self.n_steps} steps{scale}, half log-SNR at the nodes", *lines])

    def __str__(self) -> str:
        return self.describe()

    def to_dict(self) -> dict[str, object]:
        """Plain data for JSON: schema, version, name, score scale, whether it ends clean where it does, and the λ of
        solver and network; loses no digit."""
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "name": self.name,
            "score_scale": self.score_scale,
            "solver": {factor: _to_list(levels) for factor, levels in self.solver.items()},
            "network": {factor: _to_list(levels) for factor, levels in self.network.items()},
            **({"clean_end": True} if self.clean_end else {}),
        }

    @classmethod
    def from_dict(cls, content: object) -> Grid:
        """The grid that `to_dict` gave.

        Raises:
            ValueError: naming the value that is missing, of another type, or breaks a rule of grids.
        """
        content = table("grid", content)
        if (found := (content.get("schema"), content.get("version"))) != (SCHEMA, VERSION):
            raise ValueError(f"grid must be of schema {SCHEMA!r}, version {VERSION}, got {found!r}")
        solver, network = (
            {factor: _from_list(f"{part}[{factor!r}]", row) for factor, row in value_of(content, part, table).items()}
            for part in ("solver", "network")
        )
        clean = content.get("clean_end", False)
        if not isinstance(clean, bool):
            raise ValueError(f"clean_end must be true or false, got {clean!r}")
        return cls(solver, network, value_of(content, "name", text), value_of(content, "score_scale", positive), clean)

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, content: str) -> Grid:
        """The grid that `to_json` wrote.

        Raises:
            ValueError: if `content` is no JSON, or whatever `from_dict` raises.
        """
        try:
            return cls.from_dict(json.loads(content))
        except json.JSONDecodeError as error:
            raise ValueError(f"content must be JSON as written by Grid.to_json; {error}") from error

    def _pairs_with(self, other: Grid) -> list[tuple[Tensor, Tensor]]:
        """The levels of both, factor by factor."""
        parts = ((self.solver, other.solver), (self.network, other.network))
        return [(own[factor], its[factor]) for own, its in parts for factor in own]


def _check(name: str, levels: Tensor, length: int, *, infinite_end: bool) -> None:
    if levels.dtype != torch.float64:
        raise ValueError(f"{name} must be float64, got {levels.dtype}")
    if levels.shape != (length,) or length < 1:
        raise ValueError(f"{name} must have shape ({max(length, 1)},), got {tuple(levels.shape)}")
    values = levels.tolist()
    for k, value in enumerate(values):
        if not math.isfinite(value) and not (infinite_end and k == length - 1 and value == math.inf):
            raise ValueError(
                f"{name} must be finite (the last node of the solver may be +inf), got {value} at index {k}"
            )
        if k > 0 and value <= values[k - 1]:
            raise ValueError(f"{name} must increase strictly, got {value} after {values[k - 1]} at index {k}")


def _to_list(levels: Tensor) -> list[float | str]:
    return [lam if math.isfinite(lam) else "inf" for lam in levels.tolist()]


def _from_list(name: str, content: object) -> Tensor:
    levels = [
        math.inf if lam == "inf" else number(f"{name}[{k}]", lam) for k, lam in enumerate(sequence(name, content))
    ]
    return torch.tensor(levels, dtype=torch.float64)
