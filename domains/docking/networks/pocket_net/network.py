"""PocketNet itself, see :class:`PocketNet`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, cast, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from domains.docking.networks.noise_embedding import NoiseEmbedding
from domains.docking.networks.pocket_net.atom_layer import AtomLayer, ligand_weight
from domains.docking.networks.pocket_net.config import PocketNetConfig
from domains.docking.networks.pocket_net.heads import Twist, project
from domains.docking.networks.pocket_net.ligand_encoder import LigandEncoder, pair_channels
from domains.docking.networks.pocket_net.pocket_encoder import PocketEncoder
from domains.docking.networks.pocket_net.tensor_field import (
    Basis,
    EquivariantLinear,
    gather,
    mix_vectors,
    side_by_side,
    softened_distance,
    vector_linear,
)
from domains.docking.networks.score import ScoreNetwork, Scores
from domains.docking.poses.kinematics import centroid
from domains.docking.structures.batch import ComplexBatch


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Full precision; nothing on devices that know no other, such as `meta`."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


class PocketEncoding(NamedTuple):
    """Pose-independent features of K complexes."""

    batch: ComplexBatch
    pocket: Tensor  # (K, P, 4 (S + V)) scalars and vectors with their first moments, zero on padding
    ligand: Tensor  # (K, A, scalars)
    pair: Tensor  # (K, A, PAIR_CHANNELS, A) bond types and topological distances, one-hot

    def cropped(self, rows: Tensor) -> PocketEncoding:
        """Without the padding that none of the complexes `rows` (B,) needs; of no use for others."""
        atoms, torsions, pocket = self.batch.sizes(rows)
        return PocketEncoding(
            self.batch.cropped(atoms, torsions, pocket),
            self.pocket[:, :pocket],
            self.ligand[:, :atoms],
            self.pair[:, :atoms, :, :atoms],
        )


def distinct_pockets(batch: ComplexBatch) -> tuple[Tensor, Tensor]:
    """The first complex of each pocket (D,), and which of these pockets each complex has (K,): a screen's have one."""
    parts = (batch.pocket_positions, batch.pocket_residue, batch.pocket_atom_name, batch.pocket_element)
    tables = [part.cpu().numpy() for part in (*parts, batch.pocket_mask)]
    places: dict[bytes, int] = {}
    which = [
        places.setdefault(b"".join(table[k].tobytes() for table in tables), len(places)) for k in range(len(batch))
    ]
    first = [which.index(place) for place in range(len(places))]
    device = batch.pocket_mask.device
    return torch.tensor(first, device=device), torch.tensor(which, device=device)


@final
class PocketNet(ScoreNetwork[PocketEncoding]):
    """A score network whose evaluation is a few dense matrix products (:mod:`.tensor_field`).

    The pocket's atoms are encoded once for a complex, and what each ligand atom sees of it (all kinds of atoms, by
    distance and direction) is gathered once per evaluation, for all layers. The ligand's atoms then exchange messages,
    and each of them emits three vectors that are projected on the degrees of freedom; a torsion also hears the two ends
    of its bond directly. So a pose costs milliseconds on a CPU.
    """

    config: PocketNetConfig

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
        self.place = vector_linear(2, config.vectors)
        self.gate = nn.Sequential(
            nn.Linear(2 * config.scalars, config.scalars),
            nn.SiLU(),
            nn.Linear(config.scalars, 3 * config.vectors),
        )
        self.emit = nn.ModuleList(vector_linear(config.vectors, 1) for _ in range(3))
        self.twist = Twist(config)

    def encode(self, batch: ComplexBatch) -> PocketEncoding:
        pair = pair_channels(batch)
        first, which = distinct_pockets(batch)
        pocket = self.pocket(batch.with_pockets(first))[which]
        return PocketEncoding(batch, pocket, self.ligand(batch.atom_features, pair, batch.atom_mask), pair)

    def score(
        self, encoding: PocketEncoding, complex_row: Tensor, positions: Tensor, sigma: Mapping[str, Tensor]
    ) -> Scores:
        torsions = encoding.batch.torsion_mask.shape[1]
        encoding = encoding.cropped(complex_row)
        batch = encoding.batch
        positions = positions[:, : batch.atom_mask.shape[1]]
        s, v, noise = self._atoms(encoding, complex_row, positions, sigma)
        gates = self.gate(torch.cat([s, noise], -1)).unsqueeze(-2).chunk(3, -1)
        fields = [mix_vectors(emit, gate * v).squeeze(-1) for emit, gate in zip(self.emit, gates, strict=True)]
        # Torques are differences of large numbers, which half precision would round away.
        with without_autocast(positions.device):
            scores = project(batch, complex_row, positions, [field.to(positions) for field in fields])
            ends = [tensor.to(positions) for tensor in (s, v, noise[:, 0])]
            twist = self.twist(*ends, positions, batch.torsion_bonds[complex_row])
        tor = scores.tor + twist * batch.torsion_mask[complex_row]
        return scores._replace(tor=F.pad(tor, (0, torsions - tor.shape[1])))

    def features(
        self, encoding: PocketEncoding, complex_row: Tensor, positions: Tensor, sigma: Mapping[str, Tensor]
    ) -> Tensor:
        """Of each ligand atom, (B, A, scalars + vectors): its scalars, and the lengths of its vectors; zero on padding.
        Neither a rotation nor a reflection of the complex changes them. Arguments as in :meth:`score`.
        """
        atoms = positions.shape[1]
        encoding = encoding.cropped(complex_row)
        positions = positions[:, : encoding.batch.atom_mask.shape[1]]
        s, v, _ = self._atoms(encoding, complex_row, positions, sigma)
        found = torch.cat([s, torch.linalg.vector_norm(v, dim=-2)], -1)
        found = found * encoding.batch.atom_mask[complex_row].unsqueeze(-1)
        return F.pad(found, (0, 0, 0, atoms - found.shape[1]))

    def _atoms(
        self, encoding: PocketEncoding, complex_row: Tensor, positions: Tensor, sigma: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scalars (B, A, S) and vectors (B, A, 3, V) of the ligand's atoms after all layers, and the embedded noise
        levels (B, A, S); the encoding is cropped to what the complexes `complex_row` need.
        """
        mask = encoding.batch.atom_mask[complex_row]
        s = encoding.ligand.index_select(0, complex_row)
        noise = self.noise(sigma, len(positions)).unsqueeze(1).expand_as(s)
        from_centroid = positions - centroid(positions, mask).unsqueeze(1)
        v = mix_vectors(self.place, torch.stack([positions, from_centroid], -1) / 5.0)
        maps = cast(list[EquivariantLinear], list(self.environment))  # nn.ModuleList has no type for what is in it
        environments = side_by_side(maps, *self._see_pocket(encoding, complex_row, positions))
        weight = ligand_weight(self.ligand_basis, positions, encoding.pair[complex_row])
        for layer, environment in zip(self.layers, environments, strict=True):
            s, v = layer(s, v, positions, noise, weight, environment)
        return s, v, noise

    def _see_pocket(self, encoding: PocketEncoding, complex_row: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """The pocket around every ligand atom, (B, A, c) and (B, A, 3, c), c = (S + V) pocket_basis."""
        pocket = encoding.batch.pocket_positions[complex_row].unsqueeze(1)
        distance = softened_distance(pocket, positions.unsqueeze(2))
        return gather(
            self.pocket_basis(distance) / distance.unsqueeze(2),
            encoding.pocket.index_select(0, complex_row),
            positions,
            self.config.pocket_scalars,
        )
