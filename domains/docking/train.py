"""Train a docking model: ``python -m domains.docking.train --data DIR --out DIR``.

Denoising score matching (:mod:`domains.docking.diffusion`) on bound poses. Writes to --out, every few minutes and when
stopped: ``state.pt`` (everything needed to go on: run the same command again), ``weights.safetensors`` (the exponential
moving average of the weights), ``log.jsonl`` (losses by step).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from domains.docking.batch import ComplexBatch, collate
from domains.docking.complexes import Complex, load_folder, load_posebusters
from domains.docking.diffusion import NoiseRange, denoising_losses, perturb
from domains.docking.errors import InputError
from domains.docking.pocket_net import PocketNet, PocketNetConfig
from domains.docking.training_set import SPLITS, BatchSampler, Split, names_in, split
from domains.docking.weights import save_weights


@dataclass(frozen=True)
class TrainConfig:
    """Options of the training run."""

    data: Path
    """folder with NAME/protein.pdb and NAME/ligands.sdf"""
    out: Path
    """where the run lives; an interrupted run found here is continued"""
    steps: int = 30_000
    decay: float = 0.3
    """the learning rate falls linearly to zero over this last part of the steps"""
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    complexes: int = 4
    """complexes a step"""
    poses: int = 8
    """noisy poses per complex and step"""
    ema: float = 0.999
    embedded_weight: float = 4.0
    """how often the four complexes of the posebusters package are drawn, relative to one of --data"""
    pocket_radii: tuple[float, float] = (5.5, 7.5)
    """pockets are cut at a random radius (Å) in this range"""
    shake: float = 0.1
    """standard deviation of the noise on pocket atoms, Å"""
    validation_ligands: Path = SPLITS / "validation_ligands.txt"
    validation_targets: Path = SPLITS / "validation_targets.txt"
    validate_every: int = 1000
    save_minutes: float = 3.0
    sharpness: float = 1.0
    """written into the weights file; chosen by domains.docking.sharpness afterwards"""
    seed: int = 0
    threads: int = 2
    network: PocketNetConfig = field(default_factory=PocketNetConfig)
    noise: NoiseRange = field(default_factory=NoiseRange)


@dataclass
class Run:
    """The mutable state of training."""

    network: PocketNet
    average: PocketNet
    optimiser: torch.optim.AdamW
    generator: torch.Generator
    step: int = 0
    seconds: float = 0.0

    def save(self, config: TrainConfig) -> None:
        """Write state.pt and weights.safetensors, each atomically."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "torch": torch.get_rng_state(),
            "step": self.step,
            "seconds": self.seconds,
        }
        part = config.out / "state.part"
        torch.save(state, part)
        os.replace(part, config.out / "state.pt")
        weights = config.out / "weights.safetensors"
        save_weights(weights, self.average.state_dict(), config.network, config.noise, config.sharpness)

    def restore(self, path: Path) -> None:
        """Continue from a state.pt."""
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch"])
        self.step, self.seconds = state["step"], state["seconds"]


def new_run(config: TrainConfig) -> Run:
    torch.manual_seed(config.seed)
    network = PocketNet(config.network)
    average = PocketNet(config.network).eval().requires_grad_(False)
    average.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    return Run(network, average, optimiser, torch.Generator().manual_seed(config.seed))


def learning_rate(step: int, config: TrainConfig) -> float:
    """Warm up over 500 steps, hold, fall linearly over the last `decay` of the run."""
    warm = min(1.0, (step + 1) / 500)
    left = (config.steps - step) / max(1.0, config.decay * config.steps)
    return config.learning_rate * min(warm, max(left, 0.0), 1.0)


def losses_of(network: PocketNet, batch: ComplexBatch, poses: int, noise: NoiseRange, generator: torch.Generator) -> dict[str, Tensor]:
    """Denoising losses of `poses` noisy poses of each complex of a batch."""
    row = torch.arange(len(batch)).repeat(poses)
    noisy = perturb(batch, row, noise, generator)
    scores = network.score(network.encode(batch), row, noisy.poses.positions, noisy.sigma)
    return denoising_losses(scores, noisy.target, batch.torsion_mask[row])


