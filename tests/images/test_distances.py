from __future__ import annotations

import importlib.util
import math

import pytest
import torch
from torch import Tensor, nn

from domains.errors import InputError
from domains.images.metrics.distances import DISTANCES, check_images, get_distance, lpips_distance
from domains.images.models.load import load
from domains.images.models.options import ModelOptions

CPU = torch.device("cpu")


def test_distances_are_their_formulas() -> None:
    a, b = torch.randn(2, 3, 1, 4, 5, dtype=torch.float64)
    squares = ((a - b) ** 2).reshape(3, -1)
    torch.testing.assert_close(get_distance("mse", CPU).measure(a, b), squares.mean(1))
    c = 0.00054 * math.sqrt(20)
    torch.testing.assert_close(get_distance("pseudo_huber", CPU).measure(a, b), (squares.sum(1) + c**2).sqrt() - c)


def test_every_distance_knows_its_name() -> None:
    assert [get_distance(name, CPU).name for name in DISTANCES if name != "lpips"] == ["mse", "pseudo_huber"]
    with pytest.raises(ValueError, match="must be one of mse, pseudo_huber, lpips, got 'l3'"):
        get_distance("l3", CPU)


def test_pseudo_huber_has_a_gradient_at_zero() -> None:
    a = torch.zeros(1, 1, 2, 2, requires_grad=True)
    get_distance("pseudo_huber", CPU).measure(a, torch.zeros(1, 1, 2, 2)).sum().backward()
    assert a.grad is not None
    assert not a.grad.any()


def test_lpips_sees_grey_images_in_three_channels() -> None:
    class Sums(nn.Module):
        """Answers in the shape of the real network, (B, 1, 1, 1)."""

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return (a - b).sum((1, 2, 3), keepdim=True)

    grey, colours = torch.rand(2, 1, 4, 4), torch.rand(2, 3, 4, 4)
    measure = lpips_distance(Sums())
    torch.testing.assert_close(measure(grey, 0 * grey), 3 * grey.sum((1, 2, 3)))
    torch.testing.assert_close(measure(colours, 0 * colours), colours.sum((1, 2, 3)))


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="LPIPS can be had here")
def test_lpips_says_what_it_lacks() -> None:
    with pytest.raises(ValueError, match="lpips and torchvision") as info:
        get_distance("lpips", CPU)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(("channels", "size"), [(3, 8), (1, 15), (4, 32), (2, 16)])
def test_lpips_refuses_images_that_its_network_cannot_take(channels: int, size: int) -> None:
    with pytest.raises(ValueError, match=rf"1 or 3 channels.*got {channels} x {size} x {size}") as info:
        check_images("lpips", channels, size)
    assert "\n" not in str(info.value)
    for name in ("mse", "pseudo_huber"):
        check_images(name, channels, size)


def test_vgg_is_left_with_a_pixel_of_sixteen() -> None:
    """Its layers up to the last one that LPIPS sees, four of which halve: what fails below 16 pixels, and not there."""
    layers = nn.Sequential(*(nn.MaxPool2d(2) for _ in range(4)))
    assert layers(torch.ones(1, 1, 16, 16)).shape == (1, 1, 1, 1)
    check_images("lpips", 1, 16)
    with pytest.raises(RuntimeError):
        layers(torch.ones(1, 1, 15, 15))


def test_models_of_small_images_refuse_lpips_in_one_line() -> None:
    with pytest.raises(InputError, match="at least 16 pixels a side, got 1 x 8 x 8") as info:
        load("digits", ModelOptions(distance="lpips"))
    assert "\n" not in str(info.value)
