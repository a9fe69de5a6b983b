"""The one interface between the docking flow and a score network.

A network sees the complexes once (:meth:`ScoreNetwork.encode`: everything that depends neither on the pose nor on the
noise level) and is then called per step with poses and noise levels. Its outputs are scores relative to their expected
size: the gradient of the log-density is ``output * score_norm(sigma)`` for every factor
(:mod:`domains.docking.poses.diffusion`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Generic, NamedTuple, TypeVar

from torch import Tensor, nn

from domains.docking.structures.batch import ComplexBatch
from domains.docking.structures.complexes import Complex

Encoding = TypeVar("Encoding")


class Scores(NamedTuple):
    """Normalised scores of B poses; a network that predicts zero everywhere has denoising loss 1."""

    tr: Tensor  # (B, 3)
    rot: Tensor  # (B, 3), axis-angle, left multiplication about the ligand's centroid
    tor: Tensor  # (B, R), zero where a ligand has no such torsion


class ScoreNetwork(nn.Module, ABC, Generic[Encoding]):
    """SE(3)-equivariant score of poses in pockets.

    Attributes:
        config: what the network was built from, a dataclass; with the weights it identifies the network.
        docks_to_whole_protein: whether it was trained to find the pocket too.
    """

    config: object
    docks_to_whole_protein: ClassVar[bool] = False

    def prepare(self, complex_: Complex) -> Complex:
        """The complex as this network docks it; what it changes is said among the remarks. Done again, nothing changes.

        Raises:
            InputError: if the network cannot dock it.
        """
        return complex_

    def memory(self, complex_: Complex) -> int:
        """Bytes that one evaluation takes for each pose of the complex, about; 0 where it is never many."""
        return 0

    @abstractmethod
    def encode(self, batch: ComplexBatch) -> Encoding:
        """What the network needs to know of the complexes; computed once per batch, not per step."""

    @abstractmethod
    def score(self, encoding: Encoding, complex_row: Tensor, positions: Tensor, sigma: Mapping[str, Tensor]) -> Scores:
        """Normalised scores of poses.

        Args:
            encoding: of the batch that `complex_row` points into.
            complex_row: (B,) int64, which complex each pose belongs to.
            positions: (B, A, 3) Å, relative to the pocket's origin.
            sigma: per factor ("tr" Å, "rot" rad, "tor" rad) the noise levels (B,) or ().
        """
