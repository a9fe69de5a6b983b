"""From atoms to scores: a convolution at the ligand's centroid, and one at each rotatable bond."""

from __future__ import annotations

from typing import Final, final

import torch
from e3nn import o3
from torch import Tensor, nn

from domains.docking.networks.diffdock_net.config import DiffDockNetConfig
from domains.docking.networks.diffdock_net.convolution import Convolution
from domains.docking.networks.diffdock_net.features import EdgeEmbedding, EquivariantNorm, harmonics, node_irreps
from domains.docking.networks.diffdock_net.graphs import BondGraph, Edges

_SMALL: Final = 1e-3  # a vector shorter than this is not turned into a direction


def _amplitude(inputs: int, config: DiffDockNetConfig) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, config.hidden), nn.SiLU(), nn.Linear(config.hidden, 1))


@final
class RigidHead(nn.Module):
    """Translation and rotation: a vector and an axial vector at the centroid, with lengths from an MLP.

    Both keep their parity, as a force and a torque must; the paper adds the other parity, and with it a handedness.
    """

    def __init__(self, config: DiffDockNetConfig) -> None:
        super().__init__()
        self.scalars = config.scalars
        self.edge = EdgeEmbedding(config.scalars, config)
        sh = o3.Irreps.spherical_harmonics(config.degree)
        out = o3.Irreps("1x1o + 1x1e")
        self.convolution = Convolution(node_irreps(config, config.layers), sh, out, 2 * config.scalars, config)
        self.lengths = nn.ModuleList(_amplitude(1 + config.scalars, config) for _ in range(2))

    def forward(self, atoms: Tensor, centre: Edges, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Translation (B, 3) and rotation (B, 3), given atoms (N, dim) and the poses' embedded noise (B, S)."""
        edges = self.edge(centre, noise[centre.receiver])
        out = self.convolution(atoms, edges, len(noise), atoms[edges.sender, : self.scalars])
        tr, rot = (
            self._with_length(vector, noise, length)
            for vector, length in zip(out.split(3, -1), self.lengths, strict=True)
        )
        return tr, rot

    def _with_length(self, vector: Tensor, noise: Tensor, length: nn.Module) -> Tensor:
        norm = (vector.square().sum(-1, keepdim=True) + _SMALL**2).sqrt()
        scaled: Tensor = vector / norm * length(torch.cat([norm, noise], -1))
        return scaled


@final
class TorsionHead(nn.Module):
    """Pseudoscalars at rotatable bonds, which hear the atoms around them.

    The axis enters by its harmonics of degree 2, the same from either end, and so is a change of the dihedral angle.
    """

    def __init__(self, config: DiffDockNetConfig) -> None:
        super().__init__()
        self.scalars = config.scalars
        self.edge = EdgeEmbedding(config.scalars, config)
        irreps = node_irreps(config, config.layers)
        sh = o3.Irreps.spherical_harmonics(config.degree)
        # Higher degrees couple to no channel of an atom.
        self.couple = o3.FullTensorProduct(sh, "1x2e", filter_ir_out=["0e", "1o", "1e"])
        out = o3.Irreps([(config.scalars, "0o")])
        self.convolution = Convolution(irreps, self.couple.irreps_out, out, 3 * config.scalars, config)
        self.norm = EquivariantNorm(out)
        # Odd functions without biases: pseudoscalars in, pseudoscalars out.
        self.odd = nn.Sequential(
            nn.Linear(config.scalars, config.scalars, bias=False),
            nn.Tanh(),
            nn.Linear(config.scalars, 1, bias=False),
        )
        self.amplitude = _amplitude(2 * config.scalars, config)

    def forward(self, atoms: Tensor, graph: BondGraph, noise: Tensor) -> Tensor:
        """(T,), given atoms (N, dim) and the embedded noise (T, S) of the bonds' poses."""
        bond = atoms[graph.ends, : self.scalars].sum(1)
        edges = self.edge(graph.edges, noise[graph.edges.receiver])
        axis = harmonics(graph.axis, 2)[:, -5:]
        edges = edges._replace(direction=self.couple(edges.direction, axis[edges.receiver]))
        out = self.convolution(atoms, edges, len(bond), bond[edges.receiver], atoms[edges.sender, : self.scalars])
        scores: Tensor = self.odd(self.norm(out)) * self.amplitude(torch.cat([bond, noise], -1))
        return scores.squeeze(-1)
