"""What a fit of a warp found, in one JSON file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, final

from torch import Tensor

from ld3.grids.grid import Grid
from ld3.learn.final_test import FinalTest, read_test
from ld3.learn.warp import Warp
from ld3.learn.warp_coefficients import WarpCoefficients
from ld3.saved_values import (
    count,
    load_saved,
    losses,
    mean_lists,
    number,
    sequence,
    table,
    tensors_of,
    text,
    values_of,
    write_saved,
)
from ld3.solvers import Solver, get_solver

SCHEMA = "ld3.warp_fit"
VERSION = 4


@final
@dataclass(frozen=True)
class WarpFit:
    """A learned warp and how it came about.

    Attributes:
        warp: the one with the lowest validation loss, or, if it lost the final test, the hand-made one that it started
            from; `warp(n)` is its grid of n steps.
        coefficients: the solver's, for any number of steps; None leaves it as published.
        data_mean: with which the solver takes an analytical first step; None where it asks the network.
        solver: name of the solver it was learned for.
        nfe: budgets that it was learned on.
        initial_grid: hand-made grid that the fit started from.
        loss_initial: budget -> validation loss of its warp.
        loss_learned: budget -> validation loss of the learned warp, whether it came back or not.
        test: what the final test found, in losses as shares of the initial warp's; None where there was none.
        iterations: of BFGS.
        network_evaluations: all forward evaluations of the network, per sample; the teacher's are with its pairs.
        gradient_evaluations: those of them that were also differentiated.
        failed: times that a training sample came out not finite, and was left out.
        dropped: pairs that were left out, because the teacher's end is not finite.
        seconds: wall time.
        config: settings.
        flow: fingerprint of the flow.
    """

    warp: Warp
    coefficients: WarpCoefficients | None
    data_mean: Mapping[str, Tensor] | None
    solver: str
    nfe: tuple[int, ...]
    initial_grid: str
    loss_initial: Mapping[int, float]
    loss_learned: Mapping[int, float]
    test: FinalTest | None
    iterations: int
    network_evaluations: int
    gradient_evaluations: int
    failed: int
    dropped: int
    seconds: float
    config: Mapping[str, object]
    flow: str

    def student(self, nfe: int) -> tuple[Grid, Solver]:
        """The grid of `nfe` evaluations and the solver that goes with it, for `integrate`.

        Raises:
            ValueError: if the solver cannot spend them.
        """
        base = replace(get_solver(self.solver), data_mean=self.data_mean)
        n = base.steps(nfe)
        if self.coefficients is None:
            return self.warp(n), base
        learned: Solver = self.coefficients(n)
        return self.warp(n), replace(base, coefficients=learned.coefficients)

    def describe(self) -> str:
        """What was fitted, and the final test: two lines."""
        budgets = ", ".join(map(str, self.nfe))
        test = "final test: none was made" if self.test is None else self.test.describe()
        return f"warp from {self.initial_grid}: {self.solver}, {budgets} network evaluations\n{test}"

    def save(self, path: Path | str) -> None:
        """Write the result as JSON, null for losses that are infinite; replaces `path` atomically."""
        test = None if self.test is None else self.test.to_dict()
        weights = None if self.coefficients is None else self.coefficients.to_dict()
        plain = {
            **vars(self),
            "warp": self.warp.to_dict(),
            "coefficients": weights,
            "data_mean": mean_lists(self.data_mean),
            "test": test,
        }
        write_saved(path, SCHEMA, VERSION, plain)

    @classmethod
    def load(cls, path: Path | str) -> WarpFit:
        """Read what `save` wrote.

        Raises:
            ValueError: in one line, naming the file, if it holds anything else: the first value that is missing, of
                another type, or does not go with the others.
        """
        names = [field.name for field in fields(cls)]
        return load_saved(path, SCHEMA, VERSION, names, "a warp", _read)


def _warp(_: str, value: object) -> Warp:
    return Warp.from_dict(table("warp", value))


def _budgets(name: str, value: object) -> tuple[int, ...]:
    budgets = tuple(count(f"{name}[{i}]", budget) for i, budget in enumerate(sequence(name, value)))
    if not budgets:
        raise ValueError(f"{name} must be a list of at least one number, got none")
    return budgets


_READERS: Final[Mapping[str, Callable[[str, object], Any]]] = {
    "warp": _warp,
    "coefficients": lambda _, value: value,
    "data_mean": tensors_of,
    "solver": text,
    "nfe": _budgets,
    "initial_grid": text,
    "loss_initial": losses,
    "loss_learned": losses,
    "test": read_test,
    "iterations": count,
    "network_evaluations": count,
    "gradient_evaluations": count,
    "failed": count,
    "dropped": count,
    "seconds": number,
    "config": table,
    "flow": text,
}


def _read(content: Mapping[str, object]) -> WarpFit:
    found = values_of(content, _READERS)
    for budget in found["nfe"]:
        get_solver(found["solver"]).steps(budget)
    for name in ("loss_initial", "loss_learned"):
        if sorted(found[name]) != sorted(map(str, found["nfe"])):
            raise ValueError(
                f"{name} must hold the loss at each of nfe {list(found['nfe'])}, got {sorted(found[name])}"
            )
        found[name] = {budget: found[name][str(budget)] for budget in found["nfe"]}
    if found["coefficients"] is not None:
        base = replace(get_solver(found["solver"]), data_mean=found["data_mean"])
        found["coefficients"] = WarpCoefficients.from_dict(found["coefficients"], base, found["warp"].factors)
    return WarpFit(**found)
