"""What the ball does: ``python -m benchmarks.experiments.reference_case.ball DIR --radius 0 0.001 0.01 0.1``.

LD3's student may start anywhere in a small ball around the teacher's start (:mod:`ld3.learn.ball`). Here the same
fits by Adam, on the reference case and from the same pairs, with balls of several radii; seeds are paired, since a seed
draws the pairs. Writes results.json to --out, and the table between the markers of --page.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import torch
import tyro
from rich.console import Console
from rich.progress import track
from scipy.stats import t as student_t

from benchmarks.common.exits import FIXED_SIZE, run_command
from benchmarks.common.options import check_nfe, mistake, prepare_folder
from benchmarks.common.store import Store, finite, write_text
from benchmarks.common.tables import check_page, put_block
from benchmarks.experiments.reference_case.case import ReferenceCase, load_case
from benchmarks.experiments.reference_case.rows import mse_to_teacher
from benchmarks.experiments.reference_case.table import spread
from domains.errors import InputError, InputProblem
from ld3.fingerprint import fingerprint
from ld3.grids import HAND_MADE
from ld3.learn import FitConfig, fit
from ld3.solvers import get_solver

BLOCK: Final = "ball"
CONFIG: Final = FitConfig(phases=("joint",), steps=100, anneal=True, validate_every=25, chunk=256)

_FORMAT: Final = 1  # of what is kept; raise it when the code that makes it changes


@dataclass(frozen=True)
class Options:
    """Options of the study."""

    case: Annotated[Path, tyro.conf.Positional]
    """folder of the reference case"""
    out: Path = Path("out/ball")
    """folder for the results; a study that was interrupted there goes on"""
    radius: tuple[float, ...] = (0.0, 0.001, 0.01, 0.1)
    """of the ball, in standard deviations of the prior; 0 is the plain loss, with which the others are compared"""
    nfe: tuple[int, ...] = (5, 10)
    """network evaluations a sample"""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """one fit each, and at least two"""
    solver: str = "unipc_bh1_3"
    """a name of ld3.solvers"""
    page: Path | None = None
    """Markdown file with the markers"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study; the exit status."""
    options = tyro.cli(
        Options, args=arguments, description=__doc__, prog="python -m benchmarks.experiments.reference_case.ball"
    )
    log = Console(stderr=True, highlight=False, soft_wrap=True)
    return run_command(partial(_run, options, log), log, FIXED_SIZE, options.out)


def _run(options: Options, log: Console) -> int:
    check(options)
    results = _study(options, log)
    write_text(options.out / "results.json", json.dumps(results, indent=2, allow_nan=False))
    if options.page is not None:
        put_block(options.page, BLOCK, block(results))
    print(block(results))
    return 0


def check(options: Options) -> None:
    """Refuse what cannot be run, and make the output folder.

    Raises:
        InputError: naming the option, what is wrong with it, and the remedy.
    """
    try:
        solver = get_solver(options.solver)
    except ValueError as error:
        raise mistake("solver", str(error), "choose one of these") from error
    check_nfe("nfe", options.nfe, solver)
    if 0.0 not in options.radius or not all(0 <= radius < math.inf for radius in options.radius):
        raise mistake("radius", f"got {list(options.radius)}", "give numbers >= 0, 0 among them")
    if len(set(options.seeds)) < 2 or min(options.seeds) < 0:
        raise mistake("seeds", f"got {list(options.seeds)}", "give at least two numbers >= 0, for an interval")
    if options.page is not None:
        check_page("page", options.page, BLOCK)
    prepare_folder(options.out)


def _study(options: Options, log: Console) -> dict[str, Any]:
    """One row a radius, NFE and seed; its mse is None where a sample is not finite."""
    try:
        case = load_case(options.case)
    except ValueError as error:
        problem = InputProblem(str(options.case), "", str(error), "give the folder of the reference case")
        raise InputError(problem) from error
    store, solver = Store(options.out / "cache"), get_solver(options.solver)
    plan = [(nfe, radius, seed) for nfe in options.nfe for radius in options.radius for seed in options.seeds]
    rows = []
    for nfe, radius, seed in track(plan, "fits", console=log, transient=True):
        starts = {name: make(case.flow.clock, solver.steps(nfe)).solver for name, make in HAND_MADE.items()}
        inputs = (case.flow.fingerprint(), case.pairs.start, case.pairs.end, case.test_start, case.test_end, CONFIG)
        key = f"ball-{fingerprint(_FORMAT, options.solver, nfe, radius, seed, starts, inputs)}"
        kept = store.json(key)
        if kept is None:  # its mse may be: what is not finite is not made again either
            kept = {"mse": finite(_mse(case, options.solver, nfe, radius, seed))}
            store.put_json(key, kept)
        rows.append({"nfe": nfe, "radius": radius, "seed": seed, **kept})
    config = {"radius": options.radius, "nfe": options.nfe, "seeds": options.seeds, "solver": options.solver}
    return {"schema": "ld3.ball.results", "config": config, "fit": asdict(CONFIG), "rows": rows}


