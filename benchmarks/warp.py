"""One warp for many budgets against a grid fitted for each: ``python -m benchmarks.warp --reference-case DIR``.

On the reference case of the images benchmark. Every seed draws its own teacher pairs, which all fits of that seed
share. Writes to --out: results.json, and what an interrupted run needs to go on. With --page, the tables are put into a
Markdown page.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import tyro
from rich.console import Console

from benchmarks import manifest
from benchmarks.images_reference_case import load_case
from benchmarks.options import check_nfe, mistake, prepare_folder
from benchmarks.store import Store, write_text
from benchmarks.warp_page import put_tables
from benchmarks.warp_rows import Comparison, Cost, Row
from domains.errors import InputError
from ld3.solvers import get_solver

SCHEMA = "ld3.warp.comparison"
CANNOT_RUN, INTERRUPTED = 2, 130

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
    log = Console(stderr=True, highlight=False)
    try:
        compare(tyro.cli(Options, args=arguments, description=__doc__), log)
        return 0
    except (InputError, ValueError, OSError) as error:
        log.print(f"error: {error}", markup=False, soft_wrap=True)
        return CANNOT_RUN
    except KeyboardInterrupt:
        log.print("stopped; the same command goes on from here", markup=False)
        return INTERRUPTED


def compare(options: Options, log: Console) -> None:
    """Fit, evaluate, and write.

    Raises:
        InputError: if an option makes no sense.
        ValueError: if the folder of the case is not what it should be, or the page lacks its markers.
    """
    check(options)
    case = load_case(options.reference_case)
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
    if not options.seeds:
        raise mistake("seeds", "no seed was given", "give at least one, such as --seeds 0 1 2")


if __name__ == "__main__":
    sys.exit(main())
