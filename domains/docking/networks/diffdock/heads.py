"""From features to scores: one translation and rotation a pose, one angle a rotatable bond."""

from __future__ import annotations

from typing import Final, final

import torch
from e3nn import o3
from torch import Tensor, nn

from domains.docking.networks.diffdock.config import DiffDockConfig
from domains.docking.networks.diffdock.convolution import Convolution


@final
class RigidHead(nn.Sequential):
    """A vector (B, 3) with a length that a small network makes of its own length and the time's embedding."""

    def __init__(self, time: int, ns: int, dropout: float) -> None:
        super().__init__(nn.Linear(1 + time, ns), nn.Dropout(dropout), nn.ReLU(), nn.Linear(ns, 1))

    def forward(self, vector: Tensor, time: Tensor) -> Tensor:
        """(B, 3); a vector of length zero stays zero."""
        length = torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
        wanted: Tensor = super().forward(torch.cat([length, time], -1))
        return vector / length.clamp_min(torch.finfo(length.dtype).tiny) * wanted


@final
class TorsionHead(nn.Sequential):
    """Pseudoscalars and scalars (T, 2 ns) of T bonds -> (T,)."""

    def __init__(self, ns: int, dropout: float) -> None:
        super().__init__(
            nn.Linear(2 * ns, ns, bias=False), nn.Tanh(), nn.Dropout(dropout), nn.Linear(ns, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(T,)."""
        angle: Tensor = super().forward(x)
        return angle.squeeze(-1)

    @staticmethod
    def convolution(config: DiffDockConfig, nodes: o3.Irreps) -> Convolution:
        """From atoms to bonds: pseudoscalars first, then scalars."""
        degrees = [ir for _, ir in _HARMONICS if ir.l == 1 or config.sh_lmax == 2]
        degrees = [ir for ir in degrees if str(ir) == "1o" or config.sh_lmax == 2]
        return Convolution(
            nodes,
            o3.Irreps([(1, ir) for ir in degrees]),
            o3.Irreps([(config.ns, "0o"), (config.ns, "0e")]),
            3 * config.ns,
            depth=config.tp_weights_layers,
            dropout=config.dropout,
            residual=False,
        )

    @staticmethod
    def harmonics(y: Tensor, axis: Tensor) -> Tensor:
        """Y(atom - midpoint) (E, sh.dim) ⊗ Y_2(axis) (E, 3), of which the degrees 0e, 1o, 1e can reach an output.

        Nodes have no degree above 1, which no higher degree couples to a scalar. Without Y_2 there is only 1o.
        """
        bond = o3.spherical_harmonics(2, axis, normalize=True, normalization="component")
        first = _product(y[:, 1:4], bond, 1)
        if y.shape[-1] == 4:
            return first
        return torch.cat([_product(y[:, 4:], bond, 0), first, _product(y[:, 4:], bond, 1)], -1)


_HARMONICS: Final = o3.Irreps("1x0e + 1x1o + 1x1e")


def _product(a: Tensor, b: Tensor, degree: int) -> Tensor:
    """sqrt(2l + 1) C_ijk a_i b_j: (E, 2l + 1)."""
    coupling = o3.wigner_3j(a.shape[-1] // 2, b.shape[-1] // 2, degree, dtype=torch.float32).to(a)
    return torch.einsum("ei,ej,ijk->ek", a, b, coupling) * (2 * degree + 1) ** 0.5
