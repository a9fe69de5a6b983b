"""Fits a confidence head to labelled poses: minutes, on features that do not change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from domains.docking.ranking.confidence import ConfidenceHead, HeadConfig
from domains.docking.training.confidence_poses import LabelledPoses


@final
@dataclass(frozen=True)
class HeadTraining:
    """How a head is fitted.

    Raises:
        ValueError: naming a value that is out of its range.
    """

    hidden: int = 64
    dropout: float = 0.2
    epochs: int = 40
    """at most; the one with the least loss on clusters held back is kept"""
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    held_back: float = 0.2
    """share of clusters"""

    def __post_init__(self) -> None:
        for name in ("hidden", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("dropout", "held_back"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if not self.learning_rate > 0 or not self.weight_decay >= 0:
            raise ValueError(f"learning_rate and weight_decay must be positive, got {self}")


def loss_of(head: ConfidenceHead, poses: LabelledPoses) -> Tensor:
    """Cross entropy of "near" over the poses of a complex, and, where there are both kinds, minus the logarithm of the
    probability that a near one is drawn by softmax: which of them is first is what counts in the end.
    """
    logits = head(poses.features, torch.ones(poses.features.shape[:2]))
    loss = F.binary_cross_entropy_with_logits(logits, poses.near.float())
    if poses.near.any() and not poses.near.all():
        loss = loss + torch.logsumexp(logits, 0) - torch.logsumexp(logits[poses.near], 0)
    return loss


def fit_head(
    found: Sequence[LabelledPoses], clusters: Sequence[str], how: HeadTraining, seed: int
) -> tuple[ConfidenceHead, dict[str, Any]]:
    """A head in evaluation mode, and what came of its training.

    Args:
        found: poses by complex.
        clusters: of the complexes; none is divided between training and what is held back.
        how: settings.
        seed: of the weights, the order, dropout, and the clusters that are held back.

    Raises:
        ValueError: if all poses are of one kind, or one of the two parts would be empty.
    """
    near = sum(int(own.near.sum()) for own in found)
    poses = sum(len(own.near) for own in found)
    if near in (0, poses):
        raise ValueError(
            f"of {poses} poses, {near} are within 2 Å: both kinds are needed; give other complexes or weights"
        )
    rng = np.random.default_rng(seed)
    names = sorted(set(clusters))
    held = {names[i] for i in rng.permutation(len(names))[: max(1, round(how.held_back * len(names)))]}
    train, valid = (
        [own for own, cluster in zip(found, clusters, strict=True) if (cluster in held) == which]
        for which in (False, True)
    )
    if not train:
        raise ValueError(f"there are {len(names)} clusters, at least 2 are needed to hold one back")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = ConfidenceHead(HeadConfig(found[0].features.shape[-1], how.hidden, how.dropout))
        optimiser = torch.optim.AdamW(head.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay)
        best, kept, curve = float("inf"), head.state_dict(), []
        for _ in range(how.epochs):
            head.train()
            for k in np.array_split(rng.permutation(len(train)), max(1, len(train) // 8)):
                optimiser.zero_grad(set_to_none=True)
                torch.autograd.backward(torch.stack([loss_of(head, train[i]) for i in k.tolist()]).mean())
                optimiser.step()
            head.eval()
            with torch.no_grad():
                loss = float(torch.stack([loss_of(head, own) for own in valid]).mean())
            curve.append(round(loss, 4))
            if loss < best:
                best, kept = loss, {name: value.clone() for name, value in head.state_dict().items()}
    head.load_state_dict(kept)
    record = {"complexes": len(found), "poses": poses, "near": near, "held_back": len(valid), "loss": curve}
    return head.eval().requires_grad_(False), record
