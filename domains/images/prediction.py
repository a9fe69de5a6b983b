"""What a network was trained to answer with, and the noise that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from torch import Tensor

from ld3.flow import noise_from_clean, noise_from_v, noise_from_velocity


def _epsilon(x_t: Tensor, answer: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    return answer


NOISE_FROM: Final[Mapping[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]]] = {
    "epsilon": _epsilon,
    "sample": noise_from_clean,
    "v_prediction": noise_from_v,
    "flow_prediction": noise_from_velocity,
}
"""Prediction type, as diffusers spells it -> (x_t, answer, α, σ) -> ε̂."""
