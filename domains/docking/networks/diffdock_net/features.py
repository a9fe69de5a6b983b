"""What flows along edges and sits on nodes: irreps, distances and directions as features, and their norm."""

from __future__ import annotations

import math
from typing import Final, NamedTuple, final

import torch
from e3nn import o3
from e3nn.math import soft_one_hot_linspace
from torch import Tensor, nn

from domains.docking.networks.diffdock_net.config import DiffDockNetConfig
from domains.docking.networks.diffdock_net.graphs import Edges

SCALAR: Final = o3.Irrep("0e")

_LONGEST: Final = 30.0  # Å, mean of the last Gaussian
_SOFT: Final = 0.01  # Å², rounds off lengths below 0.1 Å
_FLOOR: Final = 1e-3  # mean squares below it are not blown up to 1


def node_irreps(config: DiffDockNetConfig, rounds: int) -> o3.Irreps:
    """What a node holds after so many rounds of messages; each of the first three adds a kind of channel."""
    kinds = [(config.scalars, "0e"), *((config.vectors, kind) for kind in ("1o", "1e", "0o"))]
    return o3.Irreps(kinds[: rounds + 1])


def harmonics(step: Tensor, degree: int) -> Tensor:
    """Spherical harmonics up to `degree` of the directions of (E, 3) Å: (E, (degree + 1)²), smooth where a step is 0.

    Every component has mean square 1 over the sphere.
    """
    soft = step / (step.square().sum(-1, keepdim=True) + _SOFT).sqrt()
    found: Tensor = o3.spherical_harmonics(
        o3.Irreps.spherical_harmonics(degree), soft, normalize=False, normalization="component"
    )
    return found


class EmbeddedEdges(NamedTuple):
    """Edges with features instead of steps."""

    receiver: Tensor  # (E,) int64
    sender: Tensor  # (E,) int64
    weight: Tensor  # (E,)
    invariant: Tensor  # (E, c)
    direction: Tensor  # (E, d), harmonics

    def reversed(self) -> EmbeddedEdges:
        """The same pairs with messages the other way: the odd harmonics change their sign."""
        degree = math.isqrt(self.direction.shape[1]) - 1
        signs = [(-1.0) ** n for n in range(degree + 1) for _ in range(2 * n + 1)]
        direction = self.direction * self.direction.new_tensor(signs)
        return self._replace(receiver=self.sender, sender=self.receiver, direction=direction)


@final
class EdgeEmbedding(nn.Module):
    """Distance and other invariants of an edge -> features.

    Args:
        others: number of invariants beside the distance.
    """

    def __init__(self, others: int, config: DiffDockNetConfig) -> None:
        super().__init__()
        self.radial, self.degree = config.radial, config.degree
        self.net = nn.Sequential(
            nn.Linear(config.radial + others, config.scalars),
            nn.SiLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.scalars, config.scalars),
        )

    def forward(self, edges: Edges, *others: Tensor) -> EmbeddedEdges:
        """`others` are (E, .) and make `others` columns together."""
        distance = (edges.step.square().sum(-1) + _SOFT).sqrt()
        radial = soft_one_hot_linspace(distance, 0.0, _LONGEST, self.radial, "gaussian", cutoff=False)
        invariant = self.net(torch.cat([radial, *others], -1))
        return EmbeddedEdges(edges.receiver, edges.sender, edges.weight, invariant, harmonics(edges.step, self.degree))


@final
class EquivariantNorm(nn.Module):
    """Layer norm, for each kind of channel apart: mean square 1 over channels and components, and learned gains.

    Only true scalars have a mean to subtract and a bias to add.
    """

    def __init__(self, irreps: o3.Irreps) -> None:
        super().__init__()
        self.irreps = irreps
        self.gains = nn.ParameterList(torch.ones(mul, 1) for mul, _ in irreps)
        self.bias = nn.Parameter(torch.zeros(irreps.count(SCALAR), 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, dim) -> (N, dim)."""
        parts = []
        for (mul, irrep), place, gain in zip(self.irreps, self.irreps.slices(), self.gains, strict=True):
            field = x[:, place].unflatten(-1, (mul, irrep.dim))
            if irrep == SCALAR:
                field = field - field.mean(1, keepdim=True)
            field = field * (field.square().mean((1, 2), keepdim=True) + _FLOOR).rsqrt() * gain
            parts.append((field + self.bias if irrep == SCALAR else field).flatten(1))
        return torch.cat(parts, -1)
