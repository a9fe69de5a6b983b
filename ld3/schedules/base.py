"""What a noise schedule is: a Gaussian path x_t = α(t) x_0 + σ(t) z and its half log-SNR λ(t) = log(α/σ).

Every method takes and returns float64 tensors of any shape and is differentiable. `time` inverts `half_log_snr`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise

import torch
from torch import Tensor


class Schedule(ABC):
    """A path from data (`t_min`) to noise (`t_max`); λ falls strictly as t grows."""

    @property
    @abstractmethod
    def t_min(self) -> float:
        """Time of the least noise."""

    @property
    @abstractmethod
    def t_max(self) -> float:
        """Time of the most noise."""

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Scale α(t) of the data."""

    @abstractmethod
    def half_log_snr(self, t: Tensor) -> Tensor:
        """Half log-SNR λ(t) = log(α(t) / σ(t))."""

    @abstractmethod
    def time(self, lam: Tensor) -> Tensor:
        """The t at which `half_log_snr` is `lam`."""

    def sigma(self, t: Tensor) -> Tensor:
        """Standard deviation σ(t) = α(t) exp(-λ(t)) of the noise."""
        return self.alpha(t) * torch.exp(-self.half_log_snr(t))


def check_increasing(**values: float) -> None:
    """Raise a ValueError unless the values rise in this order."""
    if any(not low < high for low, high in pairwise(values.values())):
        raise ValueError(f"{' < '.join(values)} must hold, got {list(values.values())}")
