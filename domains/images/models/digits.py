"""The digits of scikit-learn: 1797 grey images of 8x8 pixels, 16 steps of grey, ten classes.

The steps are filled with uniform noise (dequantised), so that the data have a density; pixels are scaled to about
[-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import torch
from sklearn.datasets import load_digits
from torch import Tensor

SHAPE: Final = (1, 8, 8)
CLASSES: Final = 10

_WHITE: Final = 16
_VALIDATION: Final = 360
_SPLIT_SEED: Final = 0


@final
@dataclass(frozen=True, eq=False)
class Digits:
    """Images.

    Attributes:
        grey: whole numbers 0..16, shape (n, 1, 8, 8), float32.
        label: 0..9, shape (n,), int64.
    """

    grey: Tensor
    label: Tensor

    def __len__(self) -> int:
        return len(self.label)

    def pixels(self, generator: torch.Generator, rows: Tensor | None = None) -> Tensor:
        """Images with fresh dequantisation noise, those of `rows` or all, shape (n, 1, 8, 8)."""
        grey = self.grey if rows is None else self.grey[rows]
        noise = torch.rand(grey.shape, generator=generator) - 0.5
        return (grey + noise) / (_WHITE / 2) - 1


def load() -> tuple[Digits, Digits]:
    """The training part (1437 images) and the validation part (360), always the same ones."""
    bunch = load_digits()
    grey = torch.from_numpy(bunch.images).float().unsqueeze(1)
    label = torch.from_numpy(bunch.target).long()
    order = torch.randperm(len(label), generator=torch.Generator().manual_seed(_SPLIT_SEED))
    valid, train = order[:_VALIDATION], order[_VALIDATION:]
    return Digits(grey[train], label[train]), Digits(grey[valid], label[valid])
