"""What a fit found, in one JSON file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from ld3.grids.grid import Grid
from ld3.path_points import FactorPath
from ld3.saved_values import (
    cause_of,
    count,
    loss,
    losses,
    number,
    read_saved,
    rows,
    table,
    text,
    values_of,
    write_saved,
)
from ld3.solvers import Coefficients, Solver, get_solver

SCHEMA: Final = "ld3.fit"
VERSION: Final = 4


@dataclass(frozen=True)
class Point:
    """One row of the training curve: losses are means over pairs.

    Attributes:
        phase: "start", then the phases of the fit.
        step: gradient steps taken so far.
        train: loss of the step's pairs, with their shifted starts; None before the first step.
        valid: plain loss on the validation pairs.
        network_evaluations: spent so far, forward passes per sample.
        seconds: wall time so far.
    """

    phase: str
    step: int
    train: float | None
    valid: float
    network_evaluations: int
    seconds: float


@dataclass(frozen=True)
class FitResult:
    """A learned grid and how it came about.

    Attributes:
        grid: the grid with the lowest validation loss.
        solver: name of the solver it was learned for.
        nfe: evaluations that it spends.
        coefficients: learned with the grid, to be added to the solver's weights; None leaves it as published.
        initial_grid: name of the grid that the fit started from.
        hand_made: validation loss of every hand-made grid (of "dmn" up to 128 steps only).
        loss_hand_made: of the initial grid if it is one of them, else of the best.
        loss_initial: validation loss of the initial grid.
        loss_learned: validation loss of `grid`.
        curve: losses over the fit.
        network_evaluations: all forward evaluations of the network, per sample: hand-made grids, training and
            validation; the teacher's are recorded with its pairs.
        gradient_evaluations: those of them that were also differentiated.
        failed: times that a training sample came out of the student not finite, and was left out of its step.
        dropped: pairs that were left out of training and validation, because the teacher's end is not finite.
        seconds: wall time.
        config: settings, seed included.
        flow: fingerprint of the flow.
        path: factor -> times, α and σ of the grid's levels, by which other samplers know them.
    """

    grid: Grid
    solver: str
    coefficients: Coefficients | None
    nfe: int
    initial_grid: str
    hand_made: Mapping[str, float]
    loss_hand_made: float
    loss_initial: float
    loss_learned: float
    curve: tuple[Point, ...]
    network_evaluations: int
    gradient_evaluations: int
    failed: int
    dropped: int
    seconds: float
    config: Mapping[str, object]
    flow: str
    path: Mapping[str, FactorPath]

    def student(self) -> Solver:
        """The solver that goes with the grid: `integrate(flow, x, result.grid, result.student())`."""
        return replace(get_solver(self.solver), coefficients=self.coefficients)

    def save(self, path: Path | str) -> None:
        """Write the result as JSON, null for losses that are infinite; replaces `path` atomically."""
        coefficients = None if self.coefficients is None else self.coefficients.to_dict()
        plain = {
            **vars(self),
            "coefficients": coefficients,
            "curve": [asdict(point) for point in self.curve],
            "path": {factor: asdict(part) for factor, part in self.path.items()},
        }
        write_saved(path, SCHEMA, VERSION, {**plain, "grid": self.grid.to_dict()})

    @classmethod
    def load(cls, path: Path | str) -> FitResult:
        """Read what `save` wrote.

        Raises:
            ValueError: in one line, naming the file, if it holds anything else: the first value that is missing, of
                another type, or does not go with the others.
        """
        try:
            return _read(read_saved(path, SCHEMA, VERSION, [field.name for field in fields(cls)], "a fit"))
        except (OSError, KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise ValueError(f"{path} is no fit saved by ld3: {cause_of(error)}") from error


def _grid(_: str, value: object) -> Grid:
    return Grid.from_dict(table("grid", value))


def _hand_made(name: str, value: object) -> dict[str, float]:
    found = losses(name, value)
    if not found:
        raise ValueError(f"{name} must hold the loss of at least one grid, got none")
    return found


def _coefficients(name: str, value: object) -> Coefficients | None:
    if value is None:
        return None
    return Coefficients.from_dict({part: table(part, rows) for part, rows in table(name, value).items()})


def _curve(name: str, value: object) -> tuple[Point, ...]:
    return tuple(_point(row) for row in rows(name, value))


def _point(row: Mapping[str, object]) -> Point:
    first = row.get("phase") == "start" and row.get("train") is None
    return Point(**values_of(row, {**_POINT, "train": (lambda _, value: value) if first else loss}))


_POINT: Final = {"phase": text, "step": count, "valid": loss, "network_evaluations": count, "seconds": number}
_READERS: Final[Mapping[str, Callable[[str, object], Any]]] = {
    "grid": _grid,
    "solver": text,
    "coefficients": _coefficients,
    "nfe": count,
    "initial_grid": text,
    "hand_made": _hand_made,
    "loss_hand_made": loss,
    "loss_initial": loss,
    "loss_learned": loss,
    "curve": _curve,
    "network_evaluations": count,
    "gradient_evaluations": count,
    "failed": count,
    "dropped": count,
    "seconds": number,
    "config": table,
    "flow": text,
    "path": table,
}


def _read(content: Mapping[str, object]) -> FitResult:
    found = values_of(content, _READERS)
    fit = FitResult(**{**found, "path": _path(found["path"], found["grid"])})
    solver = get_solver(fit.solver)
    if solver.steps(fit.nfe) != fit.grid.n_steps:
        raise ValueError(f"nfe must fit the grid's {fit.grid.n_steps} steps of {solver.name}, got {fit.nfe}")
    if fit.coefficients is not None:
        fit.coefficients.check(fit.grid, corrects=solver.corrector is not None)
    return fit


def _path(content: Mapping[str, object], grid: Grid) -> Mapping[str, FactorPath]:
    if content.keys() != grid.solver.keys():
        raise ValueError(f"path must have the grid's factors {sorted(grid.solver)}, got {sorted(content)}")
    points = {factor: FactorPath.from_json(table(factor, part)) for factor, part in content.items()}
    for factor, part in points.items():
        found = (len(part.solver.t), len(part.network.t))
        if found != (grid.n_steps + 1, grid.n_steps):
            raise ValueError(f"path[{factor!r}] must have a point for each level of the grid, got {found}")
    return points
