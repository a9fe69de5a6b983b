"""The noise levels as an input of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn


@final
class NoiseEmbedding(nn.Module):
    """The three noise levels -> a vector, by way of Fourier features of log sigma."""

    frequencies: Tensor

    def __init__(self, width: int, features: int = 16) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2.0 ** torch.linspace(-2, 2, features // 2))
        self.net = nn.Sequential(nn.Linear(3 * (features + 1), width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, sigma: Mapping[str, Tensor], n: int) -> Tensor:
        """Levels (n,) or () per factor -> (n, width)."""
        logs = torch.stack([sigma[f].log().to(self.frequencies).expand(n) for f in ("tr", "rot", "tor")], -1)
        phase = logs.unsqueeze(-1) * self.frequencies
        embedded: Tensor = self.net(torch.cat([logs.unsqueeze(-1), phase.sin(), phase.cos()], -1).flatten(1))
        return embedded