def _mse(case: ReferenceCase, solver: str, nfe: int, radius: float, seed: int) -> float:
    """Learn from half of the pairs, choose by the others, measure on the test starts."""
    order = torch.randperm(len(case.pairs), generator=torch.Generator().manual_seed(seed))
    train, valid = (case.pairs.take(rows) for rows in order.chunk(2))
    config = replace(CONFIG, radius=radius, seed=seed)
    result = fit(case.flow, train, valid, get_solver(solver), nfe, config)
    return mse_to_teacher(case, result.grid, result.student())


def block(results: Mapping[str, Any]) -> str:
    """How the figures were made, and the table, as Markdown."""
    config = results["config"]
    flags = " ".join(f"--{name} {' '.join(map(str, config[name]))}" for name in ("radius", "nfe", "seeds"))
    lines = ["| NFE | radius | mse | to radius 0 | 95% |", "| ---: | ---: | ---: | ---: | ---: |"]
    for nfe in config["nfe"]:
        plain = _values(results, nfe, 0.0)
        for radius in config["radius"]:
            found = _values(results, nfe, radius)
            broken = f"not finite with {found.count(None)} of {len(found)} seeds"
            shown = broken if (whole := _all_finite(found)) is None else spread(whole)
            compared = None if radius == 0 else _compared(found, plain)
            last = "- | -" if compared is None else "{:.2f} | {:.2f} - {:.2f}".format(*compared)
            lines.append(f"| {nfe} | {radius:g} | {shown} | {last} |")
    origin = (
        f"Made by `python -m benchmarks.experiments.reference_case.ball DIR {flags} "
        f"--solver {config['solver']} --page PAGE`. "
        "mse: mean squared distance to the teacher on the test starts, mean (lowest - highest) over seeds. "
        "To radius 0: geometric mean over seeds of the quotient, with Student's interval of its logarithm."
    )
    return "\n\n".join([origin, "\n".join(lines), verdict(results)])


def verdict(results: Mapping[str, Any]) -> str:
    """In how many comparisons the interval leaves out 1, in words."""
    config = results["config"]
    sides: dict[str, list[str]] = {"Lower": [], "Higher": [], "Not compared, for want of finite figures,": []}
    total = 0
    for nfe in config["nfe"]:
        plain = _values(results, nfe, 0.0)
        for radius in (r for r in config["radius"] if r > 0):
            compared = _compared(_values(results, nfe, radius), plain)
            total += 1
            for side, true in zip(sides, _sides(compared), strict=True):
                sides[side] += [f"radius {radius:g} at {nfe} NFE"] if true else []
    if not any(sides.values()):
        return (
            f"In none of the {total} comparisons does the interval leave out 1: no effect that these seeds could show."
        )
    parts = [f"{side} with {', '.join(cases)}" for side, cases in sides.items() if cases]
    rest = total - sum(map(len, sides.values()))
    return f"{'. '.join(parts)}. The intervals of the other {rest} comparisons contain 1."


def _sides(compared: tuple[float, float, float] | None) -> tuple[bool, bool, bool]:
    """Lower, higher, not known."""
    return (False, False, True) if compared is None else (compared[2] < 1, compared[1] > 1, False)


def _values(results: Mapping[str, Any], nfe: int, radius: float) -> list[float | None]:
    """mse by seed."""
    mse = {(row["nfe"], row["radius"], row["seed"]): row["mse"] for row in results["rows"]}
    return [mse[nfe, radius, seed] for seed in results["config"]["seeds"]]


def _all_finite(values: Sequence[float | None]) -> list[float] | None:
    """None if one of them is."""
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else None


def _compared(found: Sequence[float | None], plain: Sequence[float | None]) -> tuple[float, float, float] | None:
    """The quotient and its interval, where all figures are finite."""
    ours, theirs = _all_finite(found), _all_finite(plain)
    return None if ours is None or theirs is None else quotient(ours, theirs)


def quotient(values: Sequence[float], others: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean of the paired quotients, and its 95% interval (Student's, of the logarithms)."""
    logs = torch.tensor([math.log(a / b) for a, b in zip(values, others, strict=True)], dtype=torch.float64)
    reach = float(student_t.ppf(0.975, len(logs) - 1) * logs.std() / math.sqrt(len(logs)))
    middle = float(logs.mean())
    return math.exp(middle), math.exp(middle - reach), math.exp(middle + reach)


if __name__ == "__main__":
    sys.exit(main())
