"""What the ball does: ``python -m benchmarks.images_reference_ball DIR --radius 0 0.001 0.01 0.1``.

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
from pathlib import Path
from typing import Annotated, Any, Final

import torch
import tyro
from rich.console import Console
from rich.progress import track
from scipy.stats import t as student_t

from benchmarks.images_reference_case import ReferenceCase, load_case
from benchmarks.images_reference_rows import mse_to_teacher
from benchmarks.images_reference_table import spread
from benchmarks.readme import with_block
from benchmarks.store import Store, write_text
from ld3.fingerprint import fingerprint
from ld3.learn import FitConfig, fit
from ld3.solvers import get_solver

BLOCK: Final = "ball"
CONFIG: Final = FitConfig(phases=("joint",), steps=100, anneal=True, validate_every=25, chunk=256)


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
    options = tyro.cli(Options, args=arguments, description=__doc__, prog="python -m benchmarks.images_reference_ball")
    log = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        results = _study(options, log)
        write_text(options.out / "results.json", json.dumps(results, indent=2, allow_nan=False))
        if options.page is not None:
            write_text(options.page, with_block(options.page.read_text(), block(results), BLOCK))
    except (OSError, ValueError) as error:
        log.print(f"error: {error}", markup=False)
        return 2
    print(block(results))
    return 0


def _study(options: Options, log: Console) -> dict[str, Any]:
    """One row a radius, NFE and seed."""
    if 0.0 not in options.radius or min(options.radius) < 0:
        raise ValueError(f"--radius: give numbers >= 0, 0 among them, got {list(options.radius)}")
    if len(set(options.seeds)) < 2:
        raise ValueError(f"--seeds: give at least two, for an interval, got {list(options.seeds)}")
    case, store = load_case(options.case), Store(options.out / "cache")
    plan = [(nfe, radius, seed) for nfe in options.nfe for radius in options.radius for seed in options.seeds]
    rows = []
    for nfe, radius, seed in track(plan, "fits", console=log, transient=True):
        inputs = (case.flow.fingerprint(), case.pairs.start, case.pairs.end, case.test_end, CONFIG)
        key = f"ball-{fingerprint(options.solver, nfe, radius, seed, inputs)}"
        mse = store.json(key)
        if mse is None:
            mse = _mse(case, options.solver, nfe, radius, seed)
            store.put_json(key, mse)
        rows.append({"nfe": nfe, "radius": radius, "seed": seed, "mse": mse})
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
    mse = {(row["nfe"], row["radius"], row["seed"]): row["mse"] for row in results["rows"]}
    lines = ["| NFE | radius | mse | to radius 0 | 95% |", "| ---: | ---: | ---: | ---: | ---: |"]
    for nfe in config["nfe"]:
        plain = [mse[nfe, 0.0, seed] for seed in config["seeds"]]
        for radius in config["radius"]:
            found = [mse[nfe, radius, seed] for seed in config["seeds"]]
            middle, low, high = quotient(found, plain)
            compared = "- | -" if radius == 0 else f"{middle:.2f} | {low:.2f} - {high:.2f}"
            lines.append(f"| {nfe} | {radius:g} | {spread(found)} | {compared} |")
    origin = (
        f"Made by `python -m benchmarks.images_reference_ball DIR {flags} --solver {config['solver']} --page PAGE`. "
        "mse: mean squared distance to the teacher on the test starts, mean (lowest - highest) over seeds. "
        "To radius 0: geometric mean over seeds of the quotient, with Student's interval of its logarithm."
    )
    return "\n\n".join([origin, "\n".join(lines), verdict(results)])


def verdict(results: Mapping[str, Any]) -> str:
    """In how many comparisons the interval leaves out 1, in words."""
    config = results["config"]
    mse = {(row["nfe"], row["radius"], row["seed"]): row["mse"] for row in results["rows"]}
    better, worse, total = [], [], 0
    for nfe in config["nfe"]:
        plain = [mse[nfe, 0.0, seed] for seed in config["seeds"]]
        for radius in (r for r in config["radius"] if r > 0):
            _, low, high = quotient([mse[nfe, radius, seed] for seed in config["seeds"]], plain)
            total += 1
            better += [f"radius {radius:g} at {nfe} NFE"] if high < 1 else []
            worse += [f"radius {radius:g} at {nfe} NFE"] if low > 1 else []
    if not better and not worse:
        return (
            f"In none of the {total} comparisons does the interval leave out 1: no effect that these seeds could show."
        )
    parts = [f"{word} with {', '.join(cases)}" for word, cases in (("Lower", better), ("Higher", worse)) if cases]
    return f"{'. '.join(parts)}. The intervals of the other {total - len(better) - len(worse)} comparisons contain 1."


def quotient(values: Sequence[float], others: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean of the paired quotients, and its 95% interval (Student's, of the logarithms)."""
    logs = torch.tensor([math.log(a / b) for a, b in zip(values, others, strict=True)], dtype=torch.float64)
    reach = float(student_t.ppf(0.975, len(logs) - 1) * logs.std() / math.sqrt(len(logs)))
    middle = float(logs.mean())
    return math.exp(middle), math.exp(middle - reach), math.exp(middle + reach)


if __name__ == "__main__":
    sys.exit(main())
