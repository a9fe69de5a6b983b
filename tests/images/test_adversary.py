"""The adversarial term: what it is worth where nothing can be told, what it learns, and where it leads."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from domains.images.metrics.adversary import Adversary, adversarial
from domains.images.metrics.distances import Distance, mean_squared, pseudo_huber

PIXELS = Distance("pixels", mean_squared)


def images(seed: int, shift: float = 0.0) -> Tensor:
    return 0.5 * torch.randn(64, 1, 4, 4, generator=torch.Generator().manual_seed(seed)) + shift


def test_images_that_are_the_same_cannot_be_told_apart() -> None:
    adversary, same = Adversary(16, 0), images(0)
    torch.testing.assert_close(adversary.fooled(same, same), torch.full((64,), math.log(2)))
    assert adversary.learn(same, same) == pytest.approx(math.log(2), abs=1e-6)


def test_it_learns_to_tell_and_its_slope_leads_to_the_teacher() -> None:
    """Images that are too bright: the network's loss falls, and following its slope makes them darker."""
    adversary = Adversary(16, 0)
    told = [adversary.learn(images(step, 1.0), images(1000 + step)) for step in range(200)]
    assert told[0] == pytest.approx(math.log(2), abs=0.1)
    assert sum(told[-20:]) / 20 < 0.35
    bright = images(7, 1.0).requires_grad_()
    (slope,) = torch.autograd.grad(adversary.fooled(bright, images(8)).sum(), bright)
    assert slope.mean() > 0  # descent goes down


def test_the_term_counts_where_it_is_differentiated_alone() -> None:
    both = adversarial(PIXELS, 0.1, Distance("huber", pseudo_huber), 16, 3)
    a, b = images(0, 0.3), images(1)
    torch.testing.assert_close(both.measure(a, b), pseudo_huber(a, b))
    moving = a.clone().requires_grad_()
    found = both.measure(moving, b)
    again = Adversary(16, 3)
    again.learn(a, b)
    torch.testing.assert_close(found, mean_squared(a, b) + 0.1 * again.fooled(a, b))
    assert both.name == "pixels + 0.1 adversary of seed 3, chosen by huber"
