"""The reference case: a denoiser of 8x8 digits, pairs, a test set, and what the published LD3 code reached.

All of it lies in ``data/`` beside this file; README.md says where it comes from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast, final

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from domains.images.metrics.frechet import Gaussian
from ld3 import EDM, EuclideanFlow, Grid, Solver, integrate
from ld3.fingerprint import fingerprint
from ld3.learn import Pairs

DATA: Final = Path(__file__).parent / "data"
SHAPE: Final = (1, 8, 8)

_PIXELS: Final = math.prod(SHAPE)
_WAVES: Final = 16
_AT_ONCE: Final = 1000  # samples side by side


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
class ReferenceFlow(EuclideanFlow):
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


@final
@dataclass(frozen=True)
class PublishedFit:
    """One fit of the published code, in its own configuration.

    Attributes:
        solver, nfe, seed: which.
        mse: mean squared distance of pixels to the teacher, on the test set.
        fd_feat: Fréchet distance in the classifier's features.
        network_evaluations: with and without gradients.
        cpu_seconds: of its training.
    """

    solver: str
    nfe: int
    seed: int
    mse: float
    fd_feat: float
    network_evaluations: int
    cpu_seconds: float


@final
@dataclass(frozen=True)
class HandMadeGrid:
    """What a grid that nobody learned reaches: its mse over the test starts; None if one is not finite."""

    solver: str
    nfe: int
    grid: str
    mse: float | None


@final
@dataclass(frozen=True, eq=False)
class ReferenceCase:
    """What both sides are given, and what the published code reached.

    Attributes:
        flow: the denoiser.
        pairs: 100 of them.
        test_start: starts that no fit sees, (n, 1, 8, 8).
        test_end: where the teacher takes them.
        classifier: whose features the second Fréchet distance is in.
        real_pixels, real_features: moments of real digits.
        fits: of the published code, by solver and NFE.
        hand_made: grids of the published code.
    """

    flow: ReferenceFlow
    pairs: Pairs[Tensor]
    test_start: Tensor
    test_end: Tensor
    classifier: Classifier
    real_pixels: Gaussian
    real_features: Gaussian
    fits: Mapping[tuple[str, int], Sequence[PublishedFit]]
    hand_made: Sequence[HandMadeGrid]

    def fingerprint(self) -> str:
        """Hash of all that a fit and its evaluation see."""
        tensors = (self.pairs.start, self.pairs.end, self.test_start, self.test_end)
        quality = (self.classifier.state_dict(), *self.real_pixels, *self.real_features)
        return fingerprint(self.flow.fingerprint(), *tensors, *quality)

    def features(self, images: Tensor) -> Tensor:
        """(B, 1, 8, 8) -> the classifier's features (B, 64)."""
        found: Tensor = self.classifier(images)
        return found

    def mse(self, grid: Grid, solver: Solver) -> float:
        """Mean squared distance of pixels to the teacher, over the test starts."""
        return float(self.flow.distance(self.sample(self.test_start, grid, solver), self.test_end).mean())

    @torch.no_grad()
    def sample(self, start: Tensor, grid: Grid, solver: Solver) -> Tensor:
        """Where the solver takes the starts."""
        return torch.cat([integrate(self.flow, part, grid, solver) for part in start.split(_AT_ONCE)])


def load_case(test_starts: int | None = None) -> ReferenceCase:
    """Read it, with the first `test_starts` of the test set; None = all 2000."""
    with safe_open(DATA / "denoiser.safetensors", "pt") as file:
        config = file.metadata()
    network = ResidualMLP(int(config["width"]), int(config["blocks"]), int(config["embedding"]))
    network.load_state_dict(load_file(DATA / "denoiser.safetensors"))
    flow = ReferenceFlow(network, float(config["sigma_data"]))
    classifier = Classifier()
    classifier.load_state_dict(load_file(DATA / "classifier.safetensors"))
    learned, test, real = (_arrays(DATA / f"{name}.npz") for name in ("pairs", "test_set", "real_digits"))
    published = json.loads((DATA / "published.json").read_text())
    fits: dict[tuple[str, int], list[PublishedFit]] = {}
    for row in published["fits"]:
        fits.setdefault((row["solver"], row["nfe"]), []).append(PublishedFit(**row))
    scale = flow.prior_scale["x"]
    return ReferenceCase(
        flow=flow,
        pairs=Pairs(scale * learned["start"], learned["end"], torch.zeros(0), True, 0),
        test_start=scale * test["start"][:test_starts],
        test_end=test["end"][:test_starts],
        classifier=classifier.eval().requires_grad_(False),
        real_pixels=Gaussian(real["pixel_mean"], real["pixel_covariance"]),
        real_features=Gaussian(real["feature_mean"], real["feature_covariance"]),
        fits=fits,
        hand_made=[HandMadeGrid(**row) for row in published["hand_made"]],
    )


def _arrays(path: Path) -> dict[str, Tensor]:
    with np.load(path, allow_pickle=False) as content:
        return {name: torch.from_numpy(content[name]) for name in content.files}
