"""DiffDock's tensor-product convolution, with the weights of every edge never written down.

A message is Σ_u W_e[u, w] (x_u ⊗ Y_e) with one weight matrix an edge, W_e = A h_e + b: the last layer of a small
network of the edge's scalars. A has thousands of rows, so that computing W_e is two thirds of the published code's
time. The message is linear in W_e, in the sender's features x and in Y alike, so that the sums can be taken in another
order, with A once a node instead of once an edge:

- by sender, where there are fewer: A is contracted with x once for each sender, and only the result, ten times smaller
  than A, with the h_e of that sender's edges;
- by receiver: Σ_e h_e (x_u ⊗ Y_e) is summed over the receiver's edges, and only the sum is contracted with A.

Both cost the same a node and an edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, NamedTuple, final

import torch
from e3nn import o3
from e3nn.nn import BatchNorm
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint as recompute

from domains.docking.networks.diffdock.edges import Chunk, EmbeddedEdges


@dataclass(frozen=True)
class Path:
    """One coupling l_in ⊗ l_sh -> l_out of blocks of irreps, with the place of its weights among those of an edge."""

    source: slice
    harmonic: slice
    target: slice
    source_irrep: o3.Irrep
    harmonic_irrep: o3.Irrep
    target_irrep: o3.Irrep
    channels: tuple[int, int]  # of the source, of the target
    weights: int  # index of the first one; they follow row-major in (source, target) channels
    coefficient: float

    def coupling(self) -> Tensor:
        """(2 l_in + 1, 2 l_sh + 1, 2 l_out + 1) float64, the coefficient included."""
        three = (self.source_irrep.l, self.harmonic_irrep.l, self.target_irrep.l)
        coupling = o3.wigner_3j(*three, dtype=torch.float64)
        # e3nn keeps these in float32, in the published files too; without them float64 agrees to 1e-8 only.
        return (coupling if 0 in three else coupling.float().double()) * self.coefficient


def paths(source: o3.Irreps, harmonics: o3.Irreps, target: o3.Irreps, *, by_target: bool) -> tuple[Path, ...]:
    """All couplings with l_out among `target`, every one with Σ (mul_in · mul_sh) of its block as normalisation.

    Args:
        by_target: lay the weights out as DiffDock's own product for l <= 1 does: one (all sources, channels) matrix for
            each block of `target`, in the order 0e, 1o, 1e, 0o. Otherwise as e3nn's FullyConnectedTensorProduct does.
    """
    found = [
        (i, j, k)
        for (i, (_, a)), (j, (_, b)), (k, (_, c)) in product(enumerate(source), enumerate(harmonics), enumerate(target))
        if c in a * b
    ]
    if by_target:
        found.sort(key=lambda ijk: (_ORDER.index(str(target[ijk[2]].ir)), _rank(source, harmonics, target, ijk)))
    fan_in = [sum(source[i].mul * harmonics[j].mul for i, j, k in found if k == out) for out in range(len(target))]
    result, weights = [], 0
    for i, j, k in found:
        a, b, c = source[i], harmonics[j], target[k]
        coefficient = (c.ir.dim / fan_in[k]) ** 0.5
        slices = (source.slices()[i], harmonics.slices()[j], target.slices()[k])
        result.append(Path(*slices, a.ir, b.ir, c.ir, (a.mul, c.mul), weights, coefficient))
        weights += a.mul * c.mul
    return tuple(result)


_ORDER: Final = ("0e", "1o", "1e", "0o")
# Sources of each block of the l <= 1 product, in its order.
_SOURCES: Final = {"0e": ("0e", "1o"), "1o": ("0e", "1o", "1e"), "1e": ("1o", "1e", "0o"), "0o": ("1e", "0o")}


def _rank(source: o3.Irreps, harmonics: o3.Irreps, target: o3.Irreps, ijk: tuple[int, int, int]) -> int:
    del harmonics
    return _SOURCES[str(target[ijk[2]].ir)].index(str(source[ijk[0]].ir))


class _Block(NamedTuple):
    """All paths from one block of the sender's irreps; their target channels lie side by side."""

    paths: tuple[Path, ...]

    @property
    def width(self) -> int:
        return sum(path.channels[1] for path in self.paths)


