"""Edges with what is known of each, in the order in which convolutions take them: by one end, its nodes by degree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

_NODES_AT_ONCE: Final = 32  # 8 MB of what they have summed or contracted at the size of DiffDock-L


@dataclass(frozen=True)
class Edges:
    """E directed edges between rows of two flat lists of nodes; `vector` points from the receiver to the sender."""

    receiver: Tensor  # (E,) int64
    sender: Tensor  # (E,) int64
    vector: Tensor  # (E, 3) Å

    @property
    def distance(self) -> Tensor:
        """(E,) Å."""
        return torch.linalg.vector_norm(self.vector, dim=-1)


@dataclass(frozen=True)
class Chunk:
    """Edges `first` to `last` of all, which are those of a few nodes of similar degree."""

    first: int
    last: int
    nodes: Tensor  # (n,) int64
    degree: int  # the largest
    slots: Tensor | None  # (edges,) int64 in the (n, degree) table; None where all have the largest degree

    def padded(self, values: Tensor) -> Tensor:
        """(edges, C) -> (n, degree, C), zero where a node has no more edges."""
        shape = (len(self.nodes), self.degree, values.shape[-1])
        if self.slots is None:
            return values.view(shape)
        table = values.new_zeros(shape[0] * shape[1], shape[2])
        return table.index_copy(0, self.slots, values).view(shape)

    def flat(self, table: Tensor) -> Tensor:
        """(n, degree, C) -> (edges, C), back from :meth:`padded`."""
        rows = table.flatten(0, 1)
        return rows if self.slots is None else rows[self.slots]


@dataclass(frozen=True)
class EmbeddedEdges:
    """Edges in the order of :func:`embedded`, with their scalars and the harmonics of their directions."""

    receiver: Tensor  # (E,) int64
    sender: Tensor  # (E,) int64
    embedding: Tensor  # (E, ns)
    harmonics: Tensor  # (E, sh.dim)
    receivers: int  # number of nodes that could receive
    senders: int  # number of nodes that could send
    by_receiver: bool  # whether the nodes of the chunks are receivers; otherwise they are senders
    chunks: tuple[Chunk, ...]

    @property
    def degree(self) -> Tensor:
        """(receivers,) number of edges into each node."""
        return torch.bincount(self.receiver, minlength=self.receivers)

    def into(self, wanted: Tensor) -> EmbeddedEdges:
        """The edges whose receivers are `wanted`, (receivers,) bool; what others receive is then not known."""
        if bool(wanted.all()):
            return self
        kept = wanted[self.receiver]
        return embedded(
            self.receiver[kept],
            self.sender[kept],
            self.embedding[kept],
            self.harmonics[kept],
            self.receivers,
            self.senders,
        )


def embedded(
    receiver: Tensor, sender: Tensor, embedding: Tensor, harmonics: Tensor, receivers: int, senders: int
) -> EmbeddedEdges:
    """The edges in the order of the end that has fewer nodes, cut into chunks of these nodes."""
    into, out_of = torch.bincount(receiver, minlength=receivers), torch.bincount(sender, minlength=senders)
    by_receiver = int((into > 0).sum()) <= int((out_of > 0).sum())
    end, degree = (receiver, into) if by_receiver else (sender, out_of)
    # Nodes by degree, so that few slots of a chunk stay empty.
    rank = torch.empty_like(degree)
    by_degree = degree.argsort(descending=True, stable=True)
    rank[by_degree] = torch.arange(len(degree), device=degree.device)
    order = rank[end].argsort(stable=True)
    chunks = _chunks(by_degree[: int((degree > 0).sum())], degree)
    return EmbeddedEdges(
        receiver[order], sender[order], embedding[order], harmonics[order], receivers, senders, by_receiver, chunks
    )


def _chunks(nodes: Tensor, degree: Tensor) -> tuple[Chunk, ...]:
    result, first = [], 0
    for part in nodes.split(_NODES_AT_ONCE):
        if not len(part):  # of no nodes at all
            continue
        degrees = degree[part]
        largest, edges = int(degrees[0]), int(degrees.sum())
        slots = None
        if edges != largest * len(part):
            table = torch.arange(largest, device=degree.device) < degrees.unsqueeze(1)
            slots = table.flatten().nonzero().squeeze(1)
        result.append(Chunk(first, first + edges, part, largest, slots))
        first += edges
    return tuple(result)
