"""What learned solver coefficients add to learned times: ``python -m benchmarks.experiments.coefficients``.

On the built-in digits. For each solver and number of evaluations, the same teacher pairs teach several fits, each with
as many gradients as the others: the solver's coefficients alone (S4S), times and levels alone, and all together. Their
images are compared with the teacher's on starts that no fit has seen, start by start. Writes to --out: results.json,
after every fit; a comparison that was interrupted goes on. With --page, the table is put into a Markdown page.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import tyro
from rich.console import Console

from benchmarks.common.exits import run_command
from benchmarks.common.options import check_nfe, mistake, prepare_folder
from benchmarks.common.store import Store
from benchmarks.common.tables import check_page, command_line
from benchmarks.experiments.coefficients_page import BLOCK, block, put_table, summarise, write_results
from benchmarks.experiments.coefficients_rows import Fitted, Seed, seed_work, work
from domains.images.models.load import BUILT_IN, load
from domains.progress import WorkProgress
from ld3.solvers import Solver, get_solver


@dataclass(frozen=True)
class Options:
    """Options of the comparison."""

    solver: tuple[str, ...] = ("ipndm_3", "dpmpp_2m", "unipc_bh1_3")
    """multistep solvers, names of ld3.solvers"""
    nfe: tuple[int, ...] = (5, 8)
    """network evaluations an image"""
    seeds: tuple[int, ...] = (0, 1)
    """of pairs and starts; every fit is made once for each"""
    pairs: tuple[int, int] = (64, 32)
    """teacher pairs to learn from, and to choose by"""
    samples: int = 1000
    """images of a seed, from starts that no fit has seen"""
    steps: int = 64
    """gradients of a fit"""
    out: Path = Path("out/coefficients")
    """folder for the results"""
    page: Path | None = None
    """Markdown page with the markers of the table"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison with the command line's arguments; the exit status."""
    options = tyro.cli(
        Options, args=arguments, description=__doc__, prog="python -m benchmarks.experiments.coefficients"
    )
    log = Console(stderr=True, highlight=False, soft_wrap=True)
    less_memory = "learn from fewer --pairs"
    return run_command(partial(compare, options, log), log, less_memory, options.out, (ValueError, OSError))


def compare(options: Options, log: Console) -> int:
    """Fit, make images, and write, seed by seed.

    Raises:
        InputError: for an option that makes no sense.
    """
    solvers = check(options)
    flow = load(BUILT_IN)
    finest = _finest(options)
    store = Store(options.out / "cache")
    config = json.loads(json.dumps(asdict(options), default=str))
    found: list[Fitted] = []
    timings: dict[str, float] = {}
    with WorkProgress(log, _plan(options), timings) as bar:
        for number in options.seeds:
            with bar.stage(f"teacher, seed {number}"):
                seed = Seed(flow, number, options.pairs, options.samples, finest, store, bar)
            for solver in solvers:
                for nfe in options.nfe:
                    with bar.stage(_stage(number, solver.name, nfe)):
                        found += seed.run(solver, nfe, options.steps, bar)
                    write_results(options.out, config, found, complete=False)
    write_results(options.out, config, found, complete=True)
    command = command_line("benchmarks.experiments.coefficients", Options, config, ("out", "page"))
    content = block(command, config, summarise(found))
    if options.page is not None:
        put_table(options.page, content)
    print(content)
    return 0


def check(options: Options) -> list[Solver]:
    """The solvers that were asked for; makes the output folder.

    Raises:
        InputError: naming the option, what is wrong with it, and the remedy.
    """
    try:
        solvers = [get_solver(name) for name in options.solver]
    except ValueError as error:
        raise mistake("solver", str(error), "choose from these") from error
    for solver in solvers:
        if not solver.multistep:
            raise mistake("solver", f"{solver.name} remembers no earlier step", "give multistep solvers")
        check_nfe("nfe", options.nfe, solver)
    if len(set(options.solver)) < max(1, len(options.solver)):
        raise mistake("solver", f"got {' '.join(options.solver) or 'none'}", "give at least one, and each once")
    if len(set(options.seeds)) < max(1, len(options.seeds)) or min(options.seeds) < 0:
        raise mistake("seeds", f"got {list(options.seeds)}", "give at least one number >= 0, and each once")
    if min(options.pairs) < 1:
        raise mistake("pairs", f"got {options.pairs}", "give at least one to learn from and one to choose by")
    for name, least in (("samples", 2), ("steps", 2)):
        if getattr(options, name) < least:
            raise mistake(name, f"got {getattr(options, name)}", f"give a number >= {least}")
    if options.page is not None:
        check_page("page", options.page, BLOCK)
    prepare_folder(options.out)
    return solvers


def _plan(options: Options) -> dict[str, float]:
    """Stage -> the network evaluations that it takes, at most."""
    plan: dict[str, float] = {}
    for number in options.seeds:
        plan[f"teacher, seed {number}"] = seed_work(options.pairs, options.samples, _finest(options))
        for name in options.solver:
            for nfe in options.nfe:
                plan[_stage(number, name, nfe)] = work(options.pairs, options.samples, options.steps, nfe)
    return plan


def _finest(options: Options) -> int:
    """The most steps that a grid will have."""
    return max(get_solver(name).steps(nfe) for name in options.solver for nfe in options.nfe)


def _stage(number: int, solver: str, nfe: int) -> str:
    return f"{solver}, {nfe} NFE, seed {number}"


if __name__ == "__main__":
    sys.exit(main())
