"""One warp for many budgets against a fit for each: ``python -m benchmarks.experiments.warp --reference-case DIR``.

On the reference case of the images benchmark. Every seed draws its own teacher pairs, which all fits of that seed
share. Writes to --out: results.json, and what an interrupted run needs to go on. With --page, the tables are put into a
Markdown page.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
import tyro
from rich.console import Console

from benchmarks.common import manifest
from benchmarks.common.exits import run_command
from benchmarks.common.options import check_nfe, mistake, prepare_folder
from benchmarks.common.store import Store, write_text
from benchmarks.common.tables import check_page
from benchmarks.experiments.reference_case.case import load_case
from benchmarks.experiments.warp_page import BLOCK, put_tables
from benchmarks.experiments.warp_rows import Comparison, Cost, Row
from ld3.solvers import get_solver

SCHEMA = "ld3.warp.comparison"

_PACKAGES = ("torch", "numpy", "scipy")


@dataclass(frozen=True)
class Options:
    """Options of the comparison."""

    reference_case: Path
    """folder of the reference case"""
    out: Path = Path("out/warp")
    """folder for the results; a comparison that was interrupted there goes on"""
    nfe: tuple[int, ...] = (4, 5, 6, 8, 10)
    """budgets that the warps are fitted on"""
    unseen: tuple[int, ...] = (7, 12)
    """budgets that they are read off at without having been fitted there"""
    solver: str = "unipc_bh1_3"
    """a name of the solver registry"""
    pairs: tuple[int, int] = (96, 32)
    """teacher pairs to learn from, and to choose by"""
    seeds: tuple[int, ...] = (0, 1, 2)
    """of the pairs"""
    page: Path | None = None
    """Markdown page with the markers of the tables"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__, prog="python -m benchmarks.experiments.warp")
    log = Console(stderr=True, highlight=False, soft_wrap=True)
    less_memory = "learn from fewer --pairs"
    return run_command(partial(compare, options, log), log, less_memory, options.out, (ValueError, OSError))


def compare(options: Options, log: Console) -> int:
    """Fit, evaluate, and write.

    Raises:
        InputError: if an option makes no sense, or the folder of the case is not what it should be.
    """
    check(options)
    try:
        case = load_case(options.reference_case)
    except ValueError as error:
        raise mistake("reference_case", str(error), "give the folder of the reference case") from error
    prepare_folder(options.out)
    budgets = sorted({*options.nfe, *options.unseen})
    store = Store(options.out / "cache")
    rows: list[Row] = []
    costs: list[Cost] = []
    for seed in options.seeds:
        found, spent = Comparison(case, options.solver, options.nfe, options.pairs, seed, store).run(budgets)
        rows += found
        costs += spent
        log.print(f"seed {seed} is done", markup=False)
    results = {
        "schema": SCHEMA,
        "version": 1,
        "config": json.loads(json.dumps(asdict(options), default=str)),
        "rows": [asdict(row) for row in rows],
        "costs": [asdict(cost) for cost in costs],
        "versions": manifest.versions(_PACKAGES),
        "commit": manifest.commit(),
        "machine": manifest.machine(torch.device("cpu")),
    }
    write_text(options.out / "results.json", json.dumps(results, indent=2, allow_nan=False))
    if options.page is not None:
        put_tables(options.page, json.loads(json.dumps(results)))
    return 0


def check(options: Options) -> None:
    """Refuse what cannot be run.

    Raises:
        InputError: naming the option.
    """
    try:
        solver = get_solver(options.solver)
    except ValueError as error:
        raise mistake("solver", str(error), "give one of these") from error
    check_nfe("nfe", options.nfe, solver)
    if options.unseen:
        check_nfe("unseen", options.unseen, solver)
    if both := {*options.nfe} & {*options.unseen}:
        raise mistake("unseen", f"got {min(both)}, which is in --nfe", "give budgets that --nfe lacks")
    if min(options.pairs) < 1:
        raise mistake("pairs", f"got {options.pairs}", "give at least one pair to learn from and one to choose by")
    if not options.seeds or len(set(options.seeds)) < len(options.seeds) or min(options.seeds) < 0:
        raise mistake("seeds", f"got {list(options.seeds)}", "give at least one number >= 0, and each once")
    if options.page is not None:
        check_page("page", options.page, BLOCK)


if __name__ == "__main__":
    sys.exit(main())
