"""What a fit found, in one JSON file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from ld3.grids.grid import Grid
from ld3.learn.final_test import FinalTest, read_test
from ld3.path_points import FactorPath
from ld3.saved_values import (
    count,
    load_saved,
    loss,
    losses,
    mean_lists,
    number,
    rows,
    table,
    tensors_of,
    text,
    values_of,
    write_saved,
)
from ld3.solvers import Coefficients, Solver, get_solver

SCHEMA: Final = "ld3.fit"
VERSION: Final = 5


@dataclass(frozen=True)
class Point:
    """One row of the training curve: losses are means over pairs.

    Attributes:
        phase: "start", then the phases of the fit, and "test".
        step: gradient steps taken so far.
        train: loss of the step's pairs, with their shifted starts; None before the first step and after the last.
        valid: plain loss on the validation pairs; with the test, that of the learned student.
        network_evaluations: spent so far, forward passes per sample.
        seconds: wall time so far.
    """

    phase: str
    step: int
    train: float | None
    valid: float
    network_evaluations: int
    seconds: float


@dataclass(frozen=True, repr=False)
class FitResult:
    """A learned grid and how it came about; or the hand-made one that it could not be shown to beat.

    Attributes:
        grid: the learned grid, the one with the lowest validation loss; unless it lost the final test: then the best
            hand-made one.
        solver: name of the solver it is for.
        nfe: evaluations that it spends.
        coefficients: learned with the grid, to be added to the solver's weights; None leaves it as published.
        data_mean: with which the solver takes an analytical first step; None where it asks the network.
        initial_grid: name of the grid that the fit started from.
        hand_made: validation loss of every hand-made grid (of "dmn" up to 128 steps only), and of the baselines given.
        loss_hand_made: of the initial grid if it is one of them, else of the best.
        loss_initial: validation loss of the initial grid.
        loss_learned: validation loss of the learned student, whether it came back or not.
        test: what the final test found; None where no pairs were held back for one.
        curve: losses over the fit.
        network_evaluations: all forward evaluations of the network, per sample: hand-made grids, training,
            validation and test; the teacher's are recorded with its pairs.
        gradient_evaluations: those of them that were also differentiated.
        direction_evaluations: those in Jacobians, each times the directions taken side by side, at a cost that is not
            in the other two.
        failed: times that a training sample came out of the student not finite, and was left out of its step.
        dropped: pairs that were left out, because the teacher's end is not finite.
        seconds: wall time.
        config: settings, seed included.
        flow: fingerprint of the flow.
        path: factor -> times, α and σ of the grid's levels, by which other samplers know them.
        about: what it was learned on, in the words of whoever made the flow: model, prompts, guidance.
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
    test: FinalTest | None
    curve: tuple[Point, ...]
    network_evaluations: int
    gradient_evaluations: int
    failed: int
    dropped: int
    seconds: float
    config: Mapping[str, object]
    flow: str
    path: Mapping[str, FactorPath]
    data_mean: Mapping[str, Tensor] | None = None
    about: Mapping[str, object] = field(default_factory=dict)
    direction_evaluations: int = 0

    @property
    def learned(self) -> bool:
        """Whether what was learned came back: it won the final test, or there was none."""
        return self.test is None or self.test.accepted

    @property
    def loss(self) -> float:
        """Validation loss of `grid`."""
        return self.loss_learned if self.test is None or self.test.accepted else self.hand_made[self.test.against]

    def verdict(self) -> str:
        """The final test in one line."""
        return "final test: none was made" if self.test is None else self.test.describe()

    def describe(self) -> str:
        """What was fitted, what the validation pairs say, and the final test: three lines."""
        best = min(self.hand_made, key=self.hand_made.__getitem__)
        weights = "" if self.coefficients is None else " with learned coefficients"
        return "\n".join(
            [
                f"{self.grid.name}: {self.solver}{weights}, {self.nfe} network evaluations",
                f"validation: learned {self.loss_learned:.4g}, {self.hand_made[best]:.4g} by hand ({best})",
                self.verdict(),
            ]
        )

    def __repr__(self) -> str:
        return f"FitResult({self.grid.name!r}, {self.solver}, {self.nfe} NFE, loss {self.loss:.4g}; {self.verdict()})"

    def student(self) -> Solver:
        """The solver that goes with the grid: `integrate(flow, x, result.grid, result.student())`."""
        return replace(get_solver(self.solver), coefficients=self.coefficients, data_mean=self.data_mean)

    def save(self, path: Path | str) -> None:
        """Write the result as JSON, null for losses that are infinite; replaces `path` atomically."""
        coefficients = None if self.coefficients is None else self.coefficients.to_dict()
        plain = {
            **vars(self),
            "coefficients": coefficients,
            "data_mean": mean_lists(self.data_mean),
            "curve": [asdict(point) for point in self.curve],
            "path": {factor: asdict(part) for factor, part in self.path.items()},
            "test": None if self.test is None else self.test.to_dict(),
        }
        write_saved(path, SCHEMA, VERSION, {**plain, "grid": self.grid.to_dict()})

    @classmethod
    def load(cls, path: Path | str) -> FitResult:
        """Read what `save` wrote.

        Raises:
            ValueError: in one line, naming the file, if it holds anything else: the first value that is missing, of
                another type, or does not go with the others.
        """
        names = [field.name for field in fields(cls)]
        return load_saved(path, SCHEMA, VERSION, names, "a fit", _read)


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
    first = row.get("phase") in ("start", "test") and row.get("train") is None
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
    "test": read_test,
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
    about = table("about", content.get("about", {}))
    directions = count("direction_evaluations", content.get("direction_evaluations", 0))
    mean = tensors_of("data_mean", content.get("data_mean"))
    more = {"data_mean": mean, "about": about, "direction_evaluations": directions}
    fit = FitResult(**{**found, "path": _path(found["path"], found["grid"]), **more})
    solver = fit.student()
    if fit.test is not None and fit.test.against not in fit.hand_made:
        raise ValueError(f"test.against must be one of hand_made {sorted(fit.hand_made)}, got {fit.test.against!r}")
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
