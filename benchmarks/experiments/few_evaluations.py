"""How few evaluations a student can do with: ``python -m benchmarks.experiments.few_evaluations``.

On the reference case, from one to several evaluations: the best hand-made grid, a learned grid, one with learned
coefficients, and the general student, whose first step needs no evaluation. All learn from the same pairs, with as many
gradients. Writes results.json to --out, and the table between the markers of --page.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any, Final

from rich.console import Console
from torch import Tensor

from benchmarks.common.store import finite
from benchmarks.common.tables import Table
from benchmarks.experiments import study
from benchmarks.experiments.reference_case.case import ReferenceCase, load_case
from benchmarks.experiments.reference_case.rows import case_frechet, spread
from benchmarks.experiments.reference_case.same_pairs import PACKAGES, SamePairs
from domains.progress import WorkProgress
from ld3 import HAND_MADE, Grid, Solver
from ld3.learn import Pairs, Phase, fit

BLOCK: Final = "few evaluations"
STUDENTS: Final[dict[str, Phase | None]] = {
    "best hand-made grid": None,
    "times and levels": "joint",
    "with coefficients": "all",
    "general student": "all",
}

_FORMAT: Final = 2  # of what is kept; raise it when the code that makes it changes
_GENERAL: Final = "general student"
_FITS: Final = "fits"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study with the command line's arguments; the exit status."""
    return study.run_study("few_evaluations", SamePairs, compare, __doc__, arguments)


def compare(options: SamePairs, log: Console) -> int:
    """Fit, evaluate, write and print.

    Raises:
        InputError: for an option that makes no sense.
    """
    solver = options.check(BLOCK)
    case = load_case()
    kept = options.kept(case, _FORMAT)
    rows: list[dict[str, Any]] = []
    with WorkProgress(log, {_FITS: options.work(len(STUDENTS))}, {}) as bar, bar.stage(_FITS):
        for seed in options.seeds:
            pairs = options.taught(case, seed)
            for nfe in options.nfe:
                for name in STUDENTS:

                    def make(nfe: int = nfe, name: str = name, pairs: Pairs[Tensor] = pairs) -> dict[str, Any]:
                        return _figures(case, options, *_student(case, options, solver, name, nfe, pairs, bar))

                    rows.append({"nfe": nfe, "student": name, "seed": seed, **kept("student", (nfe, name, seed), make)})
    study.write_results(options.out, "ld3.few_evaluations.results", options, PACKAGES, rows=rows)
    study.publish(options.page, BLOCK, block(options, rows))
    return 0


def _student(
    case: ReferenceCase,
    options: SamePairs,
    solver: Solver,
    name: str,
    nfe: int,
    pairs: Pairs[Tensor],
    bar: WorkProgress,
) -> tuple[Grid, Solver]:
    phase = STUDENTS[name]
    if phase is None:
        grids = {grid: make(case.flow.clock, solver.steps(nfe)) for grid, make in HAND_MADE.items()}
        ends = {grid: case.sample(pairs.start, levels, solver) for grid, levels in grids.items()}
        best = min(ends, key=lambda grid: float(case.flow.distance(ends[grid], pairs.end).mean()))
        return grids[best], solver
    depth = 0
    if name == _GENERAL:
        solver = replace(solver, data_mean=case.flow.data_mean(pairs.end))
        depth = solver.steps(nfe)
    config = replace(options.fit, phases=(phase,), coefficient_depth=depth)
    found = fit(case.flow, pairs, pairs, solver, nfe, config, on_progress=study.counted(bar))
    return found.grid, found.student()


def _figures(case: ReferenceCase, options: SamePairs, grid: Grid, solver: Solver) -> dict[str, float | None]:
    end = case.sample(case.test_start, grid, solver)
    distances = case.flow.distance(end, case.test_end)
    return {
        "mse": finite(float(distances.mean())),
        "median": finite(float(distances.median())),
        "fd_feat": case_frechet(case, grid, solver, options.fd_samples)[1],
    }


def block(options: SamePairs, rows: Sequence[dict[str, Any]]) -> str:
    """How the figures were made, and the table, as Markdown."""
    headings = ("NFE", "student", "mse", "median over images", "FD feat.")
    lines = []
    for nfe in options.nfe:
        for name in STUDENTS:
            own = [row for row in rows if (row["nfe"], row["student"]) == (nfe, name)]
            mse, median, features = ([row[figure] for row in own] for figure in ("mse", "median", "fd_feat"))
            lines.append((str(nfe), name, spread(mse), f"{fmean(median):.5f}", f"{fmean(features):.2f}"))
    origin = (
        f"{study.made_by('few_evaluations', options)}. {options.solver}; {options.pairs} pairs, at most "
        f"{options.fit.steps} gradients; seeds {', '.join(map(str, options.seeds))}. Mse: mean squared distance to the "
        "teacher on the test starts, mean (lowest - highest) over seeds; FD: Fréchet distance to real digits in the "
        "classifier's features."
    )
    return "\n\n".join([origin, Table(headings, lines, text_columns=2).markdown()])


if __name__ == "__main__":
    sys.exit(main())
