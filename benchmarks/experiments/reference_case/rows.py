"""Figures of the reference case: one row a fit with the published code's beside it, one a hand-made grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, final

import torch
from torch import Tensor

from benchmarks.common.store import finite
from benchmarks.experiments.reference_case.case import ReferenceCase, ReferenceRun
from benchmarks.experiments.reference_case.fits import Fitted, Setting
from domains.images.metrics.frechet import frechet_distance, gaussian
from ld3.flow import EuclideanFlow
from ld3.grids import Grid
from ld3.solvers import Solver, integrate

_FD_SAMPLES, _FD_SEED = 10_000, 4242  # of the case's own Fréchet distances
_AT_ONCE = 1000


@final
@dataclass(frozen=True)
class CaseRow:
    """One fit.

    Attributes:
        setting: "same_pairs", "own_pairs" or "with_coefficients".
        solver: name in the registry.
        nfe: network evaluations a sample.
        seed: of the fit.
        mse: mean squared distance of pixels to the teacher, over the test starts; None if one is not finite.
        fd_pixel, fd_feat: Fréchet distance to real digits, in pixels and in the classifier's features; None likewise.
        network_evaluations: of fit and teacher.
        cpu_seconds: of fit and teacher.
        teacher_disagreement: median mse of our own teacher to the same one at twice the steps; None with the pairs of
            the case.
        start: hand-made or learned grid that the fit started from.
        grid: what was learned, as Grid.to_json has it.
        reference_mse: of the published code, mean over its seeds; None, like the rest, if it was not run there.
        reference_mse_best: its best seed's.
        reference_fd_feat, reference_network_evaluations, reference_cpu_seconds: means over its seeds.
        coefficients: learned with the grid, as Coefficients.to_dict has them; None leaves the solver as published.
    """

    setting: str
    solver: str
    nfe: int
    seed: int
    mse: float | None
    fd_pixel: float | None
    fd_feat: float | None
    network_evaluations: int
    cpu_seconds: float
    teacher_disagreement: float | None
    start: str
    grid: dict[str, Any]
    reference_mse: float | None
    reference_mse_best: float | None
    reference_fd_feat: float | None
    reference_network_evaluations: float | None
    reference_cpu_seconds: float | None
    coefficients: dict[str, Any] | None = None


@final
@dataclass(frozen=True)
class HandRow:
    """A hand-made grid: its mse over the test starts; None if one is not finite."""

    solver: str
    nfe: int
    grid: str
    mse: float | None


def case_row(case: ReferenceCase, setting: Setting, solver: str, nfe: int, seed: int, fitted: Fitted) -> CaseRow:
    """Evaluate a fit."""
    student, coefficients = fitted.result.student(), fitted.result.coefficients
    pixels, features = _frechet(case, fitted.result.grid, student)
    runs = case.runs.get((solver, nfe), ())
    return CaseRow(
        setting=setting,
        solver=solver,
        nfe=nfe,
        seed=seed,
        mse=finite(mse_to_teacher(case, fitted.result.grid, student)),
        fd_pixel=pixels,
        fd_feat=features,
        network_evaluations=fitted.network_evaluations,
        cpu_seconds=fitted.cpu_seconds,
        teacher_disagreement=fitted.teacher_disagreement,
        start=fitted.result.initial_grid,
        grid=fitted.result.grid.to_dict(),
        reference_mse=fmean([run.mse for run in runs]) if runs else None,
        reference_mse_best=min((run.mse for run in runs), default=None),
        reference_fd_feat=fmean([run.fd_feat for run in runs]) if runs else None,
        reference_network_evaluations=fmean([run.network_evaluations for run in runs]) if runs else None,
        reference_cpu_seconds=fmean([run.cpu_seconds for run in runs]) if runs else None,
        coefficients=None if coefficients is None else coefficients.to_dict(),
    )


def mse_of(row: CaseRow | HandRow) -> float:
    """Its mse; infinite if a sample is not finite."""
    return math.inf if row.mse is None else row.mse


def mse_to_teacher(case: ReferenceCase, grid: Grid, solver: Solver) -> float:
    """Mean squared distance of pixels to the teacher, over the test starts."""
    return float(case.flow.distance(_sample(case.flow, case.test_start, grid, solver), case.test_end).mean())


def limit(runs: Sequence[ReferenceRun]) -> int:
    """What the published code needed at least, in network evaluations."""
    return min(run.network_evaluations for run in runs)


def _frechet(case: ReferenceCase, grid: Grid, solver: Solver) -> tuple[float, float] | tuple[None, None]:
    start = case.flow.prior(_FD_SAMPLES, torch.Generator().manual_seed(_FD_SEED))
    images = case.flow.decode(_sample(case.flow, start, grid, solver)).float()
    if not images.isfinite().all():
        return None, None
    pixels = frechet_distance(gaussian(images.flatten(1)), case.real_pixels)
    return pixels, frechet_distance(gaussian(case.classifier(images)), case.real_features)


@torch.no_grad()
def _sample(flow: EuclideanFlow, start: Tensor, grid: Grid, solver: Solver) -> Tensor:
    return torch.cat([integrate(flow, part, grid, solver) for part in start.split(_AT_ONCE)])
