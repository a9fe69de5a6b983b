"""A diffusers model as a probability flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Final, final

import torch
from torch import Tensor, nn

from domains.images.conditioned import ConditionedFlow
from domains.images.diffusers.networks import Network
from domains.images.metrics.distances import Distance
from ld3.fingerprint import fingerprint
from ld3.single_path import STRAIGHT
from ld3_diffusers.config_options import Component
from ld3_diffusers.schedule import NOISE_FROM, TrainedPath

_UNSCALED: Final = ("DDPMPipeline", "DDIMPipeline", "PNDMPipeline")
"""Pipelines that show their network the noise as it is; so do those for straight paths."""


@final
class DiffusersFlow(ConditionedFlow):
    """The network's noise path, a call to it, and a way from latents to images.

    Args:
        path: schedule, prediction type and unit of time.
        network: (x_t, the network's time, condition) -> answer.
        image: images in [-1, 1] from x_0.
        shape: (C, H, W) of what is noised.
        conditions: number of prompts; 1 without any.
        distance: of images.
        network_dtype: floating type of the network; the state's is its own.
        dtype: of the state. Straight paths begin at σ̂ = 999, so that float32 would round what it is about.
        device: where the model runs.
        table: that `ld3.grids.ays` has for this model.
        remarks: what a person should know about what the pipeline says and this flow does.
        about: model, prompts and options, for what is learned on them.
        scheduler: the pipeline's own.
        content: all that the fingerprint is to depend on: modules, encoded prompts, guidance.
    """

    def __init__(
        self,
        path: TrainedPath,
        network: Network,
        image: Callable[[Tensor], Tensor],
        shape: tuple[int, int, int],
        conditions: int,
        distance: Distance,
        network_dtype: torch.dtype,
        dtype: torch.dtype,
        device: torch.device,
        table: str | None,
        remarks: Sequence[str],
        about: Mapping[str, object],
        scheduler: Component,
        content: Sequence[object],
    ) -> None:
        super().__init__(path.schedule, shape, conditions, distance, dtype, device, path.clean_end)
        self.path = path
        self.network_dtype = network_dtype
        self._network, self._image, self._table, self._content = network, image, table, tuple(content)
        self._remarks, self._about, self.scheduler = tuple(remarks), dict(about), scheduler

    @property
    def published_table(self) -> str | None:
        return self._table

    @property
    def remarks(self) -> tuple[str, ...]:
        return self._remarks

    @property
    def scales_noise(self) -> bool:
        straight = type(self.schedule).__name__ in STRAIGHT
        return not straight and self._about["pipeline"] not in _UNSCALED

    @property
    def about(self) -> dict[str, object]:
        return {**self._about, "network": fingerprint(self._weights())}

    def _weights(self) -> object:
        network = self._content[0]
        return network.state_dict() if isinstance(network, nn.Module) else network

    def noise(self, x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        precise = torch.promote_types(self.network_dtype, torch.float32)  # steps are numbers up to 1000
        time = (self.path.time_scale * t).to(x_t.device, precise)
        answer = self.answer(x_t, time, condition)
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        return NOISE_FROM[self.path.prediction](x_t, answer, alpha, sigma)

    def answer(self, x_t: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """What the network says to x_t (B, C, H, W) at its own time, guided, without a learned variance (arXiv
        2102.09672); in the type of x_t."""
        answer = self._network(x_t.to(self.network_dtype), time, condition).to(x_t)
        return answer[:, : self.shape[0]] if answer.shape[1] == 2 * self.shape[0] else answer

    def image(self, x_0: Tensor) -> Tensor:
        return self._image(x_0).to(x_0)

    def fingerprint(self) -> str:
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        content = [part.state_dict() if isinstance(part, nn.Module) else part for part in self._content]
        settings = (self.path, self.shape, self.conditions, self.measure.name, str(self.network_dtype), str(self.dtype))
        return fingerprint(type(self).__qualname__, *settings, *content)
