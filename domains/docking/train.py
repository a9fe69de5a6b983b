"""Train a docking model: ``python -m domains.docking.train --config FILE.yaml --data DIR --out DIR``.

Denoising score matching (:mod:`domains.docking.poses.diffusion`) on bound poses. --config names a YAML file of settings
(domains/docking/weights/demo.yaml has those of the demo model); options on the command line come before it. Writes to
--out, every few minutes and when stopped: ``state.pt`` (everything needed to go on: run the same command again),
``weights.safetensors`` (the exponential moving average of the weights), ``log.jsonl`` (losses by step, and success
rates of redocking), ``config.yaml`` (all settings), ``remarks.txt`` (what was left out or changed in reading) and
``weights.proteins.npz`` (the proteins that were trained on, so that docking can say whether another one is new).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from rich.console import Console

from domains.docking.engine import dock
from domains.docking.networks.shipped import find_weights
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.metrics import success
from domains.docking.samplers import hand_made_sampler
from domains.docking.structures.batch import ComplexBatch, collate
from domains.docking.structures.complexes import Complex, read
from domains.docking.structures.remarks import print_reading
from domains.docking.training.clusters import Clusters
from domains.docking.training.config import TrainConfig
from domains.docking.training.conformers import matched_conformers
from domains.docking.training.data import BatchSampler, Split, cluster_weights, read_split
from domains.docking.training.examples import examples, noisy_example
from domains.docking.training.known_proteins import known_of, proteins_path, read_known
from domains.docking.training.run import Run, losses_of, new_run, train_step
from domains.errors import InputError, InputProblem
from domains.long_runs import append_row, forget_after, stop_on_signals
from domains.progress import WorkProgress
from domains.training import prepare_output, read_settings

_VALIDATION_SEED = 12345  # the same noise at every validation, so that its losses can be compared
_VALIDATION_POSES = 8
_DOCKING_STEPS = 20


@final
@dataclass(frozen=True)
class ValidationSet:
    """Complexes that are not trained on, also in fixed batches of similar size."""

    complexes: tuple[Complex, ...]
    batches: tuple[ComplexBatch, ...]

    @staticmethod
    def of(complexes: Sequence[Complex], size: int = 8) -> ValidationSet:
        order = sorted(complexes, key=lambda c: c.ligand.n_atoms)
        return ValidationSet(tuple(order), tuple(collate(order[i : i + size]) for i in range(0, len(order), size)))


def validation_sets(parts: Split) -> dict[str, ValidationSet]:
    """ "ligands" and "targets" (:class:`Split`), without those that are empty."""
    named = {"ligands": parts.ligands, "targets": parts.targets}
    return {name: ValidationSet.of(part) for name, part in named.items() if part}


def load_data(config: TrainConfig) -> tuple[Split, list[Complex], list[InputProblem]]:
    """The data folders split by the committed lists, the four embedded complexes, and what cannot be used.

    Raises:
        InputError: if there is nothing to train on in the folder.
    """
    parts, problems = read_split(config.data, config.validation_ligands, config.validation_targets, config.clusters)
    if not parts.train:
        message = "every complex in it belongs to the validation split"
        raise InputError(InputProblem(", ".join(map(str, config.data)), "", message, "add others"))
    embedded, more = read()
    return parts, embedded, [*problems, *more]


@torch.no_grad()
def validation_losses(run: Run, validation: Mapping[str, ValidationSet], config: TrainConfig) -> dict[str, float]:
    """Denoising losses of the averaged weights, "split/factor" -> mean over batches."""
    generator = torch.Generator().manual_seed(_VALIDATION_SEED)
    out = {}
    for name, part in validation.items():
        drawn = [noisy_example(batch, _VALIDATION_POSES, config.noise, generator) for batch in part.batches]
        rows = [losses_of(run.average, example) for example in drawn]
        for factor in rows[0]:
            out[f"{name}/{factor}"] = float(torch.stack([row[factor] for row in rows]).mean())
    return out


def docking_success(run: Run, validation: Mapping[str, ValidationSet], config: TrainConfig) -> dict[str, float]:
    """Fraction of poses within 2 Å by the ODE of the averaged weights, "split/success_2A" -> rate."""
    model = DockingModel(run.average, config.noise, config.dock_score_scale)
    sampler = hand_made_sampler("edm", "dpmpp_2m", _DOCKING_STEPS)
    out = {}
    for name, part in validation.items():
        rmsd = dock(model, part.complexes, sampler, samples=1, seed=_VALIDATION_SEED).rmsd()
        out[f"{name}/success_2A"] = float(success(np.concatenate(list(rmsd.values())), 2.0).mean())
    return out


def train(
    run: Run,
    sampler: BatchSampler,
    validation: Mapping[str, ValidationSet],
    config: TrainConfig,
    progress: WorkProgress,
    stop: Callable[[], bool],
) -> None:
    """Step until `config.steps`, or until `stop` says so after a step; validate and save on the way and at the end."""
    progress.advance(run.step)
    started = saved = time.monotonic()
    before = run.seconds
    smooth: dict[str, float] = {}
    for example in examples(sampler, config, run.step):
        if stop():
            break
        for factor, value in train_step(run, example, config).items():
            smooth[factor] = 0.99 * smooth.get(factor, value) + 0.01 * value
        run.seconds = before + time.monotonic() - started
        progress.note(" ".join(f"{k} {v:.3f}" for k, v in smooth.items()))
        progress.evaluated(1)
        row: dict[str, object] = {"step": run.step, "seconds": run.seconds, "train": smooth}
        last = run.step == config.steps
        if validate := last or run.step % config.validate_every == 0:
            row |= validation_losses(run, validation, config)
        if redock := last or run.step % config.dock_every == 0:
            row |= docking_success(run, validation, config)
        if validate or redock:
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
    parts, embedded, problems = load_data(config)
    run = new_run(config)
    if config.start is not None:
        run.start_from(config.start)
    if (config.out / "state.pt").exists():
        run.restore(config.out / "state.pt")
        forget_after(config.out / "log.jsonl", run.step)
        console.print(f"going on at step {run.step}")
    prepare_output(config.out, config)
    print_reading([*parts.all, *embedded], problems, console, keep=config.out / "remarks.txt")
    console.print(str(parts))
    _write_known(config, [*parts.train, *(embedded if config.embedded_weight else ())], parts.clusters)
    weights = cluster_weights(parts.train, parts.clusters, config.balance)
    if config.embedded_weight:
        console.print(f"trained on as well: {', '.join(c.name for c in embedded)}")
        weights += [config.embedded_weight] * len(embedded)
    complexes = [*parts.train, *embedded][: len(weights)]
    stages = {"conformers": float(len(complexes))} if config.conformer_share else {}
    with WorkProgress(console, stages | {"train": float(config.steps)}, unit="steps") as progress:
        conformers = {}
        if stages:
            with progress.stage("conformers"):
                conformers = matched_conformers(complexes, config.seed, config.out, progress.evaluated)
        shares = {"pseudo_share": config.pseudo_share, "conformer_share": config.conformer_share}
        sampler = BatchSampler(complexes, weights, config.complexes, config.pockets, conformers=conformers, **shares)
        with progress.stage("train"):
            train(run, sampler, validation_sets(parts), config, progress, stop)
    if run.step < config.steps:
        console.print(f"stopped at step {run.step}; the same command goes on from here")


def _write_known(config: TrainConfig, complexes: Sequence[Complex], clusters: Clusters) -> None:
    """The proteins that these weights, and those that they start from, were trained on, beside them.

    Of a start that nobody knows the proteins of, nothing is said.
    """
    known = known_of(((c.name, c.protein) for c in complexes), clusters)
    if config.start is not None:
        before = read_known(find_weights(config.start))
        if before is None:
            return
        known = before.and_others(known)
    known.save(proteins_path(config.out / "weights.safetensors"))


def cli(arguments: Sequence[str] | None = None) -> None:
    """The command line; exits with status 2 and one line for a mistake of the user, with 1 if training diverges."""
    try:
        main(read_settings(TrainConfig, "domains.docking.train", __doc__, arguments), stop_on_signals())
    except (InputError, ValueError, FloatingPointError) as error:
        Console(stderr=True).print(f"error: {error}", highlight=False, markup=False, soft_wrap=True)
        raise SystemExit(1 if isinstance(error, FloatingPointError) else 2) from None


if __name__ == "__main__":
    cli()
