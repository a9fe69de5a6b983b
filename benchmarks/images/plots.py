"""The three pictures of the images benchmark: distances against NFE, grids, and a sheet of samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.common.comparison import LEARNED, TEACHER_ROW
from benchmarks.common.plots import DPI, CurvePoint, draw_curves, grid_picture, labels_of_equals, save_panels
from benchmarks.images.report import Report
from benchmarks.images.summary import ImageRow, finite_images
from domains.images.conditioned import Conditioned

_COLUMNS = 12  # of the sheet


def plot_distances(path: Path, report: Report) -> None:
    """Distance to the teacher and, where it is known, Fréchet distance to real images, against NFE; log scale."""
    panels: list[Callable[[Axes], None]] = [lambda axes: _to_teacher(axes, report)]
    if report.rows[0].frechet_features is not None:
        panels.append(lambda axes: _frechet(axes, report))
    save_panels(path, report.title, panels)


def _to_teacher(axes: Axes, report: Report) -> None:
    def point(row: ImageRow) -> CurvePoint | None:
        if row.distance is None:
            return None
        low, high = row.distance_ci or (None, None)
        return CurvePoint(
            row.nfe, row.distance, row.distance if low is None else low, math.inf if high is None else high
        )

    _curves(axes, report, point)
    name = {"mse": "mean squared difference"}.get(report.flow.measure.name, report.flow.measure.name)
    axes.set_ylabel(f"{name} to the teacher's image")


def _frechet(axes: Axes, report: Report) -> None:
    def point(row: ImageRow) -> CurvePoint | None:
        value = row.frechet_features
        return None if value is None else CurvePoint(row.nfe, value, value, value)

    teacher = report.rows[0]
    axes.axhline(teacher.frechet_features or 0.0, color="0.45", lw=1, zorder=1, label=f"teacher ({teacher.nfe} NFE)")
    _curves(axes, report, point)
    axes.set_ylabel("Fréchet distance to real images, in features")


def _curves(axes: Axes, report: Report, point: Callable[[ImageRow], CurvePoint | None]) -> None:
    curves: dict[str, list[CurvePoint]] = {}
    for row in sorted(report.rows, key=lambda row: row.nfe):
        if row.method != TEACHER_ROW and row.same_as is None and (found := point(row)) is not None:
            curves.setdefault(row.method, []).append(found)
    draw_curves(axes, curves, _labels(report.rows))
    axes.set_yscale("log")
    axes.set_xlabel("network evaluations an image (NFE)")


def _labels(rows: Sequence[ImageRow]) -> dict[str, str]:
    return labels_of_equals((row.method, row.same_as) for row in rows)


def plot_grids(path: Path, report: Report) -> None:
    """The noise levels of all grids."""
    axis = {"x": "noise level σ/α"}
    grid_picture(path, report.title, report.grids, _labels(report.rows), report.flow.clock, axis)


def plot_samples(path: Path, report: Report) -> None:
    """A row for the teacher, and for each NFE one for the best hand-made grid and one for the learned one; all images
    of a column come from the same noise."""
    teacher = report.rows[0]
    rows = [(f"teacher, {teacher.nfe} NFE", report.made[TEACHER_ROW, teacher.nfe])]
    for nfe in sorted(report.grids):
        for name in (report.summary.best_hand(nfe), LEARNED):
            if name is not None:
                rows.append((f"{name}, {nfe} NFE", report.made[name, nfe]))
    columns = min(_COLUMNS, len(rows[0][1]))
    figure = Figure(figsize=(2.0 + 0.75 * columns, 0.5 + 0.78 * len(rows)), layout="constrained")
    figure.suptitle(f"Same noise per column: {report.title}", fontsize=10)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, (label, x) in zip(axes, rows, strict=True):
        images = _for_the_eye(report, x[:columns])
        for place, image in zip(line, images, strict=True):
            place.imshow(image, cmap="gray", vmin=0, vmax=1)
            place.set_xticks([])
            place.set_yticks([])
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    figure.savefig(path, dpi=DPI)


@torch.no_grad()
def _for_the_eye(report: Report, x: Tensor) -> NDArray[np.float32]:
    """Images (B, H, W) or (B, H, W, 3) from 0 to 1; one that is not finite is black."""
    device = report.flow.device
    x = torch.where(finite_images(x)[:, None, None, None], x, -1.0).to(device)
    condition = torch.arange(len(x), device=device) % report.flow.conditions
    images = (report.flow.decode(Conditioned(x, condition)).float().cpu() + 1) / 2
    images = images.clamp(0, 1)
    return (images[:, 0] if images.shape[1] == 1 else images.permute(0, 2, 3, 1)).numpy()
