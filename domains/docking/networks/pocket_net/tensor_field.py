"""Tensor-field messages whose radial functions are linear in a fixed basis.

In tensor-field networks (Thomas et al. 2018, arXiv 1802.08219) atom i sums phi(|r_ij|) Y(r_ij) (x) h_j over its
neighbours. With phi = sum_b W_b phi_b for fixed phi_b the sum commutes with the learned weights,

    sum_j sum_b W_b phi_b(|r_ij|) Y(r_ij) (x) h_j   =   sum_b W_b ( sum_j phi_b(|r_ij|) Y(r_ij) (x) h_j ),

so a layer is one product of radial weights with node features and one equivariant linear map: no network per edge, no
scatter. Y goes up to l = 1, and features are scalars (..., S) and vectors (..., 3, V): with the channels last, a map of
either is a plain matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
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
    """e3nn's linear map with biases, on scalars (..., S) and vectors (..., 3, V) apart.

    e3nn holds the weights; the two matrix products are ours, since e3nn's own keep the axis of the directions last and
    move it to the front and back at every call, and do not run under autocast.
    """

    def __init__(self, s_in: int, v_in: int, s_out: int, v_out: int) -> None:
        super().__init__()
        self.linear = o3.Linear(f"{s_in}x0e + {v_in}x1o", f"{s_out}x0e + {v_out}x1o", biases=True)
        self.sizes = s_in, v_in, s_out, v_out

    def weights(self) -> tuple[Tensor, Tensor]:
        """(s_in, s_out) and (v_in, v_out), with e3nn's scale 1/sqrt(number of inputs)."""
        s_in, v_in, s_out, v_out = self.sizes
        scalar, vector = self.linear.weight.split([s_in * s_out, v_in * v_out])
        return scalar.view(s_in, s_out) / math.sqrt(s_in), vector.view(v_in, v_out) / math.sqrt(v_in)

    def forward(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """(..., s_in), (..., 3, v_in) -> (..., s_out), (..., 3, v_out)."""
        scalar, vector = self.weights()
        return F.linear(s, scalar.T, self.linear.bias), v @ vector


def side_by_side(maps: Sequence[EquivariantLinear], s: Tensor, v: Tensor) -> list[tuple[Tensor, Tensor]]:
    """What each of several maps makes of the same features, by one wide matrix product instead of several narrow."""
    scalar, vector = zip(*(one.weights() for one in maps), strict=True)
    out_s = F.linear(s, torch.cat(scalar, 1).T, torch.cat([one.linear.bias for one in maps]))
    out_v = v @ torch.cat(vector, 1)
    return list(
        zip(
            out_s.split([w.shape[1] for w in scalar], -1),
            out_v.split([w.shape[1] for w in vector], -1),
            strict=True,
        )
    )


def vector_linear(v_in: int, v_out: int) -> o3.Linear:
    """e3nn's linear map between vector channels; see :func:`mix_vectors`."""
    return o3.Linear(f"{v_in}x1o", f"{v_out}x1o")


def mix_vectors(linear: o3.Linear, v: Tensor) -> Tensor:
    """A :func:`vector_linear` on (..., 3, v_in) -> (..., 3, v_out)."""
    mixed: Tensor = v @ (linear.weight.view(v.shape[-1], -1) / math.sqrt(v.shape[-1]))
    return mixed


def softened_distance(a: Tensor, b: Tensor) -> Tensor:
    """|a - b| of (..., 3) points in Å, rounded off below 0.1 Å so that it is smooth where they meet."""
    return ((a - b).square().sum(-1) + 0.01).sqrt()


def with_moments(s: Tensor, v: Tensor, positions: Tensor) -> Tensor:
    """Scalars s (..., N, S) and vectors v (..., N, 3, V) at positions p (..., N, 3) Å -> (..., N, 4 (S + V)).

    In four groups: (s, p . v), and (p_i s, v_i) for each direction i; all that :func:`gather` needs.
    """
    p = positions.unsqueeze(-1)
    plain = torch.cat([s, (p * v).sum(-2)], -1).unsqueeze(-2)
    return torch.cat([plain, torch.cat([p * s.unsqueeze(-2), v], -1)], -2).flatten(-2)


def gather(weight: Tensor, moments: Tensor, receivers: Tensor, scalars: int) -> tuple[Tensor, Tensor]:
    """Sums over neighbours j of w_b(|r_ij|) h_j and of w_b(|r_ij|) r_ij (x) h_j, coupled to scalars and vectors.

    r_ij = p_j - x_i is linear in p_j, so that the sums need only the weights and the first moments of h:
    sum_j w p_j h_j - x_i sum_j w h_j. That keeps the large factor (B, A, b, N) free of a direction axis.

    Args:
        weight: (B, A, b, N) radial functions.
        moments: (B, N, 4 (scalars + vectors)) from :func:`with_moments`, zero on padding.
        receivers: x, (B, A, 3) Å.
        scalars: how many of the channels are scalars.

    Returns:
        (B, A, (scalars + vectors) b) and (B, A, 3, (scalars + vectors) b).
    """
    n, a, b, _ = weight.shape
    summed = torch.bmm(weight.flatten(1, 2), moments).view(n, a, b, 4, -1)
    plain, first = torch.split(summed, [1, 3], 3)
    s, p_dot_v = torch.split(plain.squeeze(3), [scalars, plain.shape[-1] - scalars], -1)
    p_s, v = torch.split(first, [scalars, plain.shape[-1] - scalars], -1)
    x = receivers[:, :, None, :, None]
    dot = (p_dot_v - (x * v).sum(3)) / math.sqrt(3.0)
    along = p_s - x * s.unsqueeze(3)
    out_vectors = torch.cat([along.transpose(2, 3), v.transpose(2, 3)], -1)
    return torch.cat([s, dot], -1).flatten(2), out_vectors.flatten(3)
