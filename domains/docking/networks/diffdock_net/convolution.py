"""The tensor-product convolution that everything in DiffDockNet is made of."""

from __future__ import annotations

from typing import Final, final

import torch
from e3nn import o3
from torch import Tensor, nn
from torch_geometric.utils import scatter

from domains.docking.networks.diffdock_net.config import DiffDockNetConfig
from domains.docking.networks.diffdock_net.features import EmbeddedEdges

_AT_ONCE: Final = 4096  # edges whose weights fit the caches; a third faster on a CPU than all at once


@final
class Convolution(nn.Module):
    """Mean over neighbours j of w(a_ij) · h_j ⊗ Y(r_ij) (Corso et al. 2023, arXiv 2210.01776, appendix C).

    ⊗ is e3nn's fully connected tensor product, and w a small network that gives every edge its own path weights.

    Args:
        sender: irreps of h.
        direction: irreps of Y.
        out: irreps of the result.
        invariants: number of columns of a_ij.
    """

    def __init__(
        self,
        sender: o3.Irreps,
        direction: o3.Irreps,
        out: o3.Irreps,
        invariants: int,
        config: DiffDockNetConfig,
    ) -> None:
        super().__init__()
        self.product = o3.FullyConnectedTensorProduct(sender, direction, out, shared_weights=False)
        self.weights = nn.Sequential(
            nn.Linear(invariants, config.hidden),
            nn.SiLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, self.product.weight_numel),
        )

    def forward(self, senders: Tensor, edges: EmbeddedEdges, receivers: int, *invariants: Tensor) -> Tensor:
        """Messages from `senders` (N, sender.dim) to each of `receivers` nodes: (receivers, out.dim).

        `invariants` (E, .) join those of the edges. A message counts by its edge's weight, and the mean is taken over
        the sum of the weights plus one: it goes to zero smoothly where the last neighbour leaves.
        """
        a = torch.cat([edges.invariant, *invariants], -1)
        parts = zip(edges.sender.split(_AT_ONCE), edges.direction.split(_AT_ONCE), a.split(_AT_ONCE), strict=True)
        messages = torch.cat([self.product(senders[j], y, self.weights(part)) for j, y, part in parts])
        weighted = torch.cat([messages * edges.weight.unsqueeze(-1), edges.weight.unsqueeze(-1)], -1)
        summed: Tensor = scatter(weighted, edges.receiver, dim=0, dim_size=receivers, reduce="sum")
        return summed[:, :-1] / (1 + summed[:, -1:])
