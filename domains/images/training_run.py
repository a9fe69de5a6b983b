"""One training run: what changes from step to step, the step itself, and how it survives a kill."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from domains.errors import InputError, InputProblem
from domains.images.denoiser import Denoiser
from domains.images.digits import Digits
from domains.images.preconditioning import NoiseDistribution, loss_weight
from domains.images.train_config import TrainConfig
from domains.images.weights import save_weights

_CLIP = 1.0  # largest norm of a step's gradient


@final
@dataclass
class Run:
    """The mutable state of training; `average` is the exponential moving average of `denoiser`, `seconds` CPU time."""

    denoiser: Denoiser
    average: Denoiser
    optimiser: torch.optim.Adam
    generator: torch.Generator
    step: int = 0
    seconds: float = 0.0
    best_loss: float = math.inf

    def save(self, config: TrainConfig) -> None:
        """Write state.pt in `config.out`, atomically."""
        state = {
            "denoiser": self.denoiser.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "torch": torch.get_rng_state(),
            "step": self.step,
            "seconds": self.seconds,
            "best_loss": self.best_loss,
        }
        part = config.out / "state.part"
        torch.save(state, part)
        os.replace(part, config.out / "state.pt")

    def keep_if_best(self, loss: float, config: TrainConfig) -> None:
        """Write weights.safetensors in `config.out` if no average had a lower validation loss."""
        if loss < self.best_loss:
            self.best_loss = loss
            save_weights(config.out / "weights.safetensors", self.average, {"step": self.step, "loss": loss})

    def restore(self, path: Path) -> None:
        """Continue from a state.pt.

        Raises:
            InputError: if the file is damaged or belongs to another network.
        """
        try:
            state = torch.load(path, weights_only=True)
            self.denoiser.load_state_dict(state["denoiser"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
        except Exception as error:  # torch raises whatever its readers raise
            message = f"the run cannot be continued ({type(error).__name__}: {str(error).splitlines()[0]})"
            remedy = "give the options that it was started with, or another --out"
            raise InputError(InputProblem(str(path), "", message, remedy)) from error
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch"])  # dropout has no generator of its own
        self.step, self.seconds, self.best_loss = state["step"], state["seconds"], state["best_loss"]


def new_run(config: TrainConfig, sigma_data: float) -> Run:
    """A run at step 0; the initial weights, the draws and the dropout depend on `config.seed` alone."""
    torch.manual_seed(config.seed)
    denoiser = Denoiser(config.network, sigma_data)
    average = Denoiser(config.network, sigma_data).eval().requires_grad_(False)
    average.load_state_dict(denoiser.state_dict())
    optimiser = torch.optim.Adam(denoiser.parameters(), lr=config.learning_rate, betas=(0.9, 0.99))
    return Run(denoiser, average, optimiser, torch.Generator().manual_seed(config.seed))


def learning_rate(step: int, config: TrainConfig) -> float:
    """Warm up, hold, fall linearly to zero over the last `config.decay` of the run."""
    warm = min(1.0, (step + 1) / config.warm_up)
    left = (config.steps - step) / max(1.0, config.decay * config.steps)
    return config.learning_rate * min(warm, max(left, 0.0), 1.0)


def denoising_loss(
    denoiser: Denoiser, clean: Tensor, label: Tensor, noise: NoiseDistribution, generator: torch.Generator
) -> Tensor:
    """EDM's loss, arXiv 2206.00364 eq. 8: the weighted mean squared error, at one random noise level an image."""
    sigma = noise.draw(len(clean), generator)
    z = torch.randn(clean.shape, generator=generator)
    denoised = denoiser(clean + sigma[:, None, None, None] * z, sigma, label)
    error = (denoised - clean).square().flatten(1).mean(1)
    return (loss_weight(sigma, denoiser.sigma_data) * error).mean()


def train_step(run: Run, data: Digits, config: TrainConfig) -> float:
    """One step of the optimiser on a random batch; returns its loss.

    Raises:
        FloatingPointError: if the gradient is not finite; the weights are as they were.
    """
    for group in run.optimiser.param_groups:
        group["lr"] = learning_rate(run.step, config)
    run.denoiser.train()
    rows = torch.randint(len(data), (config.batch,), generator=run.generator)
    forget = torch.rand(config.batch, generator=run.generator) < config.class_dropout
    label = torch.where(forget, run.denoiser.no_class, data.label[rows])
    loss = denoising_loss(run.denoiser, data.pixels(run.generator, rows), label, config.noise, run.generator)
    run.optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    norm = torch.nn.utils.clip_grad_norm_(run.denoiser.parameters(), _CLIP)
    if not torch.isfinite(norm):
        raise FloatingPointError(f"the gradient of step {run.step} is not finite; try a lower learning_rate")
    run.optimiser.step()
    run.step += 1
    keep = min(config.ema, (1 + run.step) / (10 + run.step))
    with torch.no_grad():
        for mean, value in zip(run.average.parameters(), run.denoiser.parameters(), strict=True):
            mean.lerp_(value, 1 - keep)
    return loss.item()