def train_step(run: Run, sampler: BatchSampler, config: TrainConfig) -> dict[str, float]:
    """One optimiser step; returns the losses."""
    for group in run.optimiser.param_groups:
        group["lr"] = learning_rate(run.step, config)
    run.network.train()
    losses = losses_of(run.network, sampler.draw(run.generator), config.poses, config.noise, run.generator)
    run.optimiser.zero_grad(set_to_none=True)
    torch.stack(list(losses.values())).sum().backward()
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), 5.0)
    run.optimiser.step()
    run.step += 1
    keep = min(config.ema, (1 + run.step) / (10 + run.step))
    with torch.no_grad():
        for mean, value in zip(run.average.parameters(), run.network.parameters(), strict=True):
            mean.lerp_(value, 1 - keep)
    return {k: v.item() for k, v in losses.items()}


@torch.no_grad()
def validation_losses(run: Run, parts: Mapping[str, tuple[ComplexBatch, ...]], config: TrainConfig) -> dict[str, float]:
    """Denoising losses of the averaged weights, the same noise at every call."""
    generator = torch.Generator().manual_seed(12345)
    out = {}
    for name, batches in parts.items():
        rows = [losses_of(run.average, b, 8, config.noise, generator) for b in batches]
        for factor in rows[0]:
            out[f"{name}/{factor}"] = float(torch.stack([r[factor] for r in rows]).mean())
    return out


def batches_of(complexes: Sequence[Complex], size: int = 8) -> tuple[ComplexBatch, ...]:
    """Fixed batches, sorted by size."""
    order = sorted(complexes, key=lambda c: c.ligand.n_atoms)
    return tuple(collate(order[i : i + size]) for i in range(0, len(order), size))


def load_data(config: TrainConfig, console: Console) -> tuple[Split, list[Complex]]:
    """The data folder split by the committed lists, and the four embedded complexes."""
    complexes, problems = load_folder(config.data)
    embedded, more = load_posebusters()
    for problem in [*problems, *more]:
        console.print(f"[yellow]left out[/] {problem}", highlight=False)
    return split(complexes, names_in(config.validation_ligands), names_in(config.validation_targets)), embedded


def train(run: Run, sampler: BatchSampler, validation: Mapping[str, tuple[ComplexBatch, ...]], config: TrainConfig, progress: Progress) -> None:
    """Step until `config.steps`, saving and validating on the way."""
    task = progress.add_task("train", total=config.steps, completed=run.step, losses="")
    started = saved = time.monotonic()
    before = run.seconds
    smooth: dict[str, float] = {}
    with (config.out / "log.jsonl").open("a") as log:
        while run.step < config.steps:
            for factor, value in train_step(run, sampler, config).items():
                smooth[factor] = 0.99 * smooth.get(factor, value) + 0.01 * value
            run.seconds = before + time.monotonic() - started
            progress.update(task, completed=run.step, losses=" ".join(f"{k} {v:.3f}" for k, v in smooth.items()))
            if run.step % config.validate_every == 0 or run.step == config.steps:
                row = {"step": run.step, "seconds": run.seconds, "train": smooth, **validation_losses(run, validation, config)}
                print(json.dumps(row), file=log, flush=True)
            if time.monotonic() - saved > 60 * config.save_minutes:
                run.save(config)
                saved = time.monotonic()


def main(config: TrainConfig) -> None:
    """Train, or go on training."""
    console = Console(stderr=True)
    torch.set_num_threads(config.threads)
    config.out.mkdir(parents=True, exist_ok=True)
    parts, embedded = load_data(config, console)
    counts = f"{len(parts.train)} complexes and {len(embedded)} embedded ones"
    console.print(f"training on {counts}; held out: {len(parts.ligands)} ligands, {len(parts.targets)} complexes of unseen targets")
    run = new_run(config)
    if (config.out / "state.pt").exists():
        run.restore(config.out / "state.pt")
        console.print(f"continuing at step {run.step}")
    (config.out / "config.json").write_text(json.dumps(asdict(config), default=str, indent=1))
    weights = [1.0] * len(parts.train) + [config.embedded_weight] * len(embedded)
    sampler = BatchSampler([*parts.train, *embedded], weights, config.complexes, config.pocket_radii, config.shake)
    validation = {"ligands": batches_of(parts.ligands), "targets": batches_of(parts.targets)}
    columns = (TextColumn("step"), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[losses]}"))
    try:
        with Progress(*columns, console=console) as progress:
            train(run, sampler, validation, config, progress)
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from here")
    finally:
        run.save(config)


if __name__ == "__main__":
    try:
        main(tyro.cli(TrainConfig, description=__doc__))
    except InputError as e:
        raise SystemExit(f"error: {e}") from e
