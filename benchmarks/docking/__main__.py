"""Dock with few network evaluations, at learned and at hand-made times: ``python -m benchmarks.docking --nfe 10``.

The same model and the same starts for all methods: the teacher (the probability-flow ODE with many steps), DiffDock's
20-step SDE and ODE, every hand-made grid, and a grid that is learned here on poses that are not evaluated. Writes to
--out: results.json, poses.jsonl (one row a pose), sdf/, grids/ (the learned grids, for --grid), success_vs_nfe.png and
grids.png.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

import tyro
from rich.console import Console

from benchmarks.common.exits import CANNOT_RUN, run_command
from benchmarks.common.fits import saved_grids
from benchmarks.common.report import sentence, table
from benchmarks.docking.inputs import load
from benchmarks.docking.options import Options, check
from benchmarks.docking.plots import plot_grids, plot_success
from benchmarks.docking.report import Report
from benchmarks.docking.run import run
from domains.docking.networks.weights import load_weights

_PAGE = 132  # characters a line where there is no terminal to ask


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark with the command line's arguments; the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__, prog="python -m benchmarks.docking")
    log = Console(stderr=True, highlight=False, soft_wrap=True)
    less_memory = "dock in a smaller --pocket, or on another --device"
    return run_command(partial(_benchmark, options, log), log, less_memory, options.out)


def _benchmark(options: Options, log: Console) -> int:
    choices = check(options)
    model = load_weights(options.weights)
    score_scale = model.score_scale if options.score_scale is None else options.score_scale
    remedy = "use the --score-scale and --weights that it was learned with"
    saved = saved_grids(options.grid, options.nfe, choices.solver, model.noise_range.clock(score_scale), remedy)
    inputs = load(choices)
    for problem in inputs.problems:
        log.print(f"warning: {problem}", markup=False)
    if not inputs.complexes:
        log.print("error: no complex can be docked", markup=False)
        return CANNOT_RUN
    model.network.to(choices.device)
    report = run(choices, model, inputs, saved, log)
    show(report, log)
    plot_success(options.out / "success_vs_nfe.png", report)
    plot_grids(options.out / "grids.png", report)
    return 0


def show(report: Report, log: Console) -> None:
    """The table and the paired differences on standard output, remarks on standard error."""
    out = Console(highlight=False)
    out = out if out.is_terminal else Console(highlight=False, width=_PAGE)
    out.print(table(report.rows, report.title))
    for pair in report.paired:
        out.print(sentence(pair), markup=False)
    for remark in report.remarks:
        log.print(f"note: {remark}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
