"""One training run: what changes from step to step, the step itself, and how it survives a kill."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from domains.docking.networks.registry import build
from domains.docking.networks.score import ScoreNetwork
from domains.docking.networks.weights import load_weights, save_weights
from domains.docking.poses.diffusion import denoising_losses
from domains.docking.training.config import Precision, TrainConfig
from domains.docking.training.examples import Example
from domains.errors import InputError, InputProblem
from domains.seeds import seed_of
from domains.training import Part, descend, follow, learning_rate, load_state, save_state

_CLIP = 5.0  # largest norm of a step's gradient


@final
@dataclass
class Run:
    """The mutable state of training; `average` is the exponential moving average of `network`."""

    network: ScoreNetwork[Any]
    average: ScoreNetwork[Any]
    optimiser: torch.optim.AdamW
    step: int = 0
    seconds: float = 0.0

    def save(self, config: TrainConfig) -> None:
        """Write state.pt and weights.safetensors in `config.out`, each atomically."""
        numbers = {"step": self.step, "seconds": self.seconds}
        save_state(config.out, self._parts(), numbers)
        weights = config.out / "weights.safetensors"
        save_weights(weights, self.average.state_dict(), config.pocket, config.noise, config.score_scale)

    def restore(self, path: Path) -> None:
        """Continue from a state.pt.

        Raises:
            InputError: if the file is damaged or belongs to another network.
        """
        state = load_state(path, self._parts())
        self.step, self.seconds = state["step"], state["seconds"]

    def start_from(self, path: Path) -> None:
        """Take over the weights of a file, as those in training and as their average.

        Raises:
            InputError: if the file cannot be used, or is of a network of other sizes.
        """
        network = load_weights(path).network
        if network.config != self.network.config:
            message = f"it is of a network of other sizes, {network.config}"
            raise InputError(InputProblem(str(path), "", message, "give the same sizes with --pocket.*"))
        for own in (self.network, self.average):
            own.load_state_dict(network.state_dict())

    def _parts(self) -> dict[str, Part]:
        return {"network": self.network, "average": self.average, "optimiser": self.optimiser}


def new_run(config: TrainConfig) -> Run:
    """A run at step 0; its weights depend on `config.seed` alone."""
    torch.manual_seed(config.seed)
    network = build(config.pocket).to(config.device)
    average = build(config.pocket).to(config.device)
    average.eval().requires_grad_(False)
    average.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    return Run(network, average, optimiser)


def losses_of(network: ScoreNetwork[Any], example: Example, precision: Precision = "float32") -> dict[str, Tensor]:
    """Denoising losses, by factor, of an example on any device."""
    device = next(network.parameters()).device
    batch, noisy = example.to(device)
    row, positions = noisy.poses
    encoding = network.encode(batch)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        scores = network.score(encoding, row, positions, noisy.sigma)
    return denoising_losses(scores, noisy.target, batch.torsion_mask[row])


def train_step(run: Run, example: Example, config: TrainConfig) -> dict[str, float]:
    """One step of the optimiser on the sum of the losses, which are returned; dropout depends on seed and step alone.

    Raises:
        FloatingPointError: if the gradient is not finite; the weights are as they were.
    """
    run.network.train()
    torch.manual_seed(seed_of(config.seed, "dropout", str(run.step)))
    losses = losses_of(run.network, example, config.precision)
    loss = torch.stack(list(losses.values()))
    if not descend(loss.sum(), run.network, run.optimiser, learning_rate(run.step, config), _CLIP):
        names = ", ".join(example.batch.names)
        raise FloatingPointError(f"the gradient of step {run.step} is not finite, with {names}")
    run.step += 1
    follow(run.average, run.network, run.step, config.ema)
    return dict(zip(losses, loss.tolist(), strict=True))
