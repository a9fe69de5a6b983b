"""What a fit of a warp found, in one JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import final

from ld3.learn.warp import Warp
from ld3.saved_values import cause_of, count, loss, number, read_saved, table, text, value_of, write_saved
from ld3.solvers import get_solver

SCHEMA = "ld3.warp_fit"
VERSION = 2


@final
@dataclass(frozen=True)
class WarpFit:
    """A learned warp and how it came about.

    Attributes:
        warp: the one with the lowest validation loss; `warp(n)` is its grid of n steps.
        solver: name of the solver it was learned for.
        nfe: budgets that it was learned on.
        initial_grid: hand-made grid that the fit started from.
        loss_initial: budget -> validation loss of its warp.
        loss_learned: budget -> validation loss of `warp`.
        iterations: of BFGS.
        network_evaluations: all forward evaluations of the network, per sample; the teacher's are with its pairs.
        gradient_evaluations: those of them that were also differentiated.
        failed: times that a training sample came out not finite, and was left out.
        dropped: pairs that were left out of training and validation, because the teacher's end is not finite.
        seconds: wall time.
        config: settings.
        flow: fingerprint of the flow.
    """

    warp: Warp
    solver: str
    nfe: tuple[int, ...]
    initial_grid: str
    loss_initial: Mapping[int, float]
    loss_learned: Mapping[int, float]
    iterations: int
    network_evaluations: int
    gradient_evaluations: int
    failed: int
    dropped: int
    seconds: float
    config: Mapping[str, object]
    flow: str

    def save(self, path: Path) -> None:
        """Write the result as JSON, null for losses that are infinite; replaces `path` atomically."""
        write_saved(path, SCHEMA, VERSION, {**vars(self), "warp": self.warp.to_dict()})

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
    solver = get_solver(value_of(content, "solver", text))
    nfe = value_of(content, "nfe", _budgets)
    for budget in nfe:
        solver.steps(budget)
    return WarpFit(
        warp=Warp.from_dict(value_of(content, "warp", table)),
        solver=solver.name,
        nfe=nfe,
        initial_grid=value_of(content, "initial_grid", text),
        loss_initial=_losses(content, "loss_initial", nfe),
        loss_learned=_losses(content, "loss_learned", nfe),
        iterations=value_of(content, "iterations", count),
        network_evaluations=value_of(content, "network_evaluations", count),
        gradient_evaluations=value_of(content, "gradient_evaluations", count),
        failed=value_of(content, "failed", count),
        dropped=value_of(content, "dropped", count),
        seconds=value_of(content, "seconds", number),
        config=value_of(content, "config", table),
        flow=value_of(content, "flow", text),
    )


def _budgets(name: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{name} must be a list of at least one number, got {value!r}")
    return tuple(count(f"{name}[{i}]", budget) for i, budget in enumerate(value))


def _losses(content: Mapping[str, object], name: str, nfe: tuple[int, ...]) -> Mapping[int, float]:
    found = value_of(content, name, table)
    if sorted(found) != sorted(map(str, nfe)):
        raise ValueError(f"{name} must hold the loss at each of nfe {list(nfe)}, got {sorted(found)}")
    return {budget: loss(f"{name}[{budget}]", found[str(budget)]) for budget in nfe}
