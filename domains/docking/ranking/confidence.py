"""Confidence: a small head on the score network's own atoms says whether a pose is within 2 Å of the bound one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from domains.docking.networks.pocket_net import PocketNet
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.flow import DockingFlow
from domains.docking.ranking.ranker import PoseScores
from domains.docking.ranking.residual import LEVELS
from domains.docking.settings import poses_at_once
from domains.docking.structures.batch import collate
from domains.docking.structures.complexes import Complex
from domains.weight_files import check_tensors, problem, read_weights, write_weights
from ld3.fingerprint import fingerprint

_FORMAT: Final = "ld3-confidence-1"
_OURS: Final = "give a file written by domains.docking.train_confidence"


@final
@dataclass(frozen=True)
class HeadConfig:
    """Sizes of a :class:`ConfidenceHead`."""

    features: int
    """of an atom"""
    hidden: int = 64
    dropout: float = 0.2


@final
class ConfidenceHead(nn.Module):
    """The logit of "within 2 Å" of a pose: a mean over its atoms of what a small network makes of each."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.atom = nn.Sequential(
            nn.LayerNorm(config.features),
            nn.Linear(config.features, config.hidden),
            nn.SiLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, 1),
        )

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Atoms (B, A, features), `mask` (B, A) -> (B,)."""
        each = self.atom(features).squeeze(-1) * mask
        logit: Tensor = each.sum(1) / mask.sum(1)
        return logit


@torch.no_grad()
def pose_features(model: DockingModel, complex_: Complex, positions: NDArray[np.float32]) -> Tensor:
    """What the network's atoms know of poses (S, A, 3), Å, in the protein's frame, at the noise levels `LEVELS`:
    (S, A, F), on the CPU.

    Raises:
        ValueError: if the network is no PocketNet.
    """
    network = model.network
    if not isinstance(network, PocketNet):
        raise ValueError(f"model must have a PocketNet to take features from, got a {type(network).__name__}")
    encoded = model.encode(collate([complex_]))
    clock = DockingFlow(encoded).clock
    own = torch.from_numpy(positions - complex_.pocket.origin).to(model.device)
    parts = []
    for chunk in own.split(poses_at_once(model.device)):
        rows = torch.zeros(len(chunk), dtype=torch.long, device=chunk.device)
        sigmas = [clock.sigma(clock.levels(torch.tensor(t))) for t in LEVELS]
        levels = [network.features(encoded.encoding, rows, chunk, sigma) for sigma in sigmas]
        parts.append(torch.cat(levels, -1).float().cpu())
    return torch.cat(parts)


@final
class PoseConfidence:
    """A ranker: the head's logit. It costs as much as two network evaluations a pose.

    Args:
        model: whose atoms the head was trained on.
        head: in evaluation mode.
    """

    name = "confidence"

    def __init__(self, model: DockingModel, head: ConfidenceHead) -> None:
        self._model, self._head = model, head

    @torch.no_grad()
    def rank(self, complex_: Complex, positions: NDArray[np.float32]) -> PoseScores:
        """See :class:`domains.docking.ranking.ranker.Ranker`."""
        features = pose_features(self._model, complex_, positions)
        score = self._head(features, torch.ones(features.shape[:2])).double().numpy()
        return PoseScores(score, {self.name: score})


def save_head(path: Path, head: ConfidenceHead, model: DockingModel, record: str) -> None:
    """Write a head with the hash of the network that it belongs to and a record (JSON) of how it came about."""
    about = {"head": asdict(head.config), "network": fingerprint(model.network)}
    write_weights(path, head.state_dict(), {"format": _FORMAT, "model": json.dumps(about), "record": record})


def load_confidence(path: Path, model: DockingModel) -> PoseConfidence:
    """The ranker in a file of :func:`save_head`.

    Raises:
        InputError: if the file cannot be used, or belongs to another network than the model's.
    """
    tensors, metadata = read_weights(path, _FORMAT, _OURS)
    try:
        about = json.loads(metadata["model"])
        head, network = ConfidenceHead(HeadConfig(**about["head"])), about["network"]
    except (KeyError, TypeError, ValueError) as error:
        message = f"its description of the head cannot be used ({type(error).__name__}: {error})"
        raise problem(path, message, "train it again") from error
    if network != fingerprint(model.network):
        raise problem(path, "it was trained on another network than this model's", "train one for these weights")
    check_tensors(path, tensors, head.state_dict(), _OURS)
    head.load_state_dict({name: value.float() for name, value in tensors.items()})
    return PoseConfidence(model, head.eval().requires_grad_(False))
