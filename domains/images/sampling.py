"""Images from a model, on a learned or a hand-made grid."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import ld3
from domains.images.conditioned import ConditionedFlow
from domains.images.settings import BATCH, SOLVER
from ld3.grids import Grid
from ld3.learn import FitResult
from ld3.state import take


@torch.no_grad()
def sample(
    model: ConditionedFlow,
    method: FitResult | Grid,
    n: int,
    *,
    seed: int = 0,
    solver: str = SOLVER,
    batch: int = BATCH,
    on_progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Make `n` images, of the model's labels or prompts in turn.

    Args:
        model: as `load` gives it.
        method: a fit, whose solver goes with it; or a grid.
        n: how many.
        seed: of the noise; the same on every device and for every `batch`.
        solver: for a grid, a name of ld3.solvers.
        batch: images side by side; lower it where memory runs out.
        on_progress: called with the images made so far and `n`.

    Returns:
        Images in about [-1, 1], (n, C, H, W), on the CPU.

    Raises:
        ValueError: if `n` or `batch` is not positive, or the method was not made for the model's noise path.
    """
    if n < 1 or batch < 1:
        raise ValueError(f"n and batch must be at least 1, got {n} and {batch}")
    start = model.starts(n, seed)
    images = []
    for low in range(0, n, batch):
        end = ld3.sample(model, method, take(start, slice(low, low + batch)), solver=solver)
        images.append(model.decode(end).cpu())
        if on_progress is not None:
            on_progress(min(low + batch, n), n)
    return torch.cat(images)
