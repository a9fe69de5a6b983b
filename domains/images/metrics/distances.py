"""Distances between two images: mean squared, pseudo-Huber, LPIPS; in features, and between sets of images."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor, nn

_HUBER_PER_ROOT_SIZE: Final = 0.00054
_VGG_LEAST: Final = 16  # VGG halves its input four times before the last layer that LPIPS looks at


@final
@dataclass(frozen=True)
class Distance:
    """A named distance of images (B, C, H, W) in [-1, 1], differentiable in both: shape (B,)."""

    name: str
    measure: Callable[[Tensor, Tensor], Tensor]


def mean_squared(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference of the values."""
    return (a - b).square().flatten(1).mean(1)


def pseudo_huber(a: Tensor, b: Tensor) -> Tensor:
    """√(|a - b|² + c²) - c with c = 0.00054 √D for D values (Song & Dhariwal, arXiv 2310.14189, eq. 8)."""
    difference = (a - b).flatten(1)
    c = _HUBER_PER_ROOT_SIZE * math.sqrt(difference.shape[1])
    return (difference.square().sum(1) + c**2).sqrt() - c


def feature_distance(features: Callable[[Tensor], Tensor]) -> Distance:
    """Mean squared difference of what `features` makes of the images, (B, C, H, W) -> (B, F)."""
    return Distance("features", lambda a, b: mean_squared(features(a), features(b)))


def energy_distance(features: Callable[[Tensor], Tensor]) -> Distance:
    """The part that each image has in the energy distance of the two sets, 2 E|x - y| - E|x - x'| - E|y - y'| in
    `features` (Székely & Rizzo 2013): a maximum mean discrepancy without a length scale, and zero where the two have
    one distribution. As a loss of a fit it needs all pairs in one chunk.
    """

    def measure(a: Tensor, b: Tensor) -> Tensor:
        x, y = features(a), features(b)
        return 2 * _lengths(x, y).mean(1) - _lengths(x, x).mean(1) - _lengths(y, y).mean(1)

    return Distance("energy", measure)


def combined(distances: Mapping[Distance, float]) -> Distance:
    """The sum of distances, each times its weight."""
    name = " + ".join(f"{weight:g} {distance.name}" for distance, weight in distances.items())
    return Distance(name, lambda a, b: sum((w * d.measure(a, b) for d, w in distances.items()), a.new_zeros(len(a))))


def _lengths(a: Tensor, b: Tensor) -> Tensor:
    """|a_i - b_j|, with a gradient of zero where it is zero."""
    square = (a[:, None] - b).square().sum(-1)
    return torch.where(square > 0, square, 1.0).sqrt() * (square > 0)


def lpips_distance(network: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """LPIPS (Zhang et al., arXiv 1801.03924) by a network of the `lpips` package; grey images count as three equal
    channels."""

    def measure(a: Tensor, b: Tensor) -> Tensor:
        a, b = (x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x for x in (a, b))
        return network(a, b).flatten()

    return measure


def _load_lpips(device: torch.device) -> Distance:
    try:
        # No dependency of ours: it takes torchvision along, which has to fit the torch of the machine.
        network = importlib.import_module("lpips").LPIPS(net="vgg", verbose=False)
    except Exception as error:  # a missing package, no network to fetch the backbone, a torchvision that does not fit
        cause = str(error).strip().partition("\n")[0]
        raise ValueError(
            "distance 'lpips' needs the packages lpips and torchvision and the VGG weights that torchvision fetches "
            f"({cause}); choose mse or pseudo_huber instead"
        ) from error
    return Distance("lpips", lpips_distance(network.eval().requires_grad_(False).to(device)))


DISTANCES: Final[Mapping[str, Callable[[torch.device], Distance]]] = {
    "mse": lambda device: Distance("mse", mean_squared),
    "pseudo_huber": lambda device: Distance("pseudo_huber", pseudo_huber),
    "lpips": _load_lpips,
}
"""Name -> the distance, ready for images on a device."""


def get_distance(name: str, device: torch.device) -> Distance:
    """The distance called `name`.

    Raises:
        ValueError: listing the names there are; or, for "lpips", saying what it lacks.
    """
    if name not in DISTANCES:
        raise ValueError(f"distance must be one of {', '.join(DISTANCES)}, got {name!r}")
    return DISTANCES[name](device)


def check_images(name: str, channels: int, size: int) -> None:
    """Do nothing if the distance called `name` can be taken of images of so many channels and pixels a side.

    Raises:
        ValueError: if it is LPIPS, and they are neither grey nor in three colours, or too small for its network.
    """
    if name == "lpips" and (channels not in (1, 3) or size < _VGG_LEAST):
        raise ValueError(
            f"distance 'lpips' needs images of 1 or 3 channels and at least {_VGG_LEAST} pixels a side, "
            f"got {channels} x {size} x {size}; choose mse or pseudo_huber instead"
        )
