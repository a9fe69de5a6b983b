"""Small digits models that tests share, and what the images benchmark makes with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.images import methods as images_methods
from benchmarks.images.methods import Method
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


def methods_made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that gets the name of every method of the images benchmark whose images are computed, not read."""
    made: list[str] = []
    original = images_methods._solve

    def solve(method: Method, *rest: Any) -> Any:  # noqa: ANN401
        made.append(method.name)
        return original(method, *rest)

    monkeypatch.setattr(images_methods, "_solve", solve)
    return made
