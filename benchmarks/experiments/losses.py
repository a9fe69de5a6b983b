"""What a student is like that minimises another loss: ``python -m benchmarks.experiments.losses``.

The general student on the reference case, fitted to one and the same pairs by the distance of pixels, by that of a
classifier's features, by the distance of the two sets (energy distance in features), and by sums of them. Writes
results.json to --out, and the table between the markers of --page.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Final, final

import torch
from rich.console import Console
from torch import Tensor

from benchmarks.common.store import Store, finite
from benchmarks.common.tables import Table, check_page
from benchmarks.experiments import study
from benchmarks.experiments.reference_case.case import SHAPE, ReferenceCase, ReferenceFlow, load_case
from benchmarks.experiments.reference_case.rows import case_frechet, spread
from domains.images.metrics.distances import Distance, combined, energy_distance, feature_distance, mean_squared
from domains.options import check_nfe, find_solver, prepare_folder
from domains.progress import WorkProgress
from ld3 import EDM, EuclideanFlow, Solver, integrate
from ld3.fingerprint import fingerprint
from ld3.learn import FitConfig, Pairs, Teacher, fit, run_teacher

BLOCK: Final = "losses"
HEADINGS: Final = ("NFE", "loss", "pixels", "features", "energy distance", "FD feat. to real digits")

_FORMAT: Final = 1  # of what is kept; raise it when the code that makes it changes
_FITS: Final = "fits"


@dataclass(frozen=True)
class Options:
    """Options of the study."""

    fit: FitConfig
    teacher: Teacher
    out: Path
    """folder for the results; a study that was interrupted there goes on"""
    nfe: tuple[int, ...]
    """network evaluations a sample"""
    seeds: tuple[int, ...]
    """of the pairs; one fit each"""
    pairs: int
    """that every fit of a seed learns from; all are in one chunk, as distances of sets need them"""
    feature_weight: float
    """of the distance of features, where pixels count 1"""
    energy_weight: float
    """of the energy distance likewise"""
    solver: str
    """a name of ld3.solvers"""
    fd_samples: int = 10_000
    """samples of a Fréchet distance"""
    page: Path | None = None
    """Markdown page with the markers of the table"""


@final
class MeasuredFlow(EuclideanFlow):
    """The flow of the case with another distance."""

    def __init__(self, flow: ReferenceFlow, distance: Distance) -> None:
        super().__init__(EDM(), SHAPE, dtype=flow.dtype)
        self.flow, self.measured_by = flow, distance

    def noise(self, x_t: Tensor, t: Tensor) -> Tensor:
        return self.flow.noise(x_t, t)

    def distance(self, x: Tensor, target: Tensor) -> Tensor:
        return self.measured_by.measure(self.decode(x), self.decode(target))

    def fingerprint(self) -> str:
        return fingerprint(self.flow.fingerprint(), self.measured_by.name)


def losses(case: ReferenceCase, options: Options) -> dict[str, Distance]:
    """Name -> the loss."""
    pixels, features, energy = Distance("pixels", mean_squared), feature_distance(case.features), _energy(case)
    return {
        "pixels": pixels,
        "features": features,
        "energy distance": energy,
        "pixels and features": combined({pixels: 1.0, features: options.feature_weight}),
        "pixels and energy distance": combined({pixels: 1.0, energy: options.energy_weight}),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study with the command line's arguments; the exit status."""
    return study.run_study("losses", Options, compare, __doc__, arguments)


def compare(options: Options, log: Console) -> int:
    """Fit, evaluate, write and print.

    Raises:
        InputError: for an option that makes no sense.
    """
    solver = find_solver(options.solver)
    check_nfe("nfe", options.nfe, solver)
    study.check_each_once(seeds=options.seeds)
    study.check_numbers(pairs=(options.pairs, 2), fd_samples=(options.fd_samples, 2))
    if options.page is not None:
        check_page("page", options.page, BLOCK)
    prepare_folder(options.out)
    case = load_case()
    known = losses(case, options)
    kept = study.Kept(Store(options.out / "cache"), _FORMAT, case.fingerprint(), asdict(options.fit), options.pairs)
    rows: list[dict[str, Any]] = []
    work = float(len(known) * len(options.seeds) * sum(options.nfe) * options.pairs * options.fit.steps)
    with WorkProgress(log, {_FITS: work}, {}) as bar, bar.stage(_FITS):
        for seed in options.seeds:
            pairs = run_teacher(
                case.flow, case.flow.prior(options.pairs, torch.Generator().manual_seed(seed)), options.teacher
            )
            for nfe in options.nfe:
                for name, distance in known.items():

                    def make(
                        nfe: int = nfe, distance: Distance = distance, pairs: Pairs[Tensor] = pairs
                    ) -> dict[str, float | None]:
                        return _figures(case, options, solver, nfe, distance, pairs, bar)

                    inputs = (solver.name, nfe, distance.name, seed, asdict(options.teacher), options.fd_samples)
                    rows.append({"nfe": nfe, "loss": name, "seed": seed, **kept("loss", inputs, make)})
    study.write_results(options.out, "ld3.losses.results", options, ("torch", "numpy", "scipy"), rows=rows)
    study.publish(options.page, BLOCK, block(options, rows))
    return 0


def _figures(
    case: ReferenceCase,
    options: Options,
    solver: Solver,
    nfe: int,
    distance: Distance,
    pairs: Pairs[Tensor],
    bar: WorkProgress,
) -> dict[str, float | None]:
    """Distances to the teacher on the test starts, and the Fréchet distance to real digits."""
    student = replace(solver, data_mean=case.flow.data_mean(pairs.end))
    config = replace(options.fit, chunk=options.pairs, coefficient_depth=student.steps(nfe))
    flow = MeasuredFlow(case.flow, distance)
    found = fit(flow, pairs, pairs, student, nfe, config, on_progress=study.counted(bar))
    with torch.no_grad():
        end = integrate(case.flow, case.test_start, found.grid, found.student())
        measures = {
            "pixels": mean_squared(end, case.test_end),
            "features": feature_distance(case.features).measure(end, case.test_end),
            "energy distance": _energy(case).measure(end, case.test_end),
        }
    figures = {name: finite(float(values.mean())) for name, values in measures.items()}
    return {**figures, HEADINGS[-1]: case_frechet(case, found.grid, found.student(), options.fd_samples)[1]}


def _energy(case: ReferenceCase) -> Distance:
    return energy_distance(case.features)


def block(options: Options, rows: Sequence[Mapping[str, Any]]) -> str:
    """How the figures were made, and the table, as Markdown."""
    lines: list[tuple[str, ...]] = []
    for nfe in options.nfe:
        for name in dict.fromkeys(row["loss"] for row in rows):
            own = [row for row in rows if (row["nfe"], row["loss"]) == (nfe, name)]
            cells = [[row[heading] for row in own] for heading in HEADINGS[2:]]
            lines.append((str(nfe), name, spread(cells[0]), *(f"{fmean(values):.3g}" for values in cells[1:])))
    origin = (
        f"{study.made_by('losses', options)}. {options.solver} with weights over all answers and a first step with "
        f"the mean; {options.pairs} pairs, at most {options.fit.steps} gradients; "
        f"seeds {', '.join(map(str, options.seeds))}. "
        "Distances to the teacher's ends on the test starts: mean squared in pixels, mean (lowest - highest) over "
        "seeds; mean squared in the classifier's features; energy distance of the two sets in features."
    )
    return "\n\n".join([origin, Table(HEADINGS, lines, text_columns=2).markdown()])


if __name__ == "__main__":
    sys.exit(main())
