"""Make images with few network evaluations, at learned and at hand-made times: ``python -m benchmarks.images --nfe 5``.

The same model and the same starts for all methods: the teacher (the probability-flow ODE with many steps), every
hand-made grid, GITS, Align Your Steps where it is published for the model, and a grid that is learned here on teacher
pairs that are not evaluated. Writes to --out: results.json, grids/ (the learned grids, for --grid),
distance_vs_nfe.png, grids.png and samples.png.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import tyro
from rich.console import Console

from benchmarks.common.grids import saved_grids
from benchmarks.common.tables import console
from benchmarks.images.options import Options, check
from benchmarks.images.plots import plot_distances, plot_grids, plot_samples
from benchmarks.images.run import run
from benchmarks.images.summary import caption, search, sentence, table
from domains.exits import run_command
from domains.images.conditioned import ConditionedFlow
from domains.images.models.load import load
from ld3.learn import other_flows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark with the command line's arguments; the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__, prog="python -m benchmarks.images")
    log = Console(stderr=True, highlight=False, soft_wrap=True)
    return run_command(partial(_benchmark, options, log), log, "lower --batch, or give --checkpoint", options.out)


def _benchmark(options: Options, log: Console) -> int:
    choices = check(options)
    flow = load(options.model, choices.model_options)
    remedy = "use the --model that it was learned with"
    saved = saved_grids(options.grid, options.nfe, choices.solver, flow.clock, remedy)
    _name_other_teachers(options.out / "cache" / "teacher", flow, log)
    report = run(choices, flow, saved, log)
    out, distance = console(), flow.measure.name
    out.print(table(report.rows).terminal(report.title, caption(distance)))
    for pair in report.paired:
        out.print(sentence(pair, distance), markup=False)
    for baseline in report.baselines:
        if baseline.network_evaluations:
            out.print(search(baseline.name, baseline.network_evaluations), markup=False)
    for remark in report.remarks:
        log.print(f"note: {remark}", markup=False)
    plot_distances(options.out / "distance_vs_nfe.png", report)
    plot_grids(options.out / "grids.png", report)
    plot_samples(options.out / "samples.png", report)
    return 0


def _name_other_teachers(folder: Path, flow: ConditionedFlow, log: Console) -> None:
    if others := other_flows(folder, flow):
        whose = "another model, or of this one with other labels, prompts or guidance"
        hashes = f"hash {', '.join(others)}; this one's is {flow.fingerprint()}"
        log.print(f"note: {folder} holds a teacher of {whose} ({hashes}): it is kept and not used", markup=False)


if __name__ == "__main__":
    sys.exit(main())
