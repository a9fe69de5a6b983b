"""The digits model as a flow: EDM's path, class labels, classifier-free guidance."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import final

import torch
from torch import Tensor

from domains.images.conditioned import ConditionedFlow, guided
from domains.images.metrics.distances import Distance, get_distance
from domains.images.models.denoiser import Denoiser
from ld3.fingerprint import fingerprint
from ld3.flow import noise_from_clean
from ld3.schedules.schedule import EDM


@final
class DigitsFlow(ConditionedFlow):
    """Images of a :class:`Denoiser`, (B, C, H, W) with pixels in about [-1, 1].

    Args:
        denoiser: the model.
        labels: condition -> class that it is to show; None = any class. The prior takes them in turn.
        guidance: w of :func:`guided`. Any but 1 calls the network twice an evaluation, as one batch.
        distance: of images; mean squared difference if None.
        precision: type of the network's inner arithmetic (autocast); None = that of its weights.

    Raises:
        ValueError: if a label is no class of the model, or guidance has nothing to guide: no class, or a model without
            classes.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        labels: Sequence[int | None] = (None,),
        guidance: float = 1.0,
        distance: Distance | None = None,
        precision: torch.dtype | None = None,
    ) -> None:
        config = denoiser.network.config
        _check(labels, guidance, config.classes)
        self.denoiser, self.labels, self.guidance, self.precision = denoiser, tuple(labels), guidance, precision
        weight = next(denoiser.parameters())
        self._label = torch.tensor([config.classes if k is None else k for k in labels], device=weight.device)
        shape = (config.image_channels, config.resolution, config.resolution)
        measure = get_distance("mse", weight.device) if distance is None else distance
        super().__init__(EDM(), shape, len(self.labels), measure, weight.dtype)

    def noise(self, x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        clean = self._clean(x_t, t, self._label[condition])
        return noise_from_clean(x_t, clean, self.schedule.alpha(t), self.schedule.sigma(t))

    def image(self, x_0: Tensor) -> Tensor:
        return x_0

    def fingerprint(self) -> str:
        settings = (self.labels, self.guidance, self.precision, self.measure.name)
        return fingerprint("digits", self.denoiser.network.config, self.denoiser, self.denoiser.sigma_data, *settings)

    def _clean(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        with self._arithmetic(x.device):
            if self.guidance == 1.0:
                return self.denoiser(x, sigma, label)
            any_class = torch.full_like(label, self.denoiser.no_class)
            both = self.denoiser(torch.cat([x, x]), sigma, torch.cat([label, any_class]))
            conditional, unconditional = both.chunk(2)
            return guided(conditional, unconditional, self.guidance)

    def _arithmetic(self, device: torch.device) -> AbstractContextManager[object]:
        return nullcontext() if self.precision is None else torch.autocast(device.type, self.precision)


def _check(labels: Sequence[int | None], guidance: float, classes: int) -> None:
    if not labels:
        raise ValueError("labels must name at least one condition, got none")
    for label in labels:
        if label is not None and not 0 <= label < classes:
            raise ValueError(f"labels must be None or from 0 to {classes - 1}, got {label}")
    if guidance != 1.0 and None in labels:
        raise ValueError(f"guidance must be 1 where no class is asked for, got {guidance}; give labels to guide to")
