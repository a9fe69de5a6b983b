"""Gradient descent by Adam on the parameters of one phase, the counterpart of :mod:`ld3.learn.quasi_newton`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch

from ld3.learn.config import FitConfig
from ld3.learn.student import Phase, Student


@final
class Descent:
    """Adam (Kingma & Ba, arXiv 1412.6980) on the parameters of one phase.

    Args:
        student: whose parameters move.
        phase: which of them.
        config: for clipping and annealing.
        rate: learning rate; that of solver coefficients is `config.coefficient_rate` times it.
    """

    def __init__(self, student: Student, phase: Phase, config: FitConfig, rate: float) -> None:
        self.student, self.config = student, config
        parts = zip(student.select(phase), (1.0, config.coefficient_rate), strict=True)
        groups = [{"params": moving, "share": share} for moving, share in parts if moving]
        self.adam = torch.optim.Adam(groups, betas=(0.9, 0.99))
        self._set_rate(rate)

    def step(self, taken: int) -> None:
        """Follow the gradient in the parameters, after `taken` steps of the phase."""
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), self.config.clip)
        if self.config.anneal:
            left = 2.0 * (1.0 - taken / self.config.steps)
            self._set_rate(self.config.learning_rate * min(1.0, left))
        self.adam.step()
        self.student.grid.project()

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return self.adam.state_dict()

    def restore(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint."""
        self.adam.load_state_dict(dict(state))

    def _set_rate(self, rate: float) -> None:
        for group in self.adam.param_groups:
            group["lr"] = rate * group["share"]
