"""The networks of the reference case: a residual-MLP denoiser of 8x8 digits, and the classifier whose features it uses.

Only numbers are read from the case's folder (``weights_only=True``); the two modules are written here, with parameter
names that fit the files.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast, final

import torch
from torch import Tensor, nn

from ld3.flow import EuclideanFlow
from ld3.schedules import EDM

SHAPE = (1, 8, 8)
_PIXELS = math.prod(SHAPE)
_WAVES = 16


class _Modulated(nn.Module):
    """Residual block whose hidden layer is scaled and shifted by the embedded noise level."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.n = nn.LayerNorm(width)
        self.a = nn.Linear(width, width)
        self.e = nn.Linear(embedding, 2 * width)
        self.b = nn.Linear(width, width)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        scale, offset = self.e(level).chunk(2, dim=-1)
        hidden = self.a(nn.functional.silu(self.n(x))) * (1 + scale) + offset
        return x + self.b(nn.functional.silu(hidden))


@final
class ResidualMLP(nn.Module):
    """(B, 64) pixels and c_noise of shape () -> (B, 64)."""

    def __init__(self, width: int, blocks: int, embedding: int) -> None:
        super().__init__()
        self.register_buffer("freqs", torch.zeros(_WAVES))
        layers = (nn.Linear(2 * _WAVES, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU())
        self.emb = nn.Sequential(*layers)
        self.inp = nn.Linear(_PIXELS, width)
        self.blocks = nn.ModuleList(_Modulated(width, embedding) for _ in range(blocks))
        self.on = nn.LayerNorm(width)
        self.out = nn.Linear(width, _PIXELS)

    def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
        phase = c_noise * cast("Tensor", self.freqs)
        level = self.emb(torch.cat([phase.sin(), phase.cos()]))
        hidden = self.inp(x)
        for block in self.blocks:
            hidden = block(hidden, level)
        return self.out(nn.functional.silu(self.on(hidden)))


@final
class DigitsFlow(EuclideanFlow):
    """The denoiser D under the preconditioning of Karras et al. (arXiv 2206.00364, section 5): ε̂ = (x - D)/σ.

    Args:
        network: predicts F in D = c_skip x + c_out F(c_in x, ln(σ)/4).
        sigma_data: standard deviation of the data.
    """

    def __init__(self, network: ResidualMLP, sigma_data: float) -> None:
        super().__init__(EDM(), SHAPE, dtype=next(network.parameters()).dtype)
        self.network = network.eval().requires_grad_(False)
        self.sigma_data = sigma_data

    def noise(self, x_t: Tensor, t: Tensor) -> Tensor:
        """x - D over σ, with 1 - c_skip = σ²/(σ² + σ_d²) written out so that nothing cancels at small σ."""
        total = (t**2 + self.sigma_data**2).sqrt()
        network = self.network(x_t.flatten(1) / total, t.log() / 4).view_as(x_t)
        return t / total**2 * x_t - self.sigma_data / total * network


@final
class Classifier(nn.Module):
    """64 pixels -> 64 features -> 10 digits."""

    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Sequential(nn.Linear(_PIXELS, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
        self.h = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, 8, 8) -> the features (B, 64)."""
        return self.f(x.flatten(1))


def load_flow(path: Path, dtype: torch.dtype = torch.float32) -> DigitsFlow:
    """The flow of a file with `state_dict`, `sigma_data` and `cfg`.

    Raises:
        ValueError: naming the file, if it is anything else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        config = content["cfg"]
        network = ResidualMLP(config["width"], config["blocks"], config["emb"])
        weights = {name.removeprefix("model."): value for name, value in content["state_dict"].items()}
        network.load_state_dict(weights)
        return DigitsFlow(network.to(dtype), float(content["sigma_data"]))
    except Exception as error:
        raise ValueError(f"{path} holds no denoiser of the reference case: {_reason(error)}") from error


def load_classifier(path: Path) -> Classifier:
    """The classifier of a state dictionary.

    Raises:
        ValueError: naming the file, if it is anything else.
    """
    classifier = Classifier()
    try:
        classifier.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise ValueError(f"{path} holds no classifier of the reference case: {_reason(error)}") from error
    return classifier.eval().requires_grad_(False)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
