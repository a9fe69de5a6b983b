"""Tensor-field messages whose radial functions are linear in a fixed basis.

In tensor-field networks (Thomas et al. 2018, arXiv 1802.08219) atom i sums phi(|r_ij|) Y(r_ij) (x) h_j over its
neighbours. With phi = sum_b W_b phi_b for fixed phi_b the sum commutes with the learned weights,

    sum_j sum_b W_b phi_b(|r_ij|) Y(r_ij) (x) h_j   =   sum_b W_b ( sum_j phi_b(|r_ij|) Y(r_ij) (x) h_j ),

so a layer is one product of radial weights with node features and one equivariant linear map: no network per edge, no
scatter. Y goes up to l = 1, and features are scalars (..., S) and vectors (..., V, 3).
"""

from __future__ import annotations

import math

import torch
from e3nn import o3
from torch import Tensor, nn


class Basis(nn.Module):
    """Gaussians of the distance, dense at short range: their means are equidistant in log(1 + d).

    Args:
        count: number of functions.
        reach: mean of the last one, Å; the first one's is 1 Å.
    """

    means: Tensor
    width: Tensor

    def __init__(self, count: int, reach: float) -> None:
        super().__init__()
        means = torch.linspace(math.log1p(1.0), math.log1p(reach), count)
        self.register_buffer("means", means)
        self.register_buffer("width", means[1] - means[0])

    def forward(self, distance: Tensor) -> Tensor:
        """(..., N) Å -> (..., count, N)."""
        return torch.exp(-0.5 * ((distance.log1p().unsqueeze(-2) - self.means.unsqueeze(-1)) / self.width) ** 2)


class EquivariantLinear(nn.Module):
    """e3nn's linear map with biases, on scalars (..., S) and vectors (..., V, 3) apart."""

    def __init__(self, s_in: int, v_in: int, s_out: int, v_out: int) -> None:
        super().__init__()
        self.linear = o3.Linear(f"{s_in}x0e + {v_in}x1o", f"{s_out}x0e + {v_out}x1o", biases=True)
        self.s_out = s_out

    def forward(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """(..., s_in), (..., v_in, 3) -> (..., s_out), (..., v_out, 3)."""
        out = self.linear(torch.cat([s, v.flatten(-2)], -1))
        return out[..., : self.s_out], out[..., self.s_out :].unflatten(-1, (-1, 3))


def vector_linear(v_in: int, v_out: int) -> o3.Linear:
    """e3nn's linear map between vector channels; see :func:`mix_vectors`."""
    return o3.Linear(f"{v_in}x1o", f"{v_out}x1o")


def mix_vectors(linear: nn.Module, v: Tensor) -> Tensor:
    """A :func:`vector_linear` on (..., v_in, 3) -> (..., v_out, 3)."""
    mixed: Tensor = linear(v.flatten(-2))
    return torch.unflatten(mixed, -1, (-1, 3))


def softened_distance(a: Tensor, b: Tensor) -> Tensor:
    """|a - b| of (..., 3) points in Å, rounded off below 0.1 Å so that it is smooth where they meet."""
    return ((a - b).square().sum(-1) + 0.01).sqrt()


def with_moments(features: Tensor, positions: Tensor) -> Tensor:
    """Features (..., N, C) beside their products with the positions (..., N, 3) Å: (..., N, 4 C)."""
    first = features.unsqueeze(-2) * positions.unsqueeze(-1)
    return torch.cat([features.unsqueeze(-2), first], -2).flatten(-2)


def gather(weight: Tensor, moments: Tensor, receivers: Tensor, scalars: int, vectors: int) -> tuple[Tensor, Tensor]:
    """Sums over neighbours j of w_b(|r_ij|) h_j and of w_b(|r_ij|) r_ij (x) h_j, coupled to scalars and vectors.

    r_ij = p_j - x_i is linear in p_j, so that the sums need only the weights and the first moments of h:
    sum_j w p_j h_j - x_i sum_j w h_j. That keeps the large factor (B, A, b, N) free of a direction axis.

    Args:
        weight: (B, A, b, N) radial functions.
        moments: (B, N, 4 (scalars + 3 vectors)) from :func:`with_moments`, zero on padding.
        receivers: x, (B, A, 3) Å.

    Returns:
        (B, A, (scalars + vectors) b) and (B, A, (scalars + vectors) b, 3).
    """
    n, a, b, _ = weight.shape
    summed = torch.bmm(weight.flatten(1, 2), moments).view(n, a, b, 4, scalars + 3 * vectors)
    plain, first = torch.split(summed, [1, 3], 3)
    first = first - receivers[:, :, None, :, None] * plain
    s, v = torch.split(plain.squeeze(3), [scalars, 3 * vectors], -1)
    along_s, along_v = torch.split(first, [scalars, 3 * vectors], -1)
    dot = torch.diagonal(torch.unflatten(along_v, -1, (vectors, 3)), dim1=3, dim2=5).sum(-1) / math.sqrt(3.0)
    out_scalars = torch.cat([s, dot], -1).flatten(2)
    out_vectors = torch.cat([along_s.transpose(-1, -2), torch.unflatten(v, -1, (vectors, 3))], -2).flatten(2, 3)
    return out_scalars, out_vectors
