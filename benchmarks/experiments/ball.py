"""What the ball does: ``python -m benchmarks.experiments.ball``.

LD3's student may start anywhere in a small ball around the teacher's start (:mod:`ld3.learn.ball`). Here the same
fits by Adam, on the reference case and from the same pairs, with balls of several radii; seeds are paired, since a seed
draws the pairs. Writes results.json to --out, and the table between the markers of --page.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console
from scipy.stats import t as student_t

from benchmarks.common.store import Store, finite
from benchmarks.common.tables import Table, check_page
from benchmarks.experiments import study
from benchmarks.experiments.reference_case.case import ReferenceCase, load_case
from benchmarks.experiments.reference_case.rows import spread
from domains.options import check_nfe, find_solver, mistake, prepare_folder
from domains.progress import WorkProgress
from ld3 import HAND_MADE, Solver
from ld3.learn import FitConfig, fit

BLOCK: Final = "ball"

_FORMAT: Final = 2  # of what is kept; raise it when the code that makes it changes
_FITS: Final = "fits"


@dataclass(frozen=True)
class Options:
    """Options of the study."""

    fit: FitConfig
    out: Path
    """folder for the results; a study that was interrupted there goes on"""
    radius: tuple[float, ...]
    """of the ball, in standard deviations of the prior; 0 is the plain loss, with which the others are compared"""
    nfe: tuple[int, ...]
    """network evaluations a sample"""
    seeds: tuple[int, ...]
    """one fit each, and at least two"""
    solver: str
    """a name of ld3.solvers"""
    page: Path | None = None
    """Markdown page with the markers of the table"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study with the command line's arguments; the exit status."""
    return study.run_study("ball", Options, compare, __doc__, arguments)


def compare(options: Options, log: Console) -> int:
    """Fit, evaluate, write and print.

    Raises:
        InputError: for an option that makes no sense.
    """
    solver = _check(options)
    case = load_case()
    kept = study.Kept(Store(options.out / "cache"), _FORMAT, case.fingerprint(), asdict(options.fit))
    cases = [(nfe, radius, seed) for nfe in options.nfe for radius in options.radius for seed in options.seeds]
    pairs = len(case.pairs) // 2
    rows = []
    with (
        WorkProgress(log, {_FITS: float(sum(nfe * pairs * options.fit.steps for nfe, _, _ in cases))}, {}) as bar,
        bar.stage(_FITS),
    ):
        for nfe, radius, seed in cases:

            def make(nfe: int = nfe, radius: float = radius, seed: int = seed) -> dict[str, float | None]:
                return {"mse": finite(_mse(case, options, solver, nfe, radius, seed, bar))}

            starts = {name: grid(case.flow.clock, solver.steps(nfe)).solver for name, grid in HAND_MADE.items()}
            figures = kept("ball", (options.solver, nfe, radius, seed, starts), make)
            rows.append({"nfe": nfe, "radius": radius, "seed": seed, **figures})
    study.write_results(options.out, "ld3.ball.results", options, ("torch", "numpy", "scipy"), rows=rows)
    content = block(options, rows)
    study.publish(options.page, BLOCK, content)
    return 0


def _check(options: Options) -> Solver:
    solver = find_solver(options.solver)
    check_nfe("nfe", options.nfe, solver)
    if 0.0 not in options.radius or not all(0 <= radius < math.inf for radius in options.radius):
        raise mistake("radius", f"got {list(options.radius)}", "give numbers >= 0, 0 among them")
    study.check_each_once(radius=options.radius)
    study.check_each_once(least=2, seeds=options.seeds)
    if options.page is not None:
        check_page("page", options.page, BLOCK)
    prepare_folder(options.out)
    return solver


def _mse(
    case: ReferenceCase, options: Options, solver: Solver, nfe: int, radius: float, seed: int, bar: WorkProgress
) -> float:
    """Learn from half of the pairs, choose by the others, measure on the test starts."""
    order = torch.randperm(len(case.pairs), generator=torch.Generator().manual_seed(seed))
    train, valid = (case.pairs.take(rows) for rows in order.chunk(2))
    config = replace(options.fit, radius=radius, seed=seed)
    result = fit(case.flow, train, valid, solver, nfe, config, on_progress=study.counted(bar))
    return case.mse(result.grid, result.student())


def block(options: Options, rows: Sequence[Mapping[str, Any]]) -> str:
    """How the figures were made, the table, and which intervals leave out 1, as Markdown."""
    mse = {(row["nfe"], row["radius"], row["seed"]): row["mse"] for row in rows}
    values = {(n, r): [mse[n, r, seed] for seed in options.seeds] for n in options.nfe for r in options.radius}
    headings = ("NFE", "radius", "mse", "to radius 0", "95%")
    lines: list[tuple[str, ...]] = []
    sides: dict[str, list[str]] = {"Lower": [], "Higher": [], "Not compared, for want of finite figures,": []}
    for (nfe, radius), found in values.items():
        broken = f"not finite with {found.count(None)} of {len(found)} seeds"
        shown = broken if None in found else spread([value for value in found if value is not None])
        cells = ("-", "-")
        if radius:
            compared = quotient(found, values[nfe, 0.0])
            low, high = (math.nan, math.nan) if compared is None else compared[1:]
            for side, true in zip(sides, (high < 1, low > 1, compared is None), strict=True):
                sides[side] += [f"radius {radius:g} at {nfe} NFE"] if true else []
            if compared is not None:
                cells = (f"{compared[0]:.2f}", f"{low:.2f} - {high:.2f}")
        lines.append((str(nfe), f"{radius:g}", shown, *cells))
    total = len(options.nfe) * (len(options.radius) - 1)
    parts = [f"{side} with {', '.join(cases)}." for side, cases in sides.items() if cases]
    rest = total - sum(map(len, sides.values()))
    verdict = f"The intervals of the other {rest} comparisons contain 1."
    if not parts:
        verdict = f"In none of the {total} comparisons does the interval leave out 1: no effect that these seeds show."
    origin = (
        f"{study.made_by('ball', options)}. "
        "mse: mean squared distance to the teacher on the test starts, mean (lowest - highest) over seeds. "
        "To radius 0: geometric mean over seeds of the quotient, with Student's interval of its logarithm."
    )
    return "\n\n".join([origin, Table(headings, lines, text_columns=0).markdown(), " ".join([*parts, verdict])])


def quotient(values: Sequence[float | None], others: Sequence[float | None]) -> tuple[float, float, float] | None:
    """Geometric mean of the paired quotients, and its 95% interval (Student's, of logarithms); None if a figure is."""
    if None in values or None in others:
        return None
    logs = torch.tensor([math.log(a / b) for a, b in zip(values, others, strict=True) if a and b], dtype=torch.float64)
    reach = float(student_t.ppf(0.975, len(logs) - 1) * logs.std() / math.sqrt(len(logs)))
    middle = float(logs.mean())
    return math.exp(middle), math.exp(middle - reach), math.exp(middle + reach)


if __name__ == "__main__":
    sys.exit(main())
