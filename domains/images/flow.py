"""A denoiser as a flow: EDM's noise path, class labels, classifier-free guidance."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, final

import torch
from torch import Tensor

from domains.images.conditioned import ConditionedFlow, guided
from domains.images.metrics.distances import Distance, get_distance
from domains.images.models.denoiser import Denoiser, ImageNetwork
from ld3.fingerprint import fingerprint
from ld3.flow import noise_from_clean
from ld3.schedules import EDM


@final
class DenoiserFlow(ConditionedFlow):
    """Images (B, C, H, W) in about [-1, 1] on EDM's path, σ from 80 to 0.002, whatever path the network learned on.

    Args:
        denoiser: the model.
        labels: condition -> class that it is to show; None = any class. The prior takes them in turn.
        guidance: w of :func:`guided`. Any but 1 calls the network twice an evaluation, as one batch.
        distance: of images; mean squared difference if None.
        precision: type of the network's inner arithmetic (autocast); None = that of its weights.

    Raises:
        ValueError: if a label is no class of the model, or guidance has nothing to guide: no class, or a model that
            does not know images of any class.
    """

    def __init__(
        self,
        denoiser: Denoiser[Any],
        labels: Sequence[int | None] = (None,),
        guidance: float = 1.0,
        distance: Distance | None = None,
        precision: torch.dtype | None = None,
    ) -> None:
        network: ImageNetwork = denoiser.network
        _check(labels, guidance, network)
        self.denoiser, self.labels, self.guidance, self.precision = denoiser, tuple(labels), guidance, precision
        weight = next(denoiser.parameters())
        numbers = [network.no_class if label is None else label for label in labels]
        self._label = torch.tensor(numbers, device=weight.device)
        measure = get_distance("mse", weight.device) if distance is None else distance
        super().__init__(EDM(), network.shape, len(self.labels), measure, weight.dtype, weight.device)

    def noise(self, x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        with self._arithmetic(x_t.device):
            clean = self._clean(x_t, t, self._label[condition])
        return noise_from_clean(x_t, clean.to(x_t), self.schedule.alpha(t), self.schedule.sigma(t))

    def image(self, x_0: Tensor) -> Tensor:
        return x_0

    @property
    def about(self) -> dict[str, object]:
        labels = list(self.labels)
        name = type(self.denoiser.network).__name__
        about = {
            "model": name,
            "network": fingerprint(self.denoiser.state_dict()),
            "resolution": self.shape[-1],
            "labels": labels,
        }
        return {**about, "guidance": self.guidance}

    def fingerprint(self) -> str:
        model = (self.denoiser.network.config, self.denoiser, self.denoiser.sigma_data, self.denoiser.preconditioning)
        return fingerprint("denoiser", *model, self.labels, self.guidance, self.precision, self.measure.name)

    def _clean(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        if self.guidance == 1.0:
            return self.denoiser(x, sigma, label)
        any_class = torch.full_like(label, self.denoiser.network.no_class)
        conditional, unconditional = self.denoiser(torch.cat([x, x]), sigma, torch.cat([label, any_class])).chunk(2)
        return guided(conditional, unconditional, self.guidance)

    def _arithmetic(self, device: torch.device) -> AbstractContextManager[object]:
        return nullcontext() if self.precision is None else torch.autocast(device.type, self.precision)


def _check(labels: Sequence[int | None], guidance: float, network: ImageNetwork) -> None:
    if not labels:
        raise ValueError("labels must name at least one class, or None for any class, got none")
    none = "" if network.no_class is None else "None or "
    for label in labels:
        if network.no_class is None if label is None else not 0 <= label < network.classes:
            raise ValueError(f"labels must be {none}from 0 to {network.classes - 1}, got {label}")
    if guidance != 1.0 and (network.no_class is None or not network.classes):
        raise ValueError(f"guidance must be 1, the model takes no guidance; got {guidance}")
    if guidance != 1.0 and None in labels:
        raise ValueError(f"guidance must be 1 where no class is asked for, got {guidance}; give labels to guide to")
