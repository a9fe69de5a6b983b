"""Train each docking network for equal CPU time: ``python -m benchmarks.experiments.networks --data DIR``.

One after the other, from scratch, on the same complexes in the same order, with the same seed. Reported are what an
evaluation costs, the denoising losses of held-out complexes, and how often the held-out ligands are docked. Writes to
--out: results.json, and the runs with their weights; an interrupted comparison goes on. With --page, the table is put
into a Markdown page.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import tyro
from rich.console import Console

from benchmarks.common import manifest
from benchmarks.common.store import Store, write_text
from benchmarks.experiments.networks_options import Options, check, config_of, halves, sampler_of
from benchmarks.experiments.networks_page import put_table
from benchmarks.experiments.networks_rows import Difference, NetworkRow, difference, milliseconds, redock, row_of
from benchmarks.experiments.networks_training import curve, train_for
from domains.docking.engine import DockedPoses
from domains.docking.networks.registry import NetworkName
from domains.docking.networks.weights import DockingModel
from domains.docking.score_scale import best_of
from domains.docking.structures.complexes import Complex
from domains.docking.train import ValidationSet, load_data, validation_sets
from domains.docking.training.config import TrainConfig
from domains.docking.training.run import Run
from domains.errors import InputError
from domains.long_runs import stop_on_signals

SCHEMA = "ld3.docking.networks"
CANNOT_RUN, INTERRUPTED = 2, 130

_PACKAGES = ("torch", "torch-geometric", "e3nn", "rdkit", "gemmi", "numpy", "scipy")


@dataclass(frozen=True)
class Trained:
    """A network at the end of its training."""

    name: NetworkName
    run: Run
    config: TrainConfig


def compare(options: Options, stop: Callable[[], bool], console: Console) -> bool:
    """Train, measure and write; False if `stop` came first.

    Raises:
        InputError: for what the user can mend.
        FloatingPointError: if a training run diverges.
    """
    check(options)
    torch.set_num_threads(1)
    config = config_of(options, options.networks[0])
    parts, embedded = load_data(config, console)
    chosen_on, reported = halves(parts.ligands, options)
    held = validation_sets(parts)
    trained = []
    for name in options.networks:
        config = config_of(options, name)
        run = train_for(60 * options.minutes, config, sampler_of(parts, embedded, config), held, stop, console)
        if stop():
            return False
        trained.append(Trained(name, run, config))
    store = Store(options.out / "cache")
    rows, results = [], []
    for done in trained:
        row, result = measure(done, chosen_on, reported, held["ligands"], options, store)
        console.print(f"{done.name}: {row.best.success_2A:.0%} within 2 Å at score scale {row.chosen:g}")
        rows.append(row)
        results.append(result)
    pairs = [
        difference(rows[0].network, results[0].rmsd(), row.network, result.rmsd(), options.seed)
        for row, result in zip(rows[1:], results[1:], strict=True)
    ]
    write(options, trained, rows, pairs, [c.name for c in chosen_on], [c.name for c in reported])
    return True


def measure(
    trained: Trained,
    chosen_on: Sequence[Complex],
    reported: Sequence[Complex],
    held: ValidationSet,
    options: Options,
    store: Store,
) -> tuple[NetworkRow, DockedPoses]:
    """Everything that is reported of a network, and its poses at the chosen score_scale."""
    run, seed = trained.run, options.seed
    model = DockingModel(run.average, trained.config.noise, 1.0)

    def docked(complexes: Sequence[Complex], c: float) -> DockedPoses:
        return redock(model, complexes, c, options.nfe, options.poses, seed, store)

    choice = [row_of(trained.name, docked(chosen_on, c), seed) for c in options.score_scale]
    chosen = best_of(choice).score_scale
    result = docked(reported, chosen)
    best = row_of(trained.name, result, seed)
    score_ms, encode_ms = milliseconds(run.average, held, trained.config.noise, seed)
    last = curve(trained.config)[-1]
    row = NetworkRow(
        network=trained.name,
        parameters=sum(p.numel() for p in run.average.parameters()),
        steps=run.step,
        training_seconds=run.seconds,
        ms_per_evaluation=score_ms,
        ms_per_encoding=encode_ms,
        losses={name: float(str(value)) for name, value in last.items() if "/" in name},
        chosen=chosen,
        choice=choice,
        best=best,
        plain=row_of(trained.name, docked(reported, 1.0), seed),
        hits_per_cpu_hour=best.success_2A * 3.6e6 / (options.nfe * score_ms),
    )
    return row, result


def write(
    options: Options,
    trained: Sequence[Trained],
    rows: Sequence[NetworkRow],
    pairs: Sequence[Difference],
    chosen_on: Sequence[str],
    reported: Sequence[str],
) -> None:
    """results.json, and the page if one was named."""
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "version": 1,
        "config": asdict(options),
        "networks": {done.name: asdict(done.config.sizes) for done in trained},
        "rows": [asdict(row) for row in rows],
        "differences": [asdict(pair) for pair in pairs],
        "curves": {done.name: curve(done.config) for done in trained},
        "chosen_on": chosen_on,
        "reported": reported,
        "versions": manifest.versions(_PACKAGES),
        "commit": manifest.commit(),
        "machine": manifest.machine(torch.device("cpu")),
    }
    # JSON has no infinity, which the median of poses that failed may be.
    content = json.loads(json.dumps(content, default=str), parse_constant=lambda _: None)
    write_text(options.out / "results.json", json.dumps(content, indent=2, allow_nan=False))
    if options.page is not None:
        put_table(options.page, content)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison with the command line's arguments; the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__, prog="python -m benchmarks.experiments.networks")
    log = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        if compare(options, stop_on_signals(), log):
            return 0
    except (InputError, FloatingPointError) as error:
        log.print(f"error: {error}", markup=False)
        return CANNOT_RUN if isinstance(error, InputError) else 1
    log.print(f"stopped; the same command goes on from here ({options.out})", markup=False)
    return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
