"""results.json of a benchmark: what it was made with and what it has found so far, written again after every method."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, final

from torch import Tensor

from benchmarks.common.store import finite, write_text
from ld3.learn import FitResult, Teacher
from ld3.learn.teacher import too_coarse

FILE: Final = "results.json"
VERSION: Final = 2

_NOT_IN_ENTRY: Final = ("grid", "coefficients", "curve", "path")  # they are in the fit's own file


@final
class Results:
    """The parts that all benchmarks have.

    Args:
        out: folder of the run.
        schema: name of the content.
        fixed: what is known before anything is computed.
        timings: stage -> seconds, growing as the run goes on.

    Attributes:
        remarks: what a person should know about the run.
        earlier: results of the run before this one in the same folder; empty if there are none that can be read.
    """

    def __init__(self, out: Path, schema: str, fixed: Mapping[str, Any], timings: Mapping[str, float]) -> None:
        self.remarks: list[str] = []
        self.earlier = read_results(out, schema) or {}
        self._out, self._fixed, self._timings = out, {"schema": schema, "version": VERSION, **fixed}, timings
        self._teacher: dict[str, object] = {}
        self._off = math.nan
        self._fits: list[dict[str, object]] = []

    def add_teacher(self, teacher: Teacher, disagreement: Tensor, unit: str) -> None:
        """The teacher, and how far the same run at twice the steps ends from it, (M,), in `unit`."""
        median = float(disagreement.median())
        self._teacher = {
            **asdict(teacher),
            "converged": median <= teacher.tolerance,
            "median_disagreement": finite(median),
            "worst_disagreement": finite(float(disagreement.max())),
            "n_checked": len(disagreement),
        }
        self._off = float(disagreement.mean())

    def add_fit(self, fit: FitResult, *, fitted_here: bool) -> None:
        """A learned grid, fitted in this run or read from a file; it is saved in grids/."""
        file = Path("grids") / f"learned_{fit.solver}_nfe{fit.nfe}.json"
        (self._out / file).parent.mkdir(exist_ok=True)
        fit.save(self._out / file)
        entry = {name: _plain(value) for name, value in vars(fit).items() if name not in _NOT_IN_ENTRY}
        entry["test"] = None if fit.test is None else _plain(fit.test.to_dict())
        if not fit.learned:
            self.remarks.append(f"{fit.nfe} NFE: {fit.verdict()}")
        if coarse := too_coarse(self._off, fit.loss):
            self.remarks.append(f"{fit.nfe} NFE: {coarse}; raise --teacher-nfe")
        self._fits.append({**entry, "file": str(file), "fitted_here": fitted_here})

    def write(self, *, complete: bool, **parts: object) -> None:
        """Write the file."""
        content = {
            **self._fixed,
            "complete": complete,
            **parts,
            "fit": self._fits,
            "teacher": self._teacher,
            "remarks": self.remarks,
            "seconds": dict(self._timings),
        }
        write_text(self._out / FILE, json.dumps(content, indent=2, allow_nan=False))


def read_results(out: Path, schema: str) -> dict[str, Any] | None:
    """What a run has left in a folder; None if it is not of that schema and this version."""
    try:
        found = json.loads((out / FILE).read_text())
    except (OSError, ValueError):
        return None
    is_ours = isinstance(found, dict) and (found.get("schema"), found.get("version")) == (schema, VERSION)
    return found if is_ours else None


def _plain(value: object) -> object:
    """The value with words for what JSON has none for: None for NaN and infinite figures, text for infinite limits."""
    if isinstance(value, float):
        return finite(value)
    if isinstance(value, Mapping):
        return {name: str(x) if x in (math.inf, -math.inf) else _plain(x) for name, x in value.items()}
    return value
