"""PocketNet: a light SE(3)-equivariant score network that runs on matrix products.

Tensor-field message passing (Thomas et al. 2018) with radial functions that are *linear* in a fixed basis: then the sum over
neighbours commutes with the learned weights,

    sum_j W_b  phi_b(|r_ij|) Y(r_ij) (x) h_j   =   W_b ( sum_j phi_b(|r_ij|) Y(r_ij) (x) h_j ),

and one evaluation is a few dense products of radial weights (computed once, shared by all layers) with node features,
followed by e3nn linear maps on the atoms. No per-edge network, no scatter: this is what makes a pose cost milliseconds on a
CPU. The pocket does not change while the ligand moves, so its atoms are encoded once per complex, and what each ligand atom
sees of it (an environment of all pocket atom kinds by distance and direction) is gathered once per evaluation.

Each atom finally emits three vectors, which are projected on the degrees of freedom: translation is the mean of the first,
rotation the mean torque of the second about the centroid over the radius of gyration, a torsion the mean torque of the third
about its bond over the arm length of the turned side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from e3nn import o3
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from domains.docking.atom_features import ATOM_FEATURE_DIMS
from domains.docking.batch import ComplexBatch
from domains.docking.kinematics import centroid
from domains.docking.residues import ATOM_NAME_VOCABULARY, ELEMENT_VOCABULARY, RESIDUE_VOCABULARY
from domains.docking.score import Scores, ScoreNetwork


@dataclass(frozen=True)
class PocketNetConfig:
    """Sizes of :class:`PocketNet`; lengths in Å."""

    scalars: int = 128
    vectors: int = 32
    layers: int = 4
    message_scalars: int = 32
    message_vectors: int = 8
    pocket_scalars: int = 24
    pocket_vectors: int = 8
    pocket_basis: int = 16
    pocket_range: float = 16.0
    pocket_layers: int = 2
    pocket_edge: float = 5.0
    ligand_basis: int = 10
    ligand_range: float = 10.0
    dropout: float = 0.1


class PocketEncoding(NamedTuple):
    """Pose-independent features of K complexes."""

    batch: ComplexBatch
    pocket: Tensor  # (K, P, 4 (S + 3 V)) scalars and vectors with their first moments, zero on padding
    ligand: Tensor  # (K, A, scalars)
    pair: Tensor  # (K, A, pair channels, A) bond types and topological distances, one-hot


class Basis(nn.Module):
    """Gaussians of the distance, dense at short range: means equidistant in log(1 + d)."""

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


def softened_distance(a: Tensor, b: Tensor) -> Tensor:
    """|a - b| of (..., 3) points in Å, rounded off below 0.1 Å so that it is smooth where they meet."""
    return ((a - b).square().sum(-1) + 0.01).sqrt()


def with_moments(features: Tensor, positions: Tensor) -> Tensor:
    """Features (..., N, C) beside their products with the positions (..., N, 3): (..., N, 4 C)."""
    first = features.unsqueeze(-2) * positions.unsqueeze(-1)
    return torch.cat([features.unsqueeze(-2), first], -2).flatten(-2)


def gather(weight: Tensor, moments: Tensor, receivers: Tensor, scalars: int, vectors: int) -> tuple[Tensor, Tensor]:
    """Sum over neighbours j of w_b(|r_ij|) h_j and w_b(|r_ij|) r_ij (x) h_j, coupled to scalars and vectors.

    The direction r_ij = p_j - x_i is linear in p_j, so the sums over j need only the weights and the first moments of h:
    sum_j w p_j h_j - x_i sum_j w h_j. That keeps the large (A, b, N) factor free of a direction axis.

    Args:
        weight: (B, A, b, N) radial functions, zero on padding.
        moments: (B, N, 4 (scalars + 3 vectors)), from :func:`with_moments`.
        receivers: (B, A, 3) Å.

    Returns:
        (B, A, (scalars + vectors) b) and (B, A, (scalars + vectors) b, 3).
    """
    n, a, b, _ = weight.shape
    summed = torch.bmm(weight.flatten(1, 2), moments).view(n, a, b, 4, scalars + 3 * vectors)
    plain, first = summed.split([1, 3], 3)
    first = first - receivers[:, :, None, :, None] * plain
    s, v = plain.squeeze(3).split([scalars, 3 * vectors], -1)
    along_s, along_v = first.split([scalars, 3 * vectors], -1)
    dot = torch.diagonal(along_v.unflatten(-1, (vectors, 3)), dim1=3, dim2=5).sum(-1) / math.sqrt(3.0)
    out_scalars = torch.cat([s, dot], -1).flatten(2)
    out_vectors = torch.cat([along_s.transpose(-1, -2), v.unflatten(-1, (vectors, 3))], -2).flatten(2, 3)
    return out_scalars, out_vectors


class EquivariantLinear(nn.Module):
    """e3nn's linear map on separate scalar (…, s) and vector (…, v, 3) features."""

    def __init__(self, s_in: int, v_in: int, s_out: int, v_out: int) -> None:
        super().__init__()
        self.linear = o3.Linear(f"{s_in}x0e + {v_in}x1o", f"{s_out}x0e + {v_out}x1o", biases=True)
        self.s_out = s_out

    def forward(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        out = self.linear(torch.cat([s, v.flatten(-2)], -1))
        return out[..., : self.s_out], out[..., self.s_out :].unflatten(-1, (-1, 3))


class PocketLayer(MessagePassing):
    """One round of messages between pocket atoms closer than the edge length (sparse: a pocket is encoded once)."""

    def __init__(self, scalars: int, vectors: int, basis: int) -> None:
        super().__init__(aggr="add", node_dim=0)
        self.scalars, self.vectors = scalars, vectors
        self.filter = nn.Linear(basis, scalars + 2 * vectors)
        self.source = nn.Linear(scalars, scalars + 2 * vectors)
        self.mix = nn.Sequential(nn.Linear(2 * scalars + vectors, 2 * scalars), nn.SiLU(), nn.Linear(2 * scalars, scalars))
        self.vector_mix = o3.Linear(f"{vectors}x1o", f"{vectors}x1o")

    def forward(self, s: Tensor, v: Tensor, edges: Tensor, basis: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        """Update s (N, S), v (N, V, 3) along edges (2, E) = (source, receiver) with basis (E, b), direction (E, 3)."""
        out = self.propagate(edges, weight=self.source(s), v=v, filtered=self.filter(basis), direction=direction)
        ds, dv = out[:, : self.scalars], out[:, self.scalars :].unflatten(-1, (self.vectors, 3))
        v = v + self.vector_mix((v + dv).flatten(1)).view_as(v)
        s = s + self.mix(torch.cat([s, ds, v.square().sum(-1)], -1))
        return F.layer_norm(s, (self.scalars,)), v

    def message(self, weight_j: Tensor, v_j: Tensor, filtered: Tensor, direction: Tensor) -> Tensor:
        gate = 0.25 * weight_j * filtered
        scalar, along, carry = gate.split([self.scalars, self.vectors, self.vectors], -1)
        vector = along.unsqueeze(-1) * direction.unsqueeze(1) + carry.unsqueeze(-1) * v_j
        return torch.cat([scalar, vector.flatten(1)], -1)


class PocketEncoder(nn.Module):
    """Pocket atoms -> scalars and vectors, from atom kinds and their arrangement."""

    def __init__(self, config: PocketNetConfig) -> None:
        super().__init__()
        self.config = config
        hidden = 2 * config.pocket_scalars
        self.element = nn.Embedding(len(ELEMENT_VOCABULARY), hidden)
        self.residue = nn.Embedding(len(RESIDUE_VOCABULARY), hidden)
        self.kind = nn.Embedding(len(RESIDUE_VOCABULARY) * len(ATOM_NAME_VOCABULARY), hidden)
        self.basis = Basis(config.ligand_basis, config.pocket_edge)
        self.layers = nn.ModuleList(
            PocketLayer(hidden, config.pocket_vectors, config.ligand_basis) for _ in range(config.pocket_layers)
        )
        self.out = EquivariantLinear(hidden, config.pocket_vectors, config.pocket_scalars, config.pocket_vectors)

    def forward(self, batch: ComplexBatch) -> Tensor:
        kind = batch.pocket_residue * len(ATOM_NAME_VOCABULARY) + batch.pocket_atom_name
        s = self.element(batch.pocket_element) + self.residue(batch.pocket_residue) + self.kind(kind)
        close = torch.cdist(batch.pocket_positions, batch.pocket_positions) < self.config.pocket_edge
        close &= batch.pocket_mask.unsqueeze(1) & batch.pocket_mask.unsqueeze(2)
        k, i, j = close.nonzero(as_tuple=True)
        off = i != j
        k, i, j = k[off], i[off], j[off]
        here, there = batch.pocket_positions[k, i], batch.pocket_positions[k, j]
        distance = softened_distance(here, there)
        direction = (there - here) / distance.unsqueeze(-1)
        basis = self.basis(distance.unsqueeze(-1)).squeeze(-1)
        n = s.shape[1]
        edges = torch.stack([k * n + j, k * n + i])
        s = F.layer_norm(s.flatten(0, 1), s.shape[-1:])
        v = s.new_zeros(len(s), self.config.pocket_vectors, 3)
        for layer in self.layers:
            s, v = layer(s, v, edges, basis, direction)
        s, v = self.out(s, v)
        out = torch.cat([s, v.flatten(-2)], -1).view(*batch.pocket_mask.shape, -1)
        return with_moments(out * batch.pocket_mask.unsqueeze(-1), batch.pocket_positions)


class LigandEncoder(nn.Module):
    """Ligand atoms -> scalars, from the molecular graph alone."""

    def __init__(self, scalars: int, rounds: int = 3) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(n, scalars) for n in ATOM_FEATURE_DIMS)
        self.rounds = nn.ModuleList(
            nn.Sequential(nn.Linear(scalars * (1 + PAIR_CHANNELS), scalars), nn.SiLU(), nn.Linear(scalars, scalars))
            for _ in range(rounds)
        )

    def forward(self, features: Tensor, pair: Tensor, mask: Tensor) -> Tensor:
        """(K, A, 16) features, (K, A, PAIR_CHANNELS, A) one-hot pairs, (K, A) mask -> (K, A, scalars)."""
        h = torch.stack([e(features[..., i]) for i, e in enumerate(self.embeddings)]).sum(0)
        h = F.layer_norm(h, h.shape[-1:]) * mask.unsqueeze(-1)
        for layer in self.rounds:
            around = torch.einsum("kicj,kjf->kicf", pair, h).flatten(2)
            h = F.layer_norm(h + layer(torch.cat([h, around], -1)), h.shape[-1:]) * mask.unsqueeze(-1)
        return h


PAIR_CHANNELS = 8  # single, double, triple, aromatic, other bond; 2 and 3 bonds apart; farther
_RIGID = 6  # the first of them: pairs whose distance no torsion changes


def pair_channels(batch: ComplexBatch) -> Tensor:
    """(K, A, PAIR_CHANNELS, A) one-hot: kind of bond, else how many bonds apart."""
    bonds = F.one_hot(batch.bond_type, 6)[..., 1:]
    hops = torch.stack([(batch.hops == h) & (batch.bond_type == 0) for h in (2, 3, 4)], -1)
    real = batch.atom_mask.unsqueeze(1) & batch.atom_mask.unsqueeze(2)
    return (torch.cat([bonds, hops.long()], -1) * real.unsqueeze(-1)).permute(0, 1, 3, 2).float()


def ligand_channels(config: PocketNetConfig) -> int:
    """Radial functions between ligand atoms."""
    return _RIGID + 2 * config.ligand_basis


class NoiseEmbedding(nn.Module):
    """The three noise levels -> a vector; Fourier features of log sigma."""

    frequencies: Tensor

    def __init__(self, width: int, features: int = 16) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2.0 ** torch.linspace(-2, 2, features // 2))
        self.net = nn.Sequential(nn.Linear(3 * (features + 1), width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, sigma: Mapping[str, Tensor], n: int) -> Tensor:
        logs = torch.stack([sigma[f].log().to(self.frequencies.dtype).expand(n) for f in ("tr", "rot", "tor")], -1)
        phase = logs.unsqueeze(-1) * self.frequencies
        return self.net(torch.cat([logs.unsqueeze(-1), phase.sin(), phase.cos()], -1).flatten(1))


class AtomLayer(nn.Module):
    """One update of the ligand's atoms from each other and from their pocket environment."""

    def __init__(self, config: PocketNetConfig) -> None:
        super().__init__()
        s, v, ms, mv = config.scalars, config.vectors, config.message_scalars, config.message_vectors
        basis = ligand_channels(config)
        self.ms, self.mv = ms, mv
        self.send = EquivariantLinear(s, v, ms, mv)
        self.receive = EquivariantLinear((ms + mv) * basis, (ms + mv) * basis, s, v)
        self.update = nn.Sequential(
            nn.Linear(3 * s + 2 * v, 2 * s), nn.SiLU(), nn.Dropout(config.dropout), nn.Linear(2 * s, s + 3 * v)
        )
        self.vector_mix = o3.Linear(f"{v}x1o", f"{v}x1o")
        self.s, self.v = s, v

    def forward(
        self, s: Tensor, v: Tensor, x: Tensor, noise: Tensor, weight: Tensor, environment: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        sent_s, sent_v = self.send(s, v)
        moments = with_moments(torch.cat([sent_s, sent_v.flatten(-2)], -1), x)
        around_s, around_v = self.receive(*gather(weight, moments, x, self.ms, self.mv))
        env_s, env_v = environment
        # Lengths of vectors and their products are the only scalars that vectors may turn into.
        mixed = self.vector_mix(v.flatten(-2)).view_as(v)
        products = torch.cat([v.square().sum(-1), (mixed * (around_v + env_v)).sum(-1)], -1)
        out = self.update(torch.cat([s + noise, around_s, env_s, products / 3.0], -1))
        ds, gate_keep, gate_around, gate_env = out.split([self.s, self.v, self.v, self.v], -1)
        v = v + gate_keep.unsqueeze(-1) * mixed + gate_around.unsqueeze(-1) * around_v + gate_env.unsqueeze(-1) * env_v
        scale = (v.square().mean((-1, -2), keepdim=True) + 1.0).rsqrt()
        return F.layer_norm(s + ds, (self.s,)), v * scale


class Twist(nn.Module):
    """What the two ends of a rotatable bond make of it directly: sum_c gate_c axis . (v_u^c x v_v^c).

    A pseudoscalar, as an angle must be, and the same whichever end is called u.
    """

    def __init__(self, config: PocketNetConfig) -> None:
        super().__init__()
        v = config.vectors
        self.left, self.right = o3.Linear(f"{v}x1o", f"{v}x1o"), o3.Linear(f"{v}x1o", f"{v}x1o")
        self.gate = nn.Sequential(nn.Linear(2 * config.scalars, config.scalars), nn.SiLU(), nn.Linear(config.scalars, v))

    def forward(self, s: Tensor, v: Tensor, noise: Tensor, x: Tensor, bonds: Tensor) -> Tensor:
        """Atoms s (B, A, S), v (B, A, V, 3), noise (B, S), x (B, A, 3), bonds (B, R, 2) -> (B, R)."""
        row = torch.arange(len(x), device=x.device).unsqueeze(1)
        axis = F.normalize(x[row, bonds[..., 0]] - x[row, bonds[..., 1]], dim=-1, eps=1e-6).unsqueeze(2)
        u, w = v[row, bonds[..., 0]], v[row, bonds[..., 1]]
        crossed = [torch.linalg.cross(self._map(self.left, a), self._map(self.right, b)) for a, b in ((u, w), (w, u))]
        twist = ((crossed[0] - crossed[1]) * axis).sum(-1)
        ends = s[row, bonds[..., 0]] + s[row, bonds[..., 1]]
        gate = self.gate(torch.cat([ends, noise.unsqueeze(1).expand_as(ends)], -1))
        return (gate * twist).sum(-1) / 4.0

    @staticmethod
    def _map(linear: nn.Module, v: Tensor) -> Tensor:
        out: Tensor = linear(v.flatten(-2))
        return out.view_as(v)


class PocketNet(ScoreNetwork[PocketEncoding]):
    """See the module's docstring."""

    def __init__(self, config: PocketNetConfig) -> None:
        super().__init__()
        self.config = config
        width = config.pocket_scalars + config.pocket_vectors
        self.pocket = PocketEncoder(config)
        self.ligand = LigandEncoder(config.scalars)
        self.noise = NoiseEmbedding(config.scalars)
        self.pocket_basis = Basis(config.pocket_basis, config.pocket_range)
        self.ligand_basis = Basis(config.ligand_basis, config.ligand_range)
        self.environment = nn.ModuleList(
            EquivariantLinear(width * config.pocket_basis, width * config.pocket_basis, config.scalars, config.vectors)
            for _ in range(config.layers)
        )
        self.layers = nn.ModuleList(AtomLayer(config) for _ in range(config.layers))
        # Position relative to the pocket's origin and to the ligand's centroid: the long-range view.
        self.place = o3.Linear("2x1o", f"{config.vectors}x1o")
        self.gate = nn.Sequential(nn.Linear(2 * config.scalars, config.scalars), nn.SiLU(), nn.Linear(config.scalars, 3 * config.vectors))
        self.emit = nn.ModuleList(o3.Linear(f"{config.vectors}x1o", "1x1o") for _ in range(3))
        self.twist = Twist(config)

    def encode(self, batch: ComplexBatch) -> PocketEncoding:
        pair = pair_channels(batch)
        return PocketEncoding(batch, self.pocket(batch), self.ligand(batch.atom_features, pair, batch.atom_mask), pair)

    def _ligand_weight(self, x: Tensor, pair: Tensor) -> Tensor:
        """(B, A, channels, A): pairs of fixed distance by kind, 1-4 pairs and farther ones by distance."""
        distance = softened_distance(x.unsqueeze(1), x.unsqueeze(2))
        rigid, torsional, far = pair.split([_RIGID, 1, 1], 2)
        basis = self.ligand_basis(distance)
        return torch.cat([rigid, basis * torsional, basis * far], 2) / distance.unsqueeze(2)

    def score(self, encoding: PocketEncoding, complex_row: Tensor, positions: Tensor, sigma: Mapping[str, Tensor]) -> Scores:
        batch, config = encoding.batch, self.config
        mask = batch.atom_mask[complex_row]
        middle = centroid(positions, mask).unsqueeze(1)
        s = encoding.ligand.index_select(0, complex_row)
        noise = self.noise(sigma, len(positions)).unsqueeze(1).expand_as(s)
        place = torch.stack([positions, positions - middle], -2) / 5.0
        v = self.place(place.flatten(-2)).unflatten(-1, (-1, 3))
        to_pocket = softened_distance(batch.pocket_positions[complex_row].unsqueeze(1), positions.unsqueeze(2))
        seen = gather(
            self.pocket_basis(to_pocket) / to_pocket.unsqueeze(2),
            encoding.pocket.index_select(0, complex_row),
            positions,
            config.pocket_scalars,
            config.pocket_vectors,
        )
        weight = self._ligand_weight(positions, encoding.pair[complex_row])
        for layer, environment in zip(self.layers, self.environment, strict=True):
            s, v = layer(s, v, positions, noise, weight, environment(*seen))
            s, v = s * mask.unsqueeze(-1), v * mask[..., None, None]
        gates = self.gate(torch.cat([s, noise], -1)).unsqueeze(-1).chunk(3, -2)
        fields = [emit((g * v).flatten(-2)) for emit, g in zip(self.emit, gates, strict=True)]
        scores = project(batch, complex_row, positions, mask, fields)
        twist = self.twist(s, v, noise[:, 0], positions, batch.torsion_bonds[complex_row])
        return scores._replace(tor=scores.tor + twist * batch.torsion_mask[complex_row])


def project(batch: ComplexBatch, complex_row: Tensor, x: Tensor, mask: Tensor, fields: list[Tensor]) -> Scores:
    """Three vector fields (B, A, 3) on the atoms -> scores of the degrees of freedom."""
    weight = mask.to(x.dtype).unsqueeze(-1)
    count = weight.sum(1)
    arm = (x - centroid(x, mask).unsqueeze(1)) * weight
    gyration = ((arm.square().sum(-1).sum(1, keepdim=True) / count) + 1e-3).sqrt()
    tr = (fields[0] * weight).sum(1) / count.sqrt()
    rot = torch.linalg.cross(arm, fields[1]).sum(1) / (gyration * count.sqrt())
    bonds, sides = batch.torsion_bonds[complex_row], batch.torsion_side[complex_row].to(x.dtype)
    row = torch.arange(len(x), device=x.device).unsqueeze(1)
    pivot = x[row, bonds[..., 1]]
    axis = F.normalize(x[row, bonds[..., 0]] - pivot, dim=-1, eps=1e-6)
    # sum_i (x_i - p) x f_i over the turned side, without forming (B, R, A, 3)
    torque = sides @ torch.linalg.cross(x, fields[2]) - torch.linalg.cross(pivot, sides @ fields[2])
    across = (sides @ x.square().sum(-1, keepdim=True)).squeeze(-1)
    n = sides.sum(-1)
    first = sides @ x
    square = across - 2 * (pivot * first).sum(-1) + n * pivot.square().sum(-1)
    lever = (square.clamp_min(0.0) + 1.0).sqrt()
    tor = (torque * axis).sum(-1) / lever
    return Scores(tr, rot, tor * batch.torsion_mask[complex_row].to(x.dtype))
