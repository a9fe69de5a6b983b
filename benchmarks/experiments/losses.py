"""What a student is like that minimises another loss: ``python -m benchmarks.experiments.losses``.

The general student on the reference case, fitted to one and the same pairs by the distance of pixels, by that of a
classifier's features, by the distance of the two sets (energy distance in features), by sums of them, and with an
adversary. Writes results.json to --out, and the table between the markers of --page.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any, Final, final

import torch
from rich.console import Console
from torch import Tensor

from benchmarks.common.store import finite
from benchmarks.common.tables import Table
from benchmarks.experiments import study
from benchmarks.experiments.reference_case.case import SHAPE, ReferenceCase, ReferenceFlow, load_case
from benchmarks.experiments.reference_case.rows import case_frechet, spread
from benchmarks.experiments.reference_case.same_pairs import PACKAGES, SamePairs
from domains.images.metrics.adversary import adversarial
from domains.images.metrics.distances import Distance, combined, energy_distance, feature_distance, mean_squared
from domains.progress import WorkProgress
from ld3 import EDM, EuclideanFlow, Solver, integrate
from ld3.fingerprint import fingerprint
from ld3.learn import FitConfig, FitResult, Pairs, fit

BLOCK: Final = "losses"
ADVERSARIAL: Final = "pixels, then also an adversary"
HEADINGS: Final = ("NFE", "loss", "pixels", "features", "energy distance", "FD feat. to real digits")

_FORMAT: Final = 2  # of what is kept; raise it when the code that makes it changes
_FITS: Final = "fits"


@dataclass(frozen=True, kw_only=True)
class Options(SamePairs):
    """Options of the study."""

    feature_weight: float
    """of the distance of features, where pixels count 1"""
    energy_weight: float
    """of the energy distance likewise"""
    adversary_weight: float
    """of the adversarial term likewise"""
    adversary: FitConfig
    """of the search with the adversarial term, which goes on from the fit by pixels"""


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
        ADVERSARIAL: pixels,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study with the command line's arguments; the exit status."""
    return study.run_study("losses", Options, compare, __doc__, arguments)


def compare(options: Options, log: Console) -> int:
    """Fit, evaluate, write and print.

    Raises:
        InputError: for an option that makes no sense.
    """
    solver = options.check(BLOCK)
    case = load_case()
    known = losses(case, options)
    kept = options.kept(case, _FORMAT)
    rows: list[dict[str, Any]] = []
    with WorkProgress(log, {_FITS: options.work(len(known))}, {}) as bar, bar.stage(_FITS):
        for seed in options.seeds:
            pairs = options.taught(case, seed)
            for nfe in options.nfe:
                for name, distance in known.items():

                    def make(
                        nfe: int = nfe,
                        name: str = name,
                        distance: Distance = distance,
                        pairs: Pairs[Tensor] = pairs,
                        seed: int = seed,
                    ) -> dict[str, float | None]:
                        found = _fitted(case, options, solver, nfe, distance, pairs, bar)
                        if name == ADVERSARIAL:
                            found = _with_adversary(case, options, found, pairs, seed, bar)
                        return _figures(case, options, found)

                    more = (options.adversary_weight, asdict(options.adversary)) if name == ADVERSARIAL else ()
                    inputs = (nfe, distance.name, seed, *more)
                    rows.append({"nfe": nfe, "loss": name, "seed": seed, **kept("loss", inputs, make)})
    study.write_results(options.out, "ld3.losses.results", options, PACKAGES, rows=rows)
    study.publish(options.page, BLOCK, block(options, rows))
    return 0


def _fitted(
    case: ReferenceCase,
    options: Options,
    solver: Solver,
    nfe: int,
    distance: Distance,
    pairs: Pairs[Tensor],
    bar: WorkProgress,
) -> FitResult:
    student = replace(solver, data_mean=case.flow.data_mean(pairs.end))
    config = replace(options.fit, chunk=options.pairs, coefficient_depth=student.steps(nfe))
    flow = MeasuredFlow(case.flow, distance)
    return fit(flow, pairs, pairs, student, nfe, config, on_progress=study.counted(bar))


def _with_adversary(
    case: ReferenceCase, options: Options, found: FitResult, pairs: Pairs[Tensor], seed: int, bar: WorkProgress
) -> FitResult:
    """From a fit by pixels on, with the adversarial term; the energy distance of the pairs chooses the student."""
    student, pixels = found.student(), Distance("pixels", mean_squared)
    both = adversarial(pixels, options.adversary_weight, _energy(case), math.prod(SHAPE), seed)
    config = replace(
        options.adversary, chunk=options.pairs, initial_grid="pixels", coefficient_depth=found.grid.n_steps
    )
    flow, grids = MeasuredFlow(case.flow, both), {"pixels": found.grid}
    return fit(flow, pairs, pairs, student, found.nfe, config, starting_grids=grids, on_progress=study.counted(bar))


def _figures(case: ReferenceCase, options: Options, found: FitResult) -> dict[str, float | None]:
    """Distances to the teacher on the test starts, and the Fréchet distance to real digits."""
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
