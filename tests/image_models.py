"""Small digits models that tests share."""

from __future__ import annotations

from pathlib import Path

import torch

from domains.images.denoiser import Denoiser
from domains.images.unet import UNetConfig
from domains.images.weights import save_weights

SMALL = UNetConfig(channels=8, multipliers=(1, 2), blocks=1, heads=2, embedding=16)


def small_denoiser(seed: int = 0, config: UNetConfig = SMALL) -> Denoiser:
    """An untrained model; the layers that start at zero are filled, so that everything takes part."""
    torch.manual_seed(seed)
    denoiser = Denoiser(config, sigma_data=0.75).eval().requires_grad_(False)
    for value in denoiser.parameters():
        if not value.any():
            torch.nn.init.normal_(value, std=0.05)
    return denoiser


def write_small(path: Path, seed: int = 0) -> Path:
    """Its weights in a file."""
    save_weights(path, small_denoiser(seed), {"step": 0, "loss": 1.0})
    return path
