"""A training run that ends when it has used a given CPU time, whatever the network costs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from rich.console import Console

from domains.docking.train import ValidationSet, validation_losses
from domains.docking.training.config import TrainConfig
from domains.docking.training.data import BatchSampler
from domains.docking.training.run import Run, new_run, train_step
from domains.long_runs import append_row, forget_after
from domains.training import prepare_output

_CHECKS: Final = 4  # measurements of the held-out losses, evenly spread over the budget
_UNKNOWN: Final = 10**9  # steps, while no step has been timed


def train_for(
    budget: float,
    config: TrainConfig,
    sampler: BatchSampler,
    held: Mapping[str, ValidationSet],
    stop: Callable[[], bool],
    console: Console,
) -> Run:
    """Train until `budget` CPU seconds are used, or until `stop` says so after a step.

    Counted are the steps with the drawing of their batches, by the process' own clock, so that what else the machine
    does costs nothing; losses of the held-out complexes and saving are not. The learning rate falls by the share of the
    budget that is left, as it does in :mod:`domains.docking.train` by the share of the steps. `run.seconds` are CPU
    seconds here. A run found in `config.out` is continued.
    """
    run = new_run(config)
    log = config.out / "log.jsonl"
    if (config.out / "state.pt").exists():
        run.restore(config.out / "state.pt")
        forget_after(log, run.step)
    prepare_output(config.out, config)
    saved = time.monotonic()
    while run.seconds < budget and not stop():
        before, began = run.seconds, time.process_time()
        plan = replace(config, steps=planned_steps(run, budget))
        losses = train_step(run, sampler.draw(run.generator), plan)
        run.seconds += time.process_time() - began
        if run.seconds >= budget or share(run.seconds, budget) > share(before, budget):
            found = validation_losses(run, held, config)
            append_row(log, {"step": run.step, "cpu_seconds": run.seconds, "train": losses, **found})
            said = " ".join(f"{name} {value:.3f}" for name, value in found.items())
            console.print(f"{config.network}: step {run.step}, {run.seconds:.0f} of {budget:.0f} CPU s; {said}")
        if time.monotonic() - saved > 60 * config.save_minutes:
            run.save(config)
            saved = time.monotonic()
    run.save(config)
    return run


def planned_steps(run: Run, budget: float) -> int:
    """How many steps the run will have made when its budget is used, at the speed so far; more than now."""
    if not run.seconds:
        return _UNKNOWN
    return max(run.step + 1, round(run.step * budget / run.seconds))


def share(seconds: float, budget: float) -> int:
    """How many of the measurements of the held-out losses are due."""
    return int(_CHECKS * seconds / budget)


def curve(config: TrainConfig) -> Sequence[Mapping[str, object]]:
    """Held-out losses by CPU seconds, as :func:`train_for` has logged them."""
    return [json.loads(row) for row in (config.out / "log.jsonl").read_text().splitlines()]
