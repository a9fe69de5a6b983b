"""A published EDM network as a flow."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from domains.images.conditioned import ConditionedFlow
from domains.images.edm.denoiser import EDMDenoiser
from domains.images.metrics.distances import Distance
from ld3.fingerprint import fingerprint
from ld3.flow import noise_from_clean
from ld3.schedules.schedule import EDM


@final
class EDMFlow(ConditionedFlow):
    """Images (B, C, H, W) in [-1, 1] on EDM's path, σ from 80 to 0.002, whichever path the network was trained on.

    Args:
        denoiser: the model.
        labels: condition -> class that it is to show; the prior takes them in turn. Empty for a model without classes.
        distance: of images.
        precision: type of the network's inner arithmetic (autocast); None = that of its weights.

    Raises:
        ValueError: if a label is no class of the model, or there are none for a model with classes.
    """

    def __init__(
        self, denoiser: EDMDenoiser, labels: Sequence[int], distance: Distance, precision: torch.dtype | None = None
    ) -> None:
        network = denoiser.config.network
        for label in labels:
            if not 0 <= label < network.classes:
                raise ValueError(f"labels must be from 0 to {network.classes - 1}, got {label}")
        if network.classes and not labels:
            raise ValueError("labels must name at least one class, got none")
        weight = next(denoiser.parameters())
        shape = (network.channels, network.resolution, network.resolution)
        super().__init__(EDM(), shape, max(1, len(labels)), distance, weight.dtype)
        self.denoiser, self.labels, self.precision = denoiser, tuple(labels), precision
        classes = torch.tensor(labels, device=weight.device, dtype=torch.long)
        self._one_hot = F.one_hot(classes, network.classes).to(weight.dtype) if labels else None

    def noise(self, x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        labels = None if self._one_hot is None else self._one_hot[condition]
        with self._arithmetic(x_t.device):
            clean = self.denoiser(x_t, t, labels)
        return noise_from_clean(x_t, clean.to(x_t), self.schedule.alpha(t), self.schedule.sigma(t))

    def image(self, x_0: Tensor) -> Tensor:
        return x_0

    def fingerprint(self) -> str:
        settings = (self.labels, self.precision, self.measure.name)
        return fingerprint("edm", self.denoiser.config, self.denoiser, *settings)

    def _arithmetic(self, device: torch.device) -> AbstractContextManager[object]:
        return nullcontext() if self.precision is None else torch.autocast(device.type, self.precision)
