"""Rows of the reference case, and the table: our fits, the published code's, and grids that nobody learned."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean
from typing import Any, Final, final

import torch

from benchmarks.common.store import finite
from benchmarks.experiments.reference_case.case import HandMadeGrid, ReferenceCase
from benchmarks.experiments.reference_case.fits import EVERYTHING, WITH_COEFFICIENTS, Fitted, Setting
from domains.images.metrics.frechet import frechet_distance, gaussian
from ld3 import Grid, Solver

HEADINGS: Final = (
    *("setting", "solver", "NFE", "mse", "published", "ours / published", "FD feat.", "published"),
    *("evaluations", "published", "CPU s", "published"),
)
CAPTION: Final = (
    "Mse: mean squared distance to the teacher on the test starts, mean (lowest - highest) over seeds; FD: Fréchet "
    "distance in the classifier's features; evaluations of the network and CPU seconds of a fit, teacher included; "
    "published: the mean of the published code's fits in its own configuration."
)

_FD_SEED: Final = 4242  # that of the published code's Fréchet distances


@final
@dataclass(frozen=True)
class CaseRow:
    """One fit.

    Attributes:
        setting: "same_pairs", "own_pairs", "with_coefficients" or "everything".
        solver: name in the registry.
        nfe: network evaluations a sample.
        seed: of the fit.
        mse: mean squared distance of pixels to the teacher, over the test starts; None if one is not finite.
        fd_pixel, fd_feat: Fréchet distance to real digits, in pixels and in the classifier's features; None likewise,
            or where none was asked for.
        network_evaluations, cpu_seconds: of fit and teacher.
        teacher_disagreement: median mse of our own teacher to the same one at twice the steps; None with the pairs of
            the case.
        start: hand-made or learned grid that the fit started from.
        grid: what was learned, as Grid.to_json has it.
        reference_mse: of the published code, mean over its seeds.
        reference_mse_best: its best seed's.
        reference_fd_feat, reference_network_evaluations, reference_cpu_seconds: means over its seeds.
        coefficients: learned with the grid, as Coefficients.to_dict has them; None leaves the solver as published.
        direction_evaluations: those of the fit in Jacobians, times the directions of these.
        pairs: of our own teacher, for `everything`.
        data_mean: with which the first step is taken, (1, 8, 8); None where the network is asked.
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
    reference_mse: float
    reference_mse_best: float
    reference_fd_feat: float
    reference_network_evaluations: float
    reference_cpu_seconds: float
    coefficients: dict[str, Any] | None = None
    data_mean: list[Any] | None = None
    direction_evaluations: int = 0
    pairs: int | None = None


def case_row(
    case: ReferenceCase, setting: Setting, solver: str, nfe: int, seed: int, fitted: Fitted, n: int
) -> CaseRow:
    """Evaluate a fit, its Fréchet distances with `n` samples."""
    student, grid, coefficients = fitted.result.student(), fitted.result.grid, fitted.result.coefficients
    pixels, features = case_frechet(case, grid, student, n)
    published = case.fits[solver, nfe]
    return CaseRow(
        setting=setting,
        solver=solver,
        nfe=nfe,
        seed=seed,
        mse=finite(case.mse(grid, student)),
        fd_pixel=pixels,
        fd_feat=features,
        network_evaluations=fitted.network_evaluations,
        cpu_seconds=fitted.cpu_seconds,
        teacher_disagreement=fitted.teacher_disagreement,
        start=fitted.result.initial_grid,
        grid=grid.to_dict(),
        reference_mse=fmean([run.mse for run in published]),
        reference_mse_best=min(run.mse for run in published),
        reference_fd_feat=fmean([run.fd_feat for run in published]),
        reference_network_evaluations=fmean([run.network_evaluations for run in published]),
        reference_cpu_seconds=fmean([run.cpu_seconds for run in published]),
        coefficients=None if coefficients is None else coefficients.to_dict(),
        direction_evaluations=fitted.result.direction_evaluations,
        pairs=fitted.pairs,
        data_mean=None if student.data_mean is None else student.data_mean["x"].tolist(),
    )


