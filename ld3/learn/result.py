"""What a fit found, in one JSON file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ld3.grid import Grid
from ld3.path_points import FactorPath
from ld3.solvers import Coefficients, Solver, get_solver

SCHEMA = "ld3.fit"
VERSION = 3


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
        start: name of the grid that the fit started from.
        hand: validation loss of every hand-made grid.
        loss_hand: of the start if it is one of them, else of the best.
        loss_start: validation loss of the start.
        loss_learned: validation loss of `grid`.
        curve: losses over the fit.
        network_evaluations: all forward evaluations of the network, per sample: hand-made grids, training and
            validation; the teacher's are recorded with its pairs.
        gradient_evaluations: those of them that were also differentiated.
        failed: times that a training sample came out of the student not finite, and was left out of its step.
        seconds: wall time.
        config: settings, seed included.
        flow: fingerprint of the flow.
        sharpness: c of the flow's clock.
        path: factor -> times, α and σ of the grid's levels, by which other samplers know them.
    """

    grid: Grid
    solver: str
    coefficients: Coefficients | None
    nfe: int
    start: str
    hand: Mapping[str, float]
    loss_hand: float
    loss_start: float
    loss_learned: float
    curve: tuple[Point, ...]
    network_evaluations: int
    gradient_evaluations: int
    failed: int
    seconds: float
    config: Mapping[str, object]
    flow: str
    sharpness: float
    path: Mapping[str, FactorPath]

    def student(self) -> Solver:
        """The solver that goes with the grid: `integrate(flow, x, result.grid, result.student())`."""
        return replace(get_solver(self.solver), coefficients=self.coefficients)

    def save(self, path: Path) -> None:
        """Write the result as JSON; replaces `path` atomically."""
        plain = asdict(replace(self, coefficients=None))
        plain["coefficients"] = None if self.coefficients is None else self.coefficients.to_dict()
        content = {"schema": SCHEMA, "version": VERSION, **plain, "grid": json.loads(self.grid.to_json())}
        part = path.with_suffix(path.suffix + ".part")
        part.write_text(json.dumps(content, indent=2))
        os.replace(part, path)

    @classmethod
    def load(cls, path: Path) -> FitResult:
        """Read what `save` wrote.

        Raises:
            ValueError: naming the file, if it holds anything else.
        """
        try:
            content = json.loads(path.read_text())
            if (content.pop("schema"), content.pop("version")) != (SCHEMA, VERSION):
                raise ValueError("it is of another schema or version")
            grid = Grid.from_json(json.dumps(content.pop("grid")))
            curve = tuple(Point(**row) for row in content.pop("curve"))
            weights = content.pop("coefficients")
            coefficients = None if weights is None else Coefficients.from_dict(weights)
            points = {factor: FactorPath.from_json(part) for factor, part in content.pop("path").items()}
            return cls(grid=grid, coefficients=coefficients, curve=curve, path=points, **content)
        except (OSError, UnicodeDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no fit saved by ld3: {error}") from error
