"""What a fit of a warp found, in one JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import final

from ld3.learn.saved_values import cause_of, count, loss, number, read_saved, table, take, text, write_saved
from ld3.learn.warp import Warp
from ld3.solvers import get_solver

SCHEMA = "ld3.warp_fit"
VERSION = 1


@final
@dataclass(frozen=True)
class WarpFit:
    """A learned warp and how it came about.

    Attributes:
        warp: the one with the lowest validation loss; `warp(n)` is its grid of n steps.
        solver: name of the solver it was learned for.
        nfe: budgets that it was learned on.
        start: hand-made grid that the fit started from.
        loss_start: budget -> validation loss of the start.
        loss_learned: budget -> validation loss of `warp`.
        iterations: of BFGS.
        network_evaluations: all forward evaluations of the network, per sample; the teacher's are with its pairs.
        gradient_evaluations: those of them that were also differentiated.
        failed: times that a training sample came out not finite, and was left out.
        seconds: wall time.
        config: settings.
        flow: fingerprint of the flow.
    """

    warp: Warp
    solver: str
    nfe: tuple[int, ...]
    start: str
    loss_start: Mapping[int, float]
    loss_learned: Mapping[int, float]
    iterations: int
    network_evaluations: int
    gradient_evaluations: int
    failed: int
    seconds: float
    config: Mapping[str, object]
    flow: str

    def save(self, path: Path) -> None:
        """Write the result as JSON, null for losses that are infinite; replaces `path` atomically."""
        write_saved(path, SCHEMA, VERSION, {**vars(self), "warp": json.loads(self.warp.to_json())})

    @classmethod
    def load(cls, path: Path) -> WarpFit:
        """Read what `save` wrote.

        Raises:
            ValueError: in one line, naming the file, if it holds anything else: the first value that is missing, of
                another type, or does not go with the others.
        """
        try:
            return _read(read_saved(path, SCHEMA, VERSION, [field.name for field in fields(cls)], "a fit of a warp"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} is no warp saved by ld3: {cause_of(error)}") from error


def _read(content: Mapping[str, object]) -> WarpFit:
    solver = get_solver(take(content, "solver", text))
    nfe = take(content, "nfe", _budgets)
    for budget in nfe:
        solver.steps(budget)
    return WarpFit(
        warp=Warp.from_json(json.dumps(take(content, "warp", table))),
        solver=solver.name,
        nfe=nfe,
        start=take(content, "start", text),
        loss_start=_losses(content, "loss_start", nfe),
        loss_learned=_losses(content, "loss_learned", nfe),
        iterations=take(content, "iterations", count),
        network_evaluations=take(content, "network_evaluations", count),
        gradient_evaluations=take(content, "gradient_evaluations", count),
        failed=take(content, "failed", count),
        seconds=take(content, "seconds", number),
        config=take(content, "config", table),
        flow=take(content, "flow", text),
    )


def _budgets(name: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{name} must be a list of at least one number, got {value!r}")
    return tuple(count(f"{name}[{i}]", budget) for i, budget in enumerate(value))


def _losses(content: Mapping[str, object], name: str, nfe: tuple[int, ...]) -> Mapping[int, float]:
    found = take(content, name, table)
    if sorted(found) != sorted(map(str, nfe)):
        raise ValueError(f"{name} must hold the loss at each of nfe {list(nfe)}, got {sorted(found)}")
    return {budget: loss(f"{name}[{budget}]", found[str(budget)]) for budget in nfe}
