"""What a fit found, in one JSON file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ld3.grid import Grid
from ld3.path_points import FactorPath

SCHEMA = "ld3.fit"
VERSION = 2


@dataclass(frozen=True)
class Point:
    """One row of the training curve: losses are means over pairs.

    Attributes:
        phase: "hand", then the phases of the fit.
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
        hand: validation loss of every hand-made grid; `start` names the one the fit started from.
        loss_hand: validation loss of the start.
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
    nfe: int
    start: str
    hand: Mapping[str, float]
    loss_hand: float
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

    def save(self, path: Path) -> None:
        """Write the result as JSON; replaces `path` atomically."""
        content = {"schema": SCHEMA, "version": VERSION, **asdict(self), "grid": json.loads(self.grid.to_json())}
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
            points = {factor: FactorPath.from_json(part) for factor, part in content.pop("path").items()}
            return cls(grid=grid, curve=curve, path=points, **content)
        except (OSError, UnicodeDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no fit saved by ld3: {error}") from error
