"""What a fit's images are like beside others': distances to the teacher's, and a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from domains.images.conditioned import Conditioned, ConditionedFlow
from domains.images.diffusers.flow import DiffusersFlow
from domains.images.diffusers.own_sampler import own_images
from domains.seeds import seed_of
from ld3.grids import HAND_MADE, Grid
from ld3.learn import FitResult, Teacher
from ld3.solvers import Solver, get_solver, integrate
from ld3.state import take


@dataclass(frozen=True, eq=False)
class Row:
    """A way to make images.

    Attributes:
        name: of the grid, or of the scheduler.
        calls: of the network, for an image.
        images: (n, C, H, W) in [-1, 1].
        distance: mean over images of the distance to the teacher's; the teacher's own is that to twice its steps.
    """

    name: str
    calls: int
    images: Tensor
    distance: float

    def line(self) -> str:
        """For a table."""
        what = "to twice its steps" if self.name == "teacher" else "to the teacher"
        return f"{self.name:<32} {self.calls:>4} calls   {self.distance:.3g} {what}"


@torch.no_grad()
def compare(flow: ConditionedFlow, fit: FitResult, teacher: Teacher, n: int, batch: int, seed: int) -> list[Row]:
    """The teacher, the fit, the best grid made by hand, and the pipeline's own scheduler, from `n` starts that no fit
    has seen."""
    start = flow.starts(n, seed_of(seed, "compare"))
    rule, fine = get_solver(fit.solver), get_solver(teacher.solver)
    steps = rule.steps(fit.nfe)

    def made(grid: Grid, solver: Solver) -> Tensor:
        ends = (integrate(flow, take(start, slice(low, low + batch)), grid, solver) for low in range(0, n, batch))
        return torch.cat([flow.decode(end) for end in ends])

    def distance(images: Tensor, to: Tensor) -> float:
        return float(flow.measure.measure(images, to).double().mean())

    grids = {nfe: HAND_MADE[teacher.grid](flow.clock, teacher.steps(nfe)) for nfe in (teacher.nfe, 2 * teacher.nfe)}
    goal, finer = (made(grid, fine) for grid in grids.values())
    rows = [Row("teacher", teacher.nfe, goal, distance(goal, finer))]
    images = made(fit.grid, fit.student())
    rows.append(Row(f"this fit ({fit.solver})", fit.nfe, images, distance(images, goal)))
    best = min((name for name in fit.hand_made if name in HAND_MADE), key=fit.hand_made.__getitem__)
    images = made(HAND_MADE[best](flow.clock, steps), rule)
    rows.append(Row(f"{best} ({fit.solver})", fit.nfe, images, distance(images, goal)))
    if isinstance(flow, DiffusersFlow):
        parts = [own_images(flow, _part(start, low, batch), fit.nfe, seed) for low in range(0, n, batch)]
        images = torch.cat([part for part, _ in parts])
        rows.append(Row(f"its own {type(flow.scheduler).__name__}", parts[0][1], images, distance(images, goal)))
    return rows


def own_is_nearer(rows: Sequence[Row]) -> str | None:
    """A word where the last row, of the pipeline's own scheduler, is nearer to the teacher than the fit's, the second;
    None where it is not, or there is no such row."""
    _, fit, _, *own = rows
    if not own or own[0].distance >= fit.distance:
        return None
    how = f"{own[0].distance:.3g} for {fit.distance:.3g}: keep it, or fit at another number of evaluations"
    return f"{own[0].name} is nearer to the teacher at {own[0].calls} calls, {how}"


def _part(start: Conditioned, low: int, batch: int) -> Conditioned:
    return take(start, slice(low, low + batch))


def write_sheet(path: Path, rows: list[Row], n: int) -> None:
    """A picture with a line of images a row, in their order."""
    from PIL import Image  # comes with diffusers and matplotlib, and is needed for nothing else

    lines = [torch.cat([*row.images[:n].float().cpu()], dim=-1) for row in rows]
    picture = ((torch.cat(lines, dim=-2) / 2 + 0.5).clamp(0, 1) * 255).round().byte()
    picture = picture.expand(3, -1, -1) if picture.shape[0] == 1 else picture[:3]
    image = Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())
    scale = max(1, math.ceil(64 * n / image.width))
    image.resize((scale * image.width, scale * image.height), Image.Resampling.NEAREST).save(path)
