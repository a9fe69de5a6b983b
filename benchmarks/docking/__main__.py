"""Dock with few network evaluations: ``python -m benchmarks.docking --nfe 10``.

The same model and the same starts for all methods: the teacher (the probability-flow ODE with many steps), DiffDock's
20-step SDE and ODE as published and at the model's score scale, the few-step grids that are shipped with the model, and
every hand-made grid; with --fit also grids that are fitted here, on poses that are not evaluated. Writes to --out:
results.json, poses.jsonl (one row a pose), sdf/, grids/ (the fitted grids, for --grid), success_vs_nfe.png, grids.png.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import tyro
from rich.console import Console

from benchmarks.common.grids import saved_grids
from benchmarks.common.tables import console
from benchmarks.docking.first import FIRST_CAPTION, first_table
from benchmarks.docking.inputs import SPLIT_MEANS, load
from benchmarks.docking.options import Options, check
from benchmarks.docking.plots import plot_grids, plot_success
from benchmarks.docking.run import run
from benchmarks.docking.table import CAPTION, sentences, table
from domains import docking
from domains.docking.structures.remarks import print_reading
from domains.exits import CANNOT_RUN, run_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark with the command line's arguments; the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__, prog="python -m benchmarks.docking")
    log = Console(stderr=True, highlight=False, soft_wrap=True)
    less_memory = "dock in a smaller --pocket, or on another --device"
    return run_command(partial(_benchmark, options, log), log, less_memory, options.out)


def _benchmark(options: Options, log: Console) -> int:
    choices = check(options)
    options = choices.options
    model = docking.load_model(options.weights, options.device, precision=options.precision)
    if options.score_scale is not None:
        model = replace(model, score_scale=options.score_scale)
    remedy = "use the --score-scale and --weights that it was learned with"
    clock = model.noise_range.clock(model.score_scale)
    saved = saved_grids(options.grid, options.nfe, choices.solver, clock, remedy)
    inputs = load(options, model)
    print_reading(inputs.complexes, inputs.problems, log)
    if not inputs.complexes:
        log.print("error: no complex can be docked", markup=False)
        return CANNOT_RUN
    report = run(choices, model, inputs, saved, log)
    out = console()
    out.print(table(report.rows).terminal(report.title, CAPTION))
    if report.first:
        out.print(first_table(report.first).terminal("First poses", FIRST_CAPTION))
    out.print(f"{inputs.split}: {SPLIT_MEANS[inputs.split]}", markup=False)
    for sentence in sentences(report.paired):
        out.print(sentence, markup=False)
    for remark in report.remarks:
        log.print(f"note: {remark}", markup=False)
    plot_success(options.out / "success_vs_nfe.png", report)
    plot_grids(options.out / "grids.png", report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
