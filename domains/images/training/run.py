"""A training run of the digits model: its state, one step of it, saving and going on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from domains.images.models.denoiser import Denoiser
from domains.images.models.digits import Digits
from domains.images.models.preconditioning import NoiseDistribution, loss_weight
from domains.images.models.unet import UNet
from domains.images.models.weights import save_weights
from domains.images.training.config import TrainConfig
from domains.training import Part, descend, follow, learning_rate, load_state, save_state

_CLIP = 1.0  # largest norm of a step's gradient


@final
@dataclass
class Run:
    """The mutable state of training; `average` is the exponential moving average of `denoiser`, `seconds` CPU time."""

    denoiser: Denoiser[UNet]
    average: Denoiser[UNet]
    optimiser: torch.optim.Adam
    generator: torch.Generator
    step: int = 0
    seconds: float = 0.0
    best_loss: float = math.inf

    def save(self, config: TrainConfig) -> None:
        """Write state.pt in `config.out`, atomically."""
        numbers = {"step": self.step, "seconds": self.seconds, "best_loss": self.best_loss}
        save_state(config.out, self._parts(), numbers, self.generator)

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
        state = load_state(path, self._parts(), self.generator)
        self.step, self.seconds, self.best_loss = state["step"], state["seconds"], state["best_loss"]

    def _parts(self) -> dict[str, Part]:
        return {"denoiser": self.denoiser, "average": self.average, "optimiser": self.optimiser}


def new_run(config: TrainConfig, sigma_data: float) -> Run:
    """A run at step 0; the initial weights, the draws and the dropout depend on `config.seed` alone."""
    torch.manual_seed(config.seed)
    denoiser = Denoiser(UNet(config.network), sigma_data)
    average = Denoiser(UNet(config.network), sigma_data).eval().requires_grad_(False)
    average.load_state_dict(denoiser.state_dict())
    optimiser = torch.optim.Adam(denoiser.parameters(), lr=config.learning_rate, betas=(0.9, 0.99))
    return Run(denoiser, average, optimiser, torch.Generator().manual_seed(config.seed))


def denoising_loss(
    denoiser: Denoiser[UNet], clean: Tensor, label: Tensor, noise: NoiseDistribution, generator: torch.Generator
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
    run.denoiser.train()
    rows = torch.randint(len(data), (config.batch,), generator=run.generator)
    forget = torch.rand(config.batch, generator=run.generator) < config.class_dropout
    label = torch.where(forget, run.denoiser.network.classes, data.label[rows])
    loss = denoising_loss(run.denoiser, data.pixels(run.generator, rows), label, config.noise, run.generator)
    if not descend(loss, run.denoiser, run.optimiser, learning_rate(run.step, config), _CLIP):
        raise FloatingPointError(f"the gradient of step {run.step} is not finite; try a lower learning_rate")
    run.step += 1
    follow(run.average, run.denoiser, run.step, config.ema)
    return loss.item()
