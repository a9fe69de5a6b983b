"""Small digits models that tests share, and what the images benchmark makes with them."""

from __future__ import annotations

from pathlib import Path

import torch

from domains.images.flow import DenoiserFlow
from domains.images.models.denoiser import Denoiser
from domains.images.models.unet import UNet, UNetConfig
from domains.images.models.weights import save_weights

SMALL = UNetConfig(channels=8, multipliers=(1, 2), blocks=1, heads=2, embedding=16)


def small_denoiser(seed: int = 0, config: UNetConfig = SMALL) -> Denoiser[UNet]:
    """An untrained model; the layers that start at zero are filled, so that everything takes part."""
    torch.manual_seed(seed)
    denoiser = Denoiser(UNet(config), sigma_data=0.75).eval().requires_grad_(False)
    for value in denoiser.parameters():
        if not value.any():
            torch.nn.init.normal_(value, std=0.05)
    return denoiser


def write_small(path: Path, seed: int = 0) -> Path:
    """Its weights in a file."""
    save_weights(path, small_denoiser(seed), {"step": 0, "loss": 1.0})
    return path


def evaluations(flow: DenoiserFlow) -> list[int]:
    """A list that gets the number of images of every evaluation of the flow's network."""
    found: list[int] = []
    flow.denoiser.network.register_forward_pre_hook(lambda network, inputs: found.append(len(inputs[0])))
    return found
