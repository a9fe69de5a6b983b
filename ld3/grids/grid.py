"""Where a solver stops on its way from noise to data: the discretisation, hand-made or learned."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ld3.clock import Clock
from ld3.grids.dmn import least_error_levels
from ld3.state import Levels

SCHEMA = "ld3.grids.grid"
VERSION = 1

_EQUAL = 1e-12  # differences of λ that are rounding, absolute or relative


class Grid(NamedTuple):
    """N steps between N+1 nodes, factor by factor.

    Attributes:
        solver: factor -> λ at the nodes, shape (N+1,), strictly increasing, float64. The last one may be +inf: a full
            step onto the clean prediction.
        network: factor -> λ that the network is told at node k < N, shape (N,), strictly increasing, float64. LD3
            (arXiv 2405.15506) learns it apart from `solver`; in hand-made grids it is `solver[:-1]`.
        name: where the grid comes from.
    """

    solver: Levels
    network: Levels
    name: str = "custom"

    @property
    def n_steps(self) -> int:
        """N."""
        return len(next(iter(self.solver.values()))) - 1

    def validated(self) -> Grid:
        """The grid itself.

        Raises:
            ValueError: naming the factor, the index and the value that break the rules above.
        """
        if not self.solver or self.solver.keys() != self.network.keys():
            raise ValueError(
                f"solver and network must have the same factors, at least one; "
                f"got {sorted(self.solver)} and {sorted(self.network)}"
            )
        n_steps = self.n_steps
        for factor in self.solver:
            _check(f"solver[{factor!r}]", self.solver[factor], n_steps + 1, infinite_end=True)
            _check(f"network[{factor!r}]", self.network[factor], n_steps, infinite_end=False)
        return self

    def equals(self, other: Grid) -> bool:
        """Whether two grids of the same factors are equal to rounding, whatever their names."""
        own = [levels[factor] for levels in (self.solver, self.network) for factor in self.solver]
        its = [levels[factor] for levels in (other.solver, other.network) for factor in self.solver]
        pairs = zip(own, its, strict=True)
        return all(a.shape == b.shape and torch.allclose(a, b, rtol=_EQUAL, atol=_EQUAL) for a, b in pairs)

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
        table = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        return "\n".join([f"{self.name}: {self.n_steps} steps, half log-SNR at the nodes", *table])

    def __str__(self) -> str:
        return self.describe()

    def to_json(self) -> str:
        """A JSON object with schema, version, name, factors, and the λ of solver and network; loses no digit."""
        return json.dumps(
            {
                "schema": SCHEMA,
                "version": VERSION,
                "name": self.name,
                "factors": list(self.solver),
                "solver": {factor: _to_list(levels) for factor, levels in self.solver.items()},
                "network": {factor: _to_list(levels) for factor, levels in self.network.items()},
            },
            indent=2,
            allow_nan=False,
        )

    @classmethod
    def from_json(cls, text: str) -> Grid:
        """The grid that `to_json` wrote.

        Raises:
            ValueError: if `text` is not such an object, or its grid is not valid.
        """
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"text must be JSON as written by Grid.to_json; {error}") from error
        found = (content.get("schema"), content.get("version")) if isinstance(content, dict) else content
        if found != (SCHEMA, VERSION):
            raise ValueError(f"text must be of schema {SCHEMA!r}, version {VERSION}, got {found!r}")
        try:
            solver, network = (
                {factor: _from_list(content[part][factor]) for factor in content["factors"]}
                for part in ("solver", "network")
            )
            return cls(solver, network, content["name"]).validated()
        except (KeyError, TypeError) as error:
            raise ValueError(f"text is not a complete grid: {type(error).__name__}: {error}") from error


def uniform_t(clock: Clock, n: int) -> Grid:
    """`n` steps of equal length in the time of each factor, from t_max to t_min."""
    times = {name: _ramp(schedule.t_max, schedule.t_min, n) for name, schedule in clock.schedules.items()}
    return _coupled(clock.levels(times), "uniform_t")


def quadratic_t(clock: Clock, n: int) -> Grid:
    """`n` steps of equal length in √t, from t_max to t_min."""
    roots = {
        name: _ramp(math.sqrt(schedule.t_max), math.sqrt(schedule.t_min), n)
        for name, schedule in clock.schedules.items()
    }
    return _coupled(clock.levels({name: root.square() for name, root in roots.items()}), "quadratic_t")


def uniform_log_snr(clock: Clock, n: int) -> Grid:
    """`n` steps of equal length in λ."""
    return _coupled({name: _ramp(*bounds, n) for name, bounds in clock.bounds.items()}, "uniform_log_snr")


def edm(clock: Clock, n: int, rho: float = 7.0) -> Grid:
    """`n` steps of equal length in σ̂^(1/ρ), the true noise level (Karras et al., arXiv 2206.00364, eq. 5)."""
    scale = clock.score_scale * rho  # σ̂^(1/ρ) = exp(-λ / cρ)
    return _coupled(
        {
            name: -scale * torch.log(_ramp(math.exp(-start / scale), math.exp(-end / scale), n))
            for name, (start, end) in clock.bounds.items()
        },
        "edm" if rho == 7.0 else f"edm(rho={rho:g})",
    )


def dmn(clock: Clock, n: int, power: float = 1.0) -> Grid:
    """`n` steps at which the errors σ^power/α of clean predictions add up to the least (Xue et al., arXiv 2402.17376).

    The published powers are 1 for pixels and 2 for latents. At 1 nothing depends on the scale of the data.
    """
    found = {b: torch.from_numpy(least_error_levels(*b, n, clock.score_scale, power)) for b in {*clock.bounds.values()}}
    levels = {name: found[bounds] for name, bounds in clock.bounds.items()}
    return _coupled(levels, "dmn" if power == 1.0 else f"dmn(power={power:g})")


def from_times(clock: Clock, times: Sequence[float], name: str = "times") -> Grid:
    """A grid through a list of N+1 decreasing times that all factors share."""
    return _coupled(clock.levels(torch.tensor(times, dtype=torch.float64)), name)


HAND_MADE: Mapping[str, Callable[[Clock, int], Grid]] = {
    "uniform_t": uniform_t,
    "quadratic_t": quadratic_t,
    "uniform_log_snr": uniform_log_snr,
    "edm": edm,
    "dmn": dmn,
}
"""Name -> (clock, number of steps) -> grid."""


def _coupled(solver: Levels, name: str) -> Grid:
    """The grid whose network is told the solver's own levels."""
    return Grid(solver, {factor: levels[:-1] for factor, levels in solver.items()}, name).validated()


def _ramp(start: float, end: float, n: int) -> Tensor:
    if n < 1:
        raise ValueError(f"n must be at least 1 step, got {n}")
    return torch.linspace(start, end, n + 1, dtype=torch.float64)


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


def _from_list(values: Sequence[float | str]) -> Tensor:
    return torch.tensor([float(value) for value in values], dtype=torch.float64)
