"""The path of networks that were trained on numbered noising steps, with time in those numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, final, get_args

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ld3.schedules.base import Schedule

Betas = Literal["linear", "scaled_linear", "squaredcos_cap_v2"]

_LEAST_ALPHA_SQUARED = 2.0**-24
_STEEPEST = 0.999


@final
@dataclass(frozen=True)
class VPSteps(Schedule):
    """DDPM's path (Ho et al., arXiv 2006.11239): t is the step number 0 ... n-1 that the network is given.

    λ is linear in t between two steps, which is how samplers over noise levels number those that lie between. The table
    is computed in float32, as it was for the networks: α at a step then agrees with theirs to the last digit.

    Attributes:
        betas: "linear"; "scaled_linear", linear in √β (Rombach et al., arXiv 2112.10752); or "squaredcos_cap_v2", the
            cosine (Nichol & Dhariwal, arXiv 2102.09672), which ignores the ends.
        beta_start: β of the first step.
        beta_end: β of the last.
        n: number of steps.
        zero_terminal_snr: betas rescaled so that the last step is pure noise (Lin et al., arXiv 2305.08891, alg. 1); α²
            is 2⁻²⁴ there, so that λ is finite.

    Raises:
        ValueError: naming the argument that is out of its range.
    """

    betas: Betas = "linear"
    beta_start: float = 1e-4
    beta_end: float = 0.02
    n: int = 1000
    zero_terminal_snr: bool = False

    def __post_init__(self) -> None:
        if self.betas not in get_args(Betas):
            raise ValueError(f"betas must be one of {', '.join(get_args(Betas))}, got {self.betas!r}")
        if not 0 < self.beta_start < self.beta_end < 1:
            raise ValueError(f"0 < beta_start < beta_end < 1 must hold, got {self.beta_start} and {self.beta_end}")
        if self.n < 2:
            raise ValueError(f"n must be at least 2 steps, got {self.n}")

    @property
    def t_min(self) -> float:
        return 0.0

    @property
    def t_max(self) -> float:
        return self.n - 1.0

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(-0.5 * softplus(-2 * self.half_log_snr(t)))  # α² = sigmoid(2λ)

    def half_log_snr(self, t: Tensor) -> Tensor:
        table, t = self._table.to(t.device), t.double()
        left = t.detach().floor().long().clamp(0, self.n - 2)
        return table[left] + (t - left) * (table[left + 1] - table[left])

    def time(self, lam: Tensor) -> Tensor:
        table, lam = self._table.to(lam.device), lam.double()
        # -λ rises with the step.
        left = (torch.searchsorted(-table, -lam.detach().contiguous(), right=True) - 1).clamp(0, self.n - 2)
        return left + (lam - table[left]) / (table[left + 1] - table[left])

    @cached_property
    def _table(self) -> Tensor:
        """λ at the steps, shape (n,), falling."""
        alpha_squared = torch.cumprod(1 - self._betas(), 0)
        if self.zero_terminal_snr:
            alpha_squared = torch.cumprod(_without_signal_at_the_end(alpha_squared), 0)
            alpha_squared[-1] = _LEAST_ALPHA_SQUARED
        return torch.logit(alpha_squared.double()) / 2

    def _betas(self) -> Tensor:
        if self.betas == "linear":
            return torch.linspace(self.beta_start, self.beta_end, self.n, dtype=torch.float32)
        if self.betas == "scaled_linear":
            return torch.linspace(self.beta_start**0.5, self.beta_end**0.5, self.n, dtype=torch.float32) ** 2
        alpha_squared = [math.cos((i / self.n + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(self.n + 1)]
        falls = (1 - b / a for a, b in pairwise(alpha_squared))
        return torch.tensor([min(fall, _STEEPEST) for fall in falls], dtype=torch.float32)


def _without_signal_at_the_end(alpha_squared: Tensor) -> Tensor:
    """The α² of each single step after α has been shifted to end at 0 and scaled to keep its first value."""
    alpha = alpha_squared.sqrt()
    alpha = (alpha - alpha[-1]) * (alpha[0] / (alpha[0] - alpha[-1]))
    squared = alpha.square()
    return torch.cat([squared[:1], squared[1:] / squared[:-1]])
