"""The points a student starts from, each free to move inside a small ball around its teacher's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic

import torch
from torch import Tensor

from ld3.flow import ProbabilityFlow
from ld3.learn.loss import project_to_ball
from ld3.state import State, size


def radii(flow: ProbabilityFlow[State], radius: float | Mapping[str, float]) -> dict[str, float]:
    """Factor -> radius.

    Raises:
        ValueError: if one is negative or missing, or of no factor of the flow.
    """
    factors = set(flow.clock.schedules)
    per_factor = dict(radius) if isinstance(radius, Mapping) else dict.fromkeys(factors, float(radius))
    if set(per_factor) != factors or min(per_factor.values()) < 0:
        raise ValueError(f"radius must be a number >= 0, or one for each of {sorted(factors)}, got {radius}")
    return per_factor


class Ball(Generic[State]):
    """Shifts of n starts, followed down their own gradient and kept only where they help (LD3's rule).

    Whether a proposal helps shows at its pair's next turn, in the forward pass that the grid's step needs anyway: if
    the pair's loss has not fallen, or the sample broke, the pair goes back to the shift that it had. Radius 0 keeps
    every start where it is, at no cost.

    Args:
        flow: whose prior the states are from.
        states: n of them, where the teacher started.
        radius: in standard deviations of the prior, one number or one per factor.
        rate: length of a proposal's step, as a share of the radius.

    Raises:
        ValueError: if a radius is negative or missing.
    """

    def __init__(
        self, flow: ProbabilityFlow[State], states: State, radius: float | Mapping[str, float], rate: float
    ) -> None:
        self.flow, self.radius, self.rate = flow, radii(flow, radius), rate
        self.moves = max(self.radius.values()) > 0
        self.kept = dict(flow.zero_tangent(states)) if self.moves else {}
        self.proposed = {f: v.clone() for f, v in self.kept.items()}
        self.loss = torch.full((size(states),), torch.inf)
        self.settled = torch.ones(size(states), dtype=torch.bool)  # the proposal is the shift already kept

    def shift(self, rows: Tensor) -> dict[str, Tensor] | None:
        """The shifts to use for `rows` now, ready to be differentiated; None where nothing moves."""
        if not self.moves:
            return None
        return {f: v[rows].requires_grad_() for f, v in self.proposed.items()}

    @torch.no_grad()
    def update(self, rows: Tensor, shift: Mapping[str, Tensor] | None, loss: Tensor) -> None:
        """Keep the shifts that lowered their pair's loss (B,), drop the others, and propose the next ones.

        The gradient is taken from `shift`, after the backward pass.
        """
        if shift is None:
            return
        loss = loss.to(self.loss)
        # The grid moves, so that a kept shift's loss is measured anew whenever the shift comes round again.
        better = (loss < self.loss[rows]) | self.settled[rows]
        self.loss[rows] = torch.where(better, loss, self.loss[rows])
        self.settled[rows] = ~better
        step = {}
        for factor, v in shift.items():
            wide = better.to(v.device).reshape(-1, *(1,) * (v.ndim - 1))
            self.kept[factor][rows] = torch.where(wide, v, self.kept[factor][rows])
            gradient = v.grad if v.grad is not None else torch.zeros_like(v)
            step[factor] = torch.where(wide & gradient.isfinite(), -gradient, 0.0)
        lengths = self.flow.norm(step)
        for factor, v in step.items():
            reach = self.rate * self.radius[factor] * self.flow.prior_scale[factor]
            unit = torch.where(lengths[factor] > 0, reach / lengths[factor], 0.0)
            step[factor] = self.kept[factor][rows] + v * unit.reshape(-1, *(1,) * (v.ndim - 1))
        for factor, v in project_to_ball(self.flow, step, self.radius).items():
            self.proposed[factor][rows] = v

    def reject(self, rows: Tensor) -> None:
        """Take back the shifts of samples that came out not finite, they or their gradient.

        Where the shift was one that had been kept, on an earlier grid, the start goes back to where it was.
        """
        if not self.moves:
            return
        rows = rows.cpu()
        for factor, kept in self.kept.items():
            again = self.settled[rows].to(kept.device).reshape(-1, *(1,) * (kept.ndim - 1))
            kept[rows] = torch.where(again, 0.0, kept[rows])
            self.proposed[factor][rows] = kept[rows]
        self.settled[rows] = True

    def state(self) -> dict[str, object]:
        """For a checkpoint."""
        return {"kept": self.kept, "proposed": self.proposed, "loss": self.loss, "settled": self.settled}

    def restore(self, state: Mapping[str, object]) -> None:
        """From a checkpoint."""
        for name, value in state.items():
            setattr(self, name, value)