def case_frechet(case: ReferenceCase, grid: Grid, solver: Solver, n: int) -> tuple[float, float] | tuple[None, None]:
    """Fréchet distances to real digits, in pixels and in the classifier's features; None for both if a sample is not
    finite, or there are none."""
    if n == 0:
        return None, None
    start = case.flow.prior(n, torch.Generator().manual_seed(_FD_SEED))
    images = case.flow.decode(case.sample(start, grid, solver)).float()
    if not images.isfinite().all():
        return None, None
    pixels = frechet_distance(gaussian(images.flatten(1)), case.real_pixels)
    return pixels, frechet_distance(gaussian(case.classifier(images)), case.real_features)


def cells(rows: Sequence[CaseRow]) -> Iterator[tuple[str, ...]]:
    """One line a setting, solver and NFE, under `HEADINGS`."""
    for (setting, solver, nfe), group in groupby(rows, lambda row: (row.setting, row.solver, row.nfe)):
        seeds = list(group)
        first, mses = seeds[0], [_mse(row) for row in seeds]
        features = [row.fd_feat for row in seeds if row.fd_feat is not None]
        yield (
            setting,
            solver,
            str(nfe),
            spread(mses),
            f"{first.reference_mse:.5f}",
            f"{fmean(mses) / first.reference_mse:.2f}",
            f"{fmean(features):.2f}" if len(features) == len(seeds) else "-",
            f"{first.reference_fd_feat:.2f}",
            f"{fmean([row.network_evaluations for row in seeds]):.0f}",
            f"{first.reference_network_evaluations:.0f}",
            f"{fmean([row.cpu_seconds for row in seeds]):.1f}",
            f"{first.reference_cpu_seconds:.1f}",
        )


def gains(rows: Sequence[CaseRow]) -> Iterator[str]:
    """Per solver and NFE: what learned coefficients add to own_pairs' times and levels, for the same evaluations."""
    by_case: dict[tuple[str, int], dict[str, list[float]]] = {}
    for row in rows:
        by_case.setdefault((row.solver, row.nfe), {}).setdefault(row.setting, []).append(_mse(row))
    for (solver, nfe), settings in by_case.items():
        if {"own_pairs", WITH_COEFFICIENTS} <= settings.keys():
            plain, more = settings["own_pairs"], settings[WITH_COEFFICIENTS]
            yield f"{solver}, {nfe} NFE: {spread(more)} with coefficients, {fmean(more) / fmean(plain):.2f} of without"


def best_of_all(rows: Sequence[CaseRow], hand: Sequence[HandMadeGrid]) -> Iterator[str]:
    """Per NFE: the best learned result of all solvers, by its mean over seeds, and the best grid that nobody learned.

    Grids alone first, then what has learned coefficients, then everything. The hand-made ones are ours and those of the
    published code, which has converged otherwise on some of them.
    """
    for nfe in sorted({row.nfe for row in rows}):
        best = min((row for row in hand if row.nfe == nfe), key=_mse)
        for more in (None, WITH_COEFFICIENTS, EVERYTHING):
            learned: dict[tuple[str, str], list[float]] = {}
            for row in rows:
                if row.nfe == nfe and (row.setting if row.setting in (WITH_COEFFICIENTS, EVERYTHING) else None) == more:
                    learned.setdefault((row.setting, row.solver), []).append(_mse(row))
            if learned:
                (setting, solver), values = min(learned.items(), key=lambda item: fmean(item[1]))
                yield (
                    f"{nfe} NFE: best learned {spread(values)} ({solver}, {setting}), "
                    f"best hand-made {_mse(best):.5f} ({best.solver}, {best.grid})"
                )


def spread(values: Sequence[float]) -> str:
    """Mean, lowest and highest, with a decimal more where they are small."""
    decimals = 5 if fmean(values) >= 1e-3 else 6
    mean, low, high = (f"{value:.{decimals}f}" for value in (fmean(values), min(values), max(values)))
    return f"{mean} ({low} - {high})"


def _mse(row: CaseRow | HandMadeGrid) -> float:
    """Infinite if a sample is not finite."""
    return math.inf if row.mse is None else row.mse
