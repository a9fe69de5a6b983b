"""From features to scores: one translation and rotation a pose, one angle a rotatable bond."""

from __future__ import annotations

import torch
from e3nn import o3
from torch import Tensor, nn

from domains.docking.networks.diffdock.config import DiffDockConfig
from domains.docking.networks.diffdock.convolution import Convolution


def rigid_layer(time: int, ns: int, dropout: float) -> nn.Sequential:
    """Length of a vector and embedding of the time (B, 1 + time) -> length of the score (B, 1)."""
    return nn.Sequential(nn.Linear(1 + time, ns), nn.Dropout(dropout), nn.ReLU(), nn.Linear(ns, 1))


def rescaled(layer: nn.Module, vector: Tensor, time: Tensor) -> Tensor:
    """Vectors (B, 3) with the lengths that `layer` gives them; one of length zero stays zero."""
    length = torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    wanted: Tensor = layer(torch.cat([length, time], -1))
    return vector / length.clamp_min(torch.finfo(length.dtype).tiny) * wanted


def torsion_layer(ns: int, dropout: float) -> nn.Sequential:
    """Pseudoscalars and scalars (T, 2 ns) of T bonds -> (T, 1)."""
    return nn.Sequential(
        nn.Linear(2 * ns, ns, bias=False), nn.Tanh(), nn.Dropout(dropout), nn.Linear(ns, 1, bias=False)
    )


def bond_convolution(config: DiffDockConfig, nodes: o3.Irreps) -> Convolution:
    """From atoms to bonds: pseudoscalars first, then scalars; for the harmonics of :func:`bond_harmonics`."""
    return Convolution(
        nodes,
        o3.Irreps("1x0e + 1x1o + 1x1e" if config.sh_lmax == 2 else "1x1o"),
        o3.Irreps([(config.ns, "0o"), (config.ns, "0e")]),
        3 * config.ns,
        depth=config.tp_weights_layers,
        dropout=config.dropout,
        residual=False,
    )


def bond_harmonics(y: Tensor, axis: Tensor) -> Tensor:
    """Y(atom - midpoint) (E, sh.dim) ⊗ Y_2(axis) (E, 3), of which the degrees 0e, 1o and 1e can reach an output.

    Nodes have no degree above 1, which no higher degree couples to a scalar. Where Y ends at degree 1, only 1o does.
    """
    bond = o3.spherical_harmonics(2, axis, normalize=True, normalization="component")
    first = _product(y[:, 1:4], bond, 1)
    if y.shape[-1] == 4:
        return first
    return torch.cat([_product(y[:, 4:], bond, 0), first, _product(y[:, 4:], bond, 1)], -1)


def _product(a: Tensor, b: Tensor, degree: int) -> Tensor:
    """sqrt(2l + 1) C_ijk a_i b_j: (E, 2l + 1)."""
    coupling = o3.wigner_3j(a.shape[-1] // 2, b.shape[-1] // 2, degree, dtype=torch.float32).to(a)
    return torch.einsum("ei,ej,ijk->ek", a, b, coupling) * (2 * degree + 1) ** 0.5
