"""What the steps of a training see, noise included: drawn by the process that trains, or ahead of it by others."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import NamedTuple, final

import torch
from torch.utils.data import DataLoader, Dataset

from domains.docking.poses.diffusion import NoiseRange, NoisyPoses, perturb
from domains.docking.poses.pose import Poses
from domains.docking.structures.batch import ComplexBatch
from domains.docking.training.config import TrainConfig
from domains.docking.training.data import BatchSampler
from domains.seeds import seed_of

_AHEAD = 4  # examples that each process keeps ready


class Example(NamedTuple):
    """Noisy poses of a batch of complexes, and what the network should answer."""

    batch: ComplexBatch
    noisy: NoisyPoses

    def to(self, device: torch.device | str) -> Example:
        """The same on another device."""
        poses, sigma, target = self.noisy.poses, self.noisy.sigma, self.noisy.target
        noisy = NoisyPoses(
            Poses(*(tensor.to(device) for tensor in poses)),
            {factor: value.to(device) for factor, value in sigma.items()},
            {factor: value.to(device) for factor, value in target.items()},
        )
        return Example(self.batch.to(device), noisy)


def noisy_example(batch: ComplexBatch, poses: int, noise: NoiseRange, generator: torch.Generator) -> Example:
    """`poses` noisy poses of each complex of a batch."""
    return Example(batch, perturb(batch, torch.arange(len(batch)).repeat(poses), noise, generator))


def examples(sampler: BatchSampler, config: TrainConfig, step: int) -> Iterator[Example]:
    """The examples of the steps from `step` to the last, on the CPU whatever device is trained on.

    Each depends on the seed and its step alone: not on the processes that draw them, nor on where a run was stopped.
    """
    loader: DataLoader[Example] = DataLoader(
        _Steps(sampler, config),
        batch_size=None,
        sampler=range(step, config.steps),
        num_workers=config.workers,
        prefetch_factor=_AHEAD if config.workers else None,
        worker_init_fn=_leave_signals,
    )
    return iter(loader)


def _leave_signals(worker: int) -> None:
    """A signal to the whole process group is for the process that trains: it saves, and ends the others."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@final
class _Steps(Dataset[Example]):
    """Step -> its example."""

    def __init__(self, sampler: BatchSampler, config: TrainConfig) -> None:
        self.sampler, self.config = sampler, config

    def __getitem__(self, step: int) -> Example:
        generator = torch.Generator().manual_seed(seed_of(self.config.seed, "example", str(step)))
        return noisy_example(self.sampler.draw(generator), self.config.poses, self.config.noise, generator)
