"""Train a docking model: ``python -m domains.docking.train --data DIR --out DIR``.

Denoising score matching (:mod:`domains.docking.poses.diffusion`) on bound poses. Writes to --out, every few minutes
and when stopped:
``state.pt`` (everything needed to go on: run the same command again), ``weights.safetensors`` (the exponential
moving average of the weights), ``log.jsonl`` (losses by step, and success rates of redocking).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import final

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from domains.docking.engine import dock, hand_made_sampler
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.metrics import success
from domains.docking.structures.batch import ComplexBatch, collate
from domains.docking.structures.complexes import Complex, load_folder, load_posebusters
from domains.docking.training.config import TrainConfig
from domains.docking.training.data import BatchSampler, Split, names_in, split
from domains.docking.training.run import Run, losses_of, new_run, train_step
from domains.errors import InputError, InputProblem
from domains.long_runs import append_row, forget_after, stop_on_signals
from domains.training import prepare_output

_VALIDATION_SEED = 12345  # the same noise at every validation, so that its losses can be compared
_VALIDATION_POSES = 8
_DOCKING_STEPS = 20


@final
@dataclass(frozen=True)
class Held:
    """Complexes held out under one name, also in fixed batches of similar size."""

    complexes: tuple[Complex, ...]
    batches: tuple[ComplexBatch, ...]

    @staticmethod
    def of(complexes: Sequence[Complex], size: int = 8) -> Held:
        order = sorted(complexes, key=lambda c: c.ligand.n_atoms)
        return Held(tuple(order), tuple(collate(order[i : i + size]) for i in range(0, len(order), size)))


def load_data(config: TrainConfig, console: Console) -> tuple[Split, list[Complex]]:
    """The data folder split by the committed lists, and the four embedded complexes.

    Raises:
        InputError: if there is nothing to train on in the folder.
    """
    complexes, problems = load_folder(config.data)
    parts = split(complexes, names_in(config.validation_ligands), names_in(config.validation_targets))
    if not parts.train:
        message = "every complex in it belongs to the validation split"
        raise InputError(problems[0] if problems else InputProblem(str(config.data), "", message, "add others"))
    embedded, more = load_posebusters()
    for problem in [*problems, *more]:
        console.print(f"[yellow]left out[/] {problem}", highlight=False)
    return parts, embedded


@torch.no_grad()
def validation_losses(run: Run, held: Mapping[str, Held], config: TrainConfig) -> dict[str, float]:
    """Denoising losses of the averaged weights, "split/factor" -> mean over batches."""
    generator = torch.Generator().manual_seed(_VALIDATION_SEED)
    out = {}
    for name, part in held.items():
        rows = [losses_of(run.average, batch, _VALIDATION_POSES, config.noise, generator) for batch in part.batches]
        for factor in rows[0]:
            out[f"{name}/{factor}"] = float(torch.stack([row[factor] for row in rows]).mean())
    return out


def docking_success(run: Run, held: Mapping[str, Held], config: TrainConfig) -> dict[str, float]:
    """Fraction of poses within 2 Å by the ODE of the averaged weights, "split/success_2A" -> rate."""
    model = DockingModel(run.average, config.noise, config.dock_score_scale)
    sampler = hand_made_sampler("edm", "dpmpp_2m", _DOCKING_STEPS)
    out = {}
    for name, part in held.items():
        rmsd = dock(model, part.complexes, sampler, samples=1, seed=_VALIDATION_SEED).rmsd()
        out[f"{name}/success_2A"] = float(success(np.concatenate(list(rmsd.values())), 2.0).mean())
    return out


def train(
    run: Run,
    sampler: BatchSampler,
    held: Mapping[str, Held],
    config: TrainConfig,
    progress: Progress,
    stop: Callable[[], bool],
) -> None:
    """Step until `config.steps`, or until `stop` says so after a step; validate and save on the way and at the end."""
    task = progress.add_task("train", total=config.steps, completed=run.step, losses="")
    started = saved = time.monotonic()
    before = run.seconds
    smooth: dict[str, float] = {}
    while run.step < config.steps and not stop():
        for factor, value in train_step(run, sampler.draw(run.generator), config).items():
            smooth[factor] = 0.99 * smooth.get(factor, value) + 0.01 * value
        run.seconds = before + time.monotonic() - started
        progress.update(task, completed=run.step, losses=" ".join(f"{k} {v:.3f}" for k, v in smooth.items()))
        row: dict[str, object] = {"step": run.step, "seconds": run.seconds, "train": smooth}
        if due := run.step % config.validate_every == 0 or run.step == config.steps:
            row |= validation_losses(run, held, config)
        if run.step % config.dock_every == 0 or run.step == config.steps:
            row |= docking_success(run, held, config)
            due = True
        if due:
            append_row(config.out / "log.jsonl", row)
        if time.monotonic() - saved > 60 * config.save_minutes:
            run.save(config)
            saved = time.monotonic()
    run.save(config)


def main(config: TrainConfig, stop: Callable[[], bool]) -> None:
    """Train, or go on training, until the end or until `stop` says so after a step; then save.

    Raises:
        InputError: for what the user can mend.
    """
    console = Console(stderr=True)
    torch.set_num_threads(config.threads)
    run = new_run(config)
    if (config.out / "state.pt").exists():
        run.restore(config.out / "state.pt")
        forget_after(config.out / "log.jsonl", run.step)
        console.print(f"going on at step {run.step}")
    prepare_output(config.out, asdict(config))
    parts, embedded = load_data(config, console)
    counts = f"{len(parts.train)} complexes and {len(embedded)} embedded ones"
    console.print(
        f"training on {counts}; held out: {len(parts.ligands)} ligands, {len(parts.targets)} of unseen targets"
    )
    weights = [1.0] * len(parts.train) + [config.embedded_weight] * len(embedded)
    sampler = BatchSampler([*parts.train, *embedded], weights, config.complexes, config.pocket_radii, config.shake)
    held = {name: Held.of(part) for name, part in (("ligands", parts.ligands), ("targets", parts.targets)) if part}
    columns = (TextColumn("step"), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[losses]}"), console=console) as progress:
        train(run, sampler, held, config, progress, stop)
    if run.step < config.steps:
        console.print(f"stopped at step {run.step}; the same command goes on from here")


def cli(arguments: Sequence[str] | None = None) -> None:
    """The command line; exits with status 2 and one line for a mistake of the user, with 1 if training diverges."""
    config = tyro.cli(TrainConfig, description=__doc__, args=arguments)
    try:
        main(config, stop_on_signals())
    except (InputError, FloatingPointError) as error:
        Console(stderr=True).print(f"error: {error}", highlight=False, markup=False, soft_wrap=True)
        raise SystemExit(2 if isinstance(error, InputError) else 1) from None


if __name__ == "__main__":
    cli()
