"""Categories, distances and times as columns of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn


def time_embedding(t: Tensor, columns: int, scale: float) -> Tensor:
    """Sines, then cosines, of scale · t times `columns` / 2 frequencies from 1 to 1e-4: (..., columns).

    As in denoising diffusion models (Ho et al. 2020, arXiv 2006.11239); a last odd column is zero. Always computed in
    float32 as when the weights were trained: in the phases, which reach 10 000, its rounding is 1e-3.
    """
    half = columns // 2
    steps = torch.arange(half, dtype=torch.float32, device=t.device)
    frequency = torch.exp(steps * -(math.log(10000.0) / (half - 1)))
    phase = scale * t.float().unsqueeze(-1) * frequency
    waves = nn.functional.pad(torch.cat([phase.sin(), phase.cos()], -1), (0, columns % 2))
    return waves.to(t.dtype)


@final
class DistanceExpansion(nn.Module):
    """Gaussians of equally spaced centres from 0 to `stop` Å, as wide as their spacing: (E,) -> (E, columns)."""

    offset: Tensor

    def __init__(self, stop: float, columns: int) -> None:
        super().__init__()
        offset = torch.linspace(0.0, stop, columns)
        self.coefficient = -0.5 / float(offset[1] - offset[0]) ** 2
        self.register_buffer("offset", offset)

    def forward(self, distance: Tensor) -> Tensor:
        """(E, columns)."""
        return torch.exp(self.coefficient * (distance.unsqueeze(-1) - self.offset).square())


@final
class CategoryEncoder(nn.Module):
    """Sum of one embedding for each column of categories, mixed with further numbers where there are any."""

    def __init__(self, categories: Sequence[int], further: int, columns: int) -> None:
        super().__init__()
        self.atom_embedding_list = nn.ModuleList(nn.Embedding(n, columns) for n in categories)
        if further:
            self.additional_features_embedder = nn.Linear(columns + further, columns)

    def forward(self, categories: Tensor, further: Tensor | None) -> Tensor:
        """(N, columns) of categories (N, C) int64 and numbers (N, further)."""
        parts = [table(column) for table, column in zip(self.atom_embedding_list, categories.unbind(1), strict=True)]
        x = torch.stack(parts).sum(0)
        return x if further is None else self.additional_features_embedder(torch.cat([x, further], -1))


@final
class TimedEncoder(nn.Module):
    """Sum of embeddings of categories, plus a linear map of further columns, mixed with a language model's embedding.

    Of DiffDock v1.0. Where there is a language model the columns are [its 1280, time], and the published code takes the
    first ones as the time and the last 1280 as the embedding. The weights were trained so, and mean nothing otherwise.
    """

    def __init__(self, categories: Sequence[int], time: int, language_model: int, columns: int) -> None:
        super().__init__()
        self.atom_embedding_list = nn.ModuleList(nn.Embedding(n, columns) for n in categories)
        self.linear = nn.Linear(time, columns)
        if language_model:
            self.lm_embedding_layer = nn.Linear(columns + language_model, columns)

    def forward(self, categories: Tensor, further: Tensor) -> Tensor:
        """(N, columns) of categories (N, C) int64 and numbers (N, [1280 +] time)."""
        parts = [table(column) for table, column in zip(self.atom_embedding_list, categories.unbind(1), strict=True)]
        n = self.linear.in_features
        x: Tensor = torch.stack(parts).sum(0) + self.linear(further[:, :n])
        if further.shape[1] > n:
            x = self.lm_embedding_layer(torch.cat([x, further[:, n:]], -1))
        return x

    def of_time(self, time: Tensor) -> Tensor:
        """What an embedding of the time (U, time) adds to the answer for a time of zeros: (U, columns)."""
        if hasattr(self, "lm_embedding_layer"):
            return time @ self.lm_embedding_layer.weight[:, -time.shape[1] :].T
        return time @ self.linear.weight.T


def perceptron(columns: int, out: int, dropout: float) -> nn.Sequential:
    """Two linear layers, the first with ReLU."""
    return nn.Sequential(nn.Linear(columns, out), nn.ReLU(), nn.Dropout(dropout), nn.Linear(out, out))


def split_first(network: nn.Sequential, columns: int, x: Tensor) -> Tensor:
    """Hidden layer of a :func:`perceptron` before its ReLU, of the columns after the first `columns` alone."""
    first = network[0]
    assert isinstance(first, nn.Linear)
    return nn.functional.linear(x, first.weight[:, columns:], first.bias)


def split_rest(network: nn.Sequential, hidden: Tensor, x: Tensor, row: Tensor) -> Tensor:
    """Answer of a :func:`perceptron` from what :func:`split_first` gave (E, out) and the first columns, x[row]."""
    first = network[0]
    assert isinstance(first, nn.Linear)
    answer: Tensor = network[1:](hidden + (x @ first.weight[:, : x.shape[1]].T)[row])
    return answer