@final
class Convolution(nn.Module):
    """Mean over neighbours of W_e · (x ⊗ Y), e3nn's batch norm, and the padded input on top.

    Args:
        source, harmonics, target: irreps of the nodes' features, of Y, and of the result.
        invariants: number of columns of an edge's scalars, the nodes' included.
        groups: of edges, each with a weight network of its own; None where there is one for all.
        depth: linear layers of a weight network.
        residual: whether the input is added.
        by_target: see :func:`paths`.
    """

    def __init__(
        self,
        source: o3.Irreps,
        harmonics: o3.Irreps,
        target: o3.Irreps,
        invariants: int,
        *,
        groups: int | None = None,
        depth: int = 2,
        dropout: float = 0.0,
        residual: bool = True,
        by_target: bool = False,
    ) -> None:
        super().__init__()
        self.target, self.residual = target, residual
        found = paths(source, harmonics, target, by_target=by_target)
        self.weight_numel = sum(path.channels[0] * path.channels[1] for path in found)
        self.blocks = tuple(
            _Block(tuple(path for path in found if path.source == part))
            for part in source.slices()
            if any(path.source == part for path in found)
        )
        for b, block in enumerate(self.blocks):
            for p, path in enumerate(block.paths):
                self.register_buffer(f"coupling_{b}_{p}", path.coupling(), persistent=False)
        networks = [_weight_network(invariants, self.weight_numel, depth, dropout) for _ in range(groups or 1)]
        self.fc: nn.Sequential | nn.ModuleList = networks[0] if groups is None else nn.ModuleList(networks)
        self.batch_norm = BatchNorm(target)

    def weight_network(self, group: int) -> nn.Sequential:
        """The network of a group of edges."""
        network = self.fc if isinstance(self.fc, nn.Sequential) else self.fc[min(group, len(self.fc) - 1)]
        assert isinstance(network, nn.Sequential)
        return network

    def forward(self, x: Tensor, edges: EmbeddedEdges, *scalars: tuple[Tensor, Tensor]) -> Tensor:
        """Features of the receivers after messages from `x` (N, source.dim) over one group of edges.

        `scalars`: see :meth:`summed`. Without residual, the number of receivers is that of `edges`.
        """
        total = self.summed(0, x, edges, *scalars)
        return self.updated(x if self.residual else None, total, edges.degree)

    def updated(self, x: Tensor | None, total: Tensor, degree: Tensor) -> Tensor:
        """Mean of the messages (N, target.dim), normalised, plus `x`; nodes without edges have mean zero."""
        y: Tensor = self.batch_norm(total / degree.clamp_min(1).unsqueeze(-1))
        return y if x is None else y + pad(x, (0, y.shape[-1] - x.shape[-1]))

    def summed(self, group: int, x: Tensor, edges: EmbeddedEdges, *scalars: tuple[Tensor, Tensor]) -> Tensor:
        """Sum of the messages that each receiver gets: (receivers, target.dim).

        Args:
            group: of the edges.
            x: (N, source.dim), features of the senders.
            edges: the first columns of the weight network's input are their embedding.
            scalars: more columns, each as (nodes, index of an edge's node).
        """
        total = x.new_zeros(edges.receivers, self.target.dim)
        if not len(edges.receiver):
            return total
        network = self.weight_network(group)
        first, last = network[0], network[-1]
        assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
        widths = [edges.embedding.shape[1], *(nodes.shape[1] for nodes, _ in scalars)]
        of_edge, *of_nodes = first.weight.split(widths, 1)
        projected = [(nodes @ weight.T, index) for (nodes, index), weight in zip(scalars, of_nodes, strict=True)]
        rows = torch.cat([last.weight, last.bias.unsqueeze(-1)], -1)
        by_target = [self._by_target(block, rows) for block in self.blocks] if edges.by_receiver else []
        by_source = [] if edges.by_receiver else [self._by_source(block, rows) for block in self.blocks]
        differentiated = torch.is_grad_enabled() and (x.requires_grad or edges.embedding.requires_grad)

        def of_chunk(chunk: Chunk) -> Tensor:
            """What its nodes receive, or the messages that they send: (edges of each, ·)."""
            part = slice(chunk.first, chunk.last)
            hidden = torch.addmm(first.bias, edges.embedding[part], of_edge.T)
            for nodes, index in projected:
                hidden = hidden + nodes[index[part]]
            hidden = network[1:-1](hidden)
            if edges.by_receiver:
                return self._received(x[edges.sender[part]], edges.harmonics[part], hidden, chunk, by_target)
            harmonics = chunk.padded(edges.harmonics[part])
            return self._messages(x[chunk.nodes], chunk.padded(hidden), harmonics, by_source)

        sums = []
        for chunk in edges.chunks:
            # A gradient needs all that was computed on the way, gigabytes of it: computed again, chunk by chunk.
            message = recompute(of_chunk, chunk, use_reentrant=False) if differentiated else of_chunk(chunk)
            if edges.by_receiver:
                sums.append(message)
                continue
            receiver = edges.receiver[chunk.first : chunk.last].unsqueeze(-1).expand(-1, self.target.dim)
            total = total.scatter_add_(0, receiver, chunk.flat(message).to(total))
        if sums:
            total = total.index_copy(0, torch.cat([chunk.nodes for chunk in edges.chunks]), torch.cat(sums).to(total))
        return total

    def _by_source(self, block: _Block, rows: Tensor) -> Tensor:
        """A and b (weights, hidden + 1) of the paths of one block: (source channels, hidden + 1, width)."""
        parts = []
        for path in block.paths:
            n, m = path.channels
            parts.append(rows[path.weights : path.weights + n * m].view(n, m, -1).transpose(1, 2))
        return torch.cat(parts, -1)

    def _by_target(self, block: _Block, rows: Tensor) -> list[Tensor]:
        """The same for each path: (target channels, source channels · (hidden + 1))."""
        found = []
        for path in block.paths:
            n, m = path.channels
            found.append(rows[path.weights : path.weights + n * m].view(n, m, -1).transpose(0, 1).flatten(1))
        return found

    def _received(
        self, x: Tensor, harmonics: Tensor, hidden: Tensor, chunk: Chunk, matrices: Sequence[Sequence[Tensor]]
    ) -> Tensor:
        """(n, target.dim), sums of the messages into the nodes of a chunk, of its edges' (edges, ·) senders and Y."""
        n = len(chunk.nodes)
        hidden = chunk.padded(pad(hidden, (0, 1), value=1.0))
        parts: dict[int, Tensor] = {}
        for b, (block, of_paths) in enumerate(zip(self.blocks, matrices, strict=True)):
            irrep, source = block.paths[0].source_irrep, block.paths[0].source
            couplings = [self._coupling(b, p, x.dtype) for p in range(len(block.paths))]
            dims = [coupling.shape[-1] for coupling in couplings]
            # (edges, Σ (2 l_out + 1), 2 l_in + 1), one row for each component of each path's target.
            kernel = torch.cat(
                [
                    torch.einsum("ej,ijk->eki", harmonics[:, path.harmonic], coupling)
                    for path, coupling in zip(block.paths, couplings, strict=True)
                ],
                1,
            )
            features = x[:, source].view(len(x), -1, irrep.dim).transpose(1, 2)
            product = _summed_products(kernel.unsqueeze(-1).unbind(2), features.unsqueeze(1).unbind(2))
            channels = product.shape[-1]
            table = chunk.padded(product.flatten(1)).transpose(1, 2) @ hidden
            table = table.view(n, sum(dims), channels * hidden.shape[-1])
            first = 0
            for path, matrix, dim in zip(block.paths, of_paths, dims, strict=True):
                # Narrow matrices from the left: several times faster than from the right.
                components = [matrix @ table[:, first + k].T for k in range(dim)]
                message = torch.stack(components, -1).transpose(0, 1).flatten(1)
                start, first = path.target.start, first + dim
                parts[start] = parts[start] + message if start in parts else message
        missing = {s.start: x.new_zeros(n, s.stop - s.start) for s in self.target.slices()}
        return torch.cat(list((missing | parts).values()), -1)

    def _coupling(self, block: int, path: int, dtype: torch.dtype) -> Tensor:
        coupling: Tensor = getattr(self, f"coupling_{block}_{path}")
        return coupling.to(dtype)

    def _messages(self, x: Tensor, hidden: Tensor, harmonics: Tensor, matrices: Sequence[Tensor]) -> Tensor:
        """(n, edges of each, target.dim) of n senders (n, source.dim) with equally many edges each."""
        n, degree, width = hidden.shape
        parts: dict[int, Tensor] = {}
        for b, (block, matrix) in enumerate(zip(self.blocks, matrices, strict=True)):
            irrep, source = block.paths[0].source_irrep, block.paths[0].source
            features = x[:, source].view(n, -1, irrep.dim).transpose(1, 2).reshape(n * irrep.dim, -1)
            contracted = (features @ matrix.flatten(1)).view(n, irrep.dim, width + 1, block.width)
            weighted = hidden.unsqueeze(1) @ contracted[:, :, :-1] + contracted[:, :, -1:]
            columns = weighted.split([path.channels[1] for path in block.paths], -1)
            for p, (path, column) in enumerate(zip(block.paths, columns, strict=True)):
                coupling = self._coupling(b, p, x.dtype)
                kernel = torch.einsum("nej,ijk->neik", harmonics[..., path.harmonic], coupling)
                components = _summed_products(column.unsqueeze(3).unbind(1), kernel.unsqueeze(-1).unbind(2))
                message = components.transpose(2, 3).flatten(2)
                start = path.target.start
                parts[start] = parts[start] + message if start in parts else message
        return torch.cat(
            [parts[s.start] if s.start in parts else self._nothing(x, degree, s) for s in self._slices], -1
        )

    @property
    def _slices(self) -> list[slice]:
        return list(self.target.slices())

    @staticmethod
    def _nothing(x: Tensor, degree: int, part: slice) -> Tensor:
        return x.new_zeros(len(x), degree, part.stop - part.start)


def _summed_products(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Σ_i a_i b_i, for the one or three components of a sender: matrices of three columns are too small for a product
    of matrices."""
    total = first[0] * second[0]
    for a, b in zip(first[1:], second[1:], strict=True):
        total = torch.addcmul(total, a, b)
    return total


def _weight_network(invariants: int, weights: int, depth: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth - 1):
        layers += [nn.Linear(invariants, invariants), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(invariants, weights))
