"""One training run: what changes from step to step, the step itself, and how it survives a kill."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from domains.docking.batch import ComplexBatch
from domains.docking.diffusion import NoiseRange, denoising_losses, perturb
from domains.docking.networks import build
from domains.docking.score import ScoreNetwork
from domains.docking.train_config import TrainConfig
from domains.docking.weights import save_weights
from domains.errors import InputError, InputProblem

_CLIP = 5.0  # largest norm of a step's gradient


@final
@dataclass
class Run:
    """The mutable state of training; `average` is the exponential moving average of `network`."""

    network: ScoreNetwork[Any]
    average: ScoreNetwork[Any]
    optimiser: torch.optim.AdamW
    generator: torch.Generator
    step: int = 0
    seconds: float = 0.0

    def save(self, config: TrainConfig) -> None:
        """Write state.pt and weights.safetensors in `config.out`, each atomically."""
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
        save_weights(weights, self.average.state_dict(), config.sizes, config.noise, config.sharpness)

    def restore(self, path: Path) -> None:
        """Continue from a state.pt.

        Raises:
            InputError: if the file is damaged or belongs to another network.
        """
        try:
            state = torch.load(path, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
        except Exception as error:  # torch raises whatever its readers raise
            message = f"the run cannot be continued ({type(error).__name__}: {str(error).splitlines()[0]})"
            remedy = "give the options that it was started with, or another --out"
            raise InputError(InputProblem(str(path), "", message, remedy)) from error
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch"])  # dropout has no generator of its own
        self.step, self.seconds = state["step"], state["seconds"]


def new_run(config: TrainConfig) -> Run:
    """A run at step 0; the initial weights, the draws and the dropout depend on `config.seed` alone."""
    torch.manual_seed(config.seed)
    network = build(config.sizes)
    average = build(config.sizes)
    average.eval().requires_grad_(False)
    average.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    return Run(network, average, optimiser, torch.Generator().manual_seed(config.seed))


def learning_rate(step: int, config: TrainConfig) -> float:
    """Warm up over `config.warm_up` steps, hold, fall linearly to zero over the last `config.decay` of the run."""
    warm = min(1.0, (step + 1) / config.warm_up)
    left = (config.steps - step) / max(1.0, config.decay * config.steps)
    return config.learning_rate * min(warm, max(left, 0.0), 1.0)


def losses_of(
    network: ScoreNetwork[Any], batch: ComplexBatch, poses: int, noise: NoiseRange, generator: torch.Generator
) -> dict[str, Tensor]:
    """Denoising losses, by factor, of `poses` noisy poses of each complex of a batch."""
    row = torch.arange(len(batch)).repeat(poses)
    noisy = perturb(batch, row, noise, generator)
    scores = network.score(network.encode(batch), row, noisy.poses.positions, noisy.sigma)
    return denoising_losses(scores, noisy.target, batch.torsion_mask[row])


def train_step(run: Run, batch: ComplexBatch, config: TrainConfig) -> dict[str, float]:
    """One step of the optimiser on the sum of the losses, which are returned.

    Raises:
        FloatingPointError: if the gradient is not finite; the weights are as they were.
    """
    for group in run.optimiser.param_groups:
        group["lr"] = learning_rate(run.step, config)
    run.network.train()
    losses = losses_of(run.network, batch, config.poses, config.noise, run.generator)
    run.optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(torch.stack(list(losses.values())).sum())
    norm = torch.nn.utils.clip_grad_norm_(run.network.parameters(), _CLIP)
    if not torch.isfinite(norm):
        raise FloatingPointError(f"the gradient of step {run.step} is not finite, with {', '.join(batch.names)}")
    run.optimiser.step()
    run.step += 1
    keep = min(config.ema, (1 + run.step) / (10 + run.step))
    with torch.no_grad():
        for mean, value in zip(run.average.parameters(), run.network.parameters(), strict=True):
            mean.lerp_(value, 1 - keep)
    return {factor: loss.item() for factor, loss in losses.items()}
