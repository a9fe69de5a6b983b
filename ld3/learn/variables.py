"""The parameters that a minimiser moves, as one vector in units of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Answer = tuple[float, list[float]]
"""A loss, and its gradient."""


class Variable(NamedTuple):
    """A parameter that moves.

    Attributes:
        parameter: requires a gradient.
        unit: what counts as a step of length 1.
        lowest: its entries stay at or above this.
    """

    parameter: nn.Parameter
    unit: float = 1.0
    lowest: float = -math.inf


@final
class Variables:
    """Some parameters, side by side in a vector of P entries, each divided by its unit.

    Attributes:
        parameters: whose entries they are.
        lowest: (P,), below which no entry goes.
    """

    def __init__(self, variables: Sequence[Variable]) -> None:
        self._variables = tuple(variables)
        self.parameters = [v.parameter for v in self._variables]
        self._sizes = [p.numel() for p in self.parameters]
        bounds = [np.full(v.parameter.numel(), v.lowest / v.unit) for v in self._variables]
        self.lowest: NDArray[np.float64] = np.concatenate(bounds)

    def __len__(self) -> int:
        return sum(self._sizes)

    def point(self) -> NDArray[np.float64]:
        """Where they are."""
        return np.concatenate([v.parameter.detach().cpu().numpy().ravel() / v.unit for v in self._variables])

    def gradient(self) -> list[float]:
        """What is left in them; a parameter that the loss does not depend on has none."""
        return [
            entry * v.unit
            for v in self._variables
            for entry in (torch.zeros_like(v.parameter) if v.parameter.grad is None else v.parameter.grad)
            .flatten()
            .tolist()
        ]

    def parts(self, vector: Tensor) -> list[Tensor]:
        """A vector (P,) as the change of each parameter; differentiable."""
        found = zip(self._variables, vector.split(self._sizes), strict=True)
        return [v.unit * part.view_as(v.parameter) for v, part in found]

    @torch.no_grad()
    def move(self, point: NDArray[np.float64]) -> None:
        """Put them there."""
        for parameter, part in zip(self.parameters, self.parts(torch.from_numpy(point)), strict=True):
            parameter.copy_(part)
