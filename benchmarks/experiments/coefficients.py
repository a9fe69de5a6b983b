"""What learned solver coefficients add to learned times: ``python -m benchmarks.experiments.coefficients``.

On the built-in digits. For each solver and number of evaluations, the same teacher pairs teach several fits, each with
as many gradients as the others: the solver's coefficients alone (S4S), times and levels alone, and all together. Their
images are compared with the teacher's on starts that no fit has seen, start by start. Writes to --out: results.json,
after every fit; a comparison that was interrupted goes on. With --page, the table is put into a Markdown page.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, final

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from benchmarks.common.grids import fine_steps
from benchmarks.common.store import Store, finite
from benchmarks.common.tables import Table, check_page, difference
from benchmarks.experiments import study
from domains.bootstrap import Interval, bootstrap_difference, bootstrap_interval
from domains.images.conditioned import ConditionedFlow
from domains.images.models.load import load
from domains.options import check_nfe, find_solver, mistake, prepare_folder
from domains.progress import WorkProgress
from domains.seeds import seed_of
from ld3 import HAND_MADE, Grid, Solver, get_solver, integrate
from ld3.learn import FitConfig, Phase, Teacher, fit, run_teacher
from ld3.learn.plan import most_evaluations
from ld3.state import take

BLOCK: Final = "coefficients"
BASELINE: Final = "no fit"
"""The grid that all fits start from: the one of those made by hand and GITS that the validation pairs like best."""

JOINT: Final = "times and levels"
"""The variant that all others are compared with."""

_FORMAT: Final = 3  # of what is kept; raise it when the code that makes it changes
_IMAGES: Final = 250  # side by side
_PACKAGES: Final = ("torch", "numpy", "scipy", "scikit-learn")
_SCALE: Final = 1000  # of squared distances, for the eye


@final
@dataclass(frozen=True)
class Variant:
    """What a fit learns: the name of its rows, what they are there to show, and phases, which share the gradients."""

    name: str
    asks: str
    phases: tuple[Phase, ...]


@dataclass(frozen=True)
class Options:
    """Options of the comparison."""

    teacher: Teacher
    fit: FitConfig
    variants: Annotated[tuple[Variant, ...], tyro.conf.Suppress]
    model: str
    """digits, or a model that benchmarks.images takes"""
    solver: tuple[str, ...]
    """multistep solvers, names of ld3.solvers"""
    nfe: tuple[int, ...]
    """network evaluations an image"""
    seeds: tuple[int, ...]
    """of pairs and starts; every fit is made once for each"""
    pairs: tuple[int, int]
    """teacher pairs to learn from, and to choose by"""
    samples: int
    """images of a seed, from starts that no fit has seen"""
    steps: int
    """gradients of a fit"""
    out: Path
    """folder for the results"""
    page: Path | None = None
    """Markdown page with the markers of the table"""


@final
@dataclass(frozen=True, eq=False)
class Fitted:
    """A solver on a grid, and how far its images are from the teacher's.

    Attributes:
        solver: name.
        nfe: network evaluations an image.
        seed: of pairs and starts.
        variant: name of what was learned, or `BASELINE`.
        start: the grid that was started from.
        distances: squared, mean over pixels, of each image, (S,); +inf for one that is not finite.
        network_evaluations: of the fit.
        seconds: wall time of the fit.
    """

    solver: str
    nfe: int
    seed: int
    variant: str
    start: str
    distances: NDArray[np.float64]
    network_evaluations: int
    seconds: float


@dataclass(frozen=True)
class Row:
    """A variant over all seeds.

    Attributes:
        solver, nfe, variant: which.
        starts: the grid that each seed's fit started from.
        mse: mean over images of the squared distance to the teacher's, with a 95% interval over images (resampled
            within each seed): of these very fits, for there are too few to say how others would differ.
        median: of the same distances.
        minus_joint: difference of the means to times and levels alone, image by image, with an interval of the same
            kind; None for that one itself.
        quotients: of the means, by seed.
        network_evaluations, seconds: of each seed's fit.
    """

    solver: str
    nfe: int
    variant: str
    starts: tuple[str, ...]
    mse: Interval
    median: float
    minus_joint: Interval | None
    quotients: tuple[float, ...]
    network_evaluations: tuple[int, ...]
    seconds: tuple[float, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison with the command line's arguments; the exit status."""
    return study.run_study("coefficients", Options, compare, __doc__, arguments, "learn from fewer --pairs")


def compare(options: Options, log: Console) -> int:
    """Fit, make images, write and print, seed by seed.

    Raises:
        InputError: for an option that makes no sense.
    """
    solvers = _check(options)
    flow = load(options.model)
    found: list[Fitted] = []
    with WorkProgress(log, _plan(options), {}) as bar:
        for number in options.seeds:
            with bar.stage(f"teacher, seed {number}"):
                seed = _Seed(flow, options, number, bar)
            for solver in solvers:
                for nfe in options.nfe:
                    with bar.stage(f"{solver.name}, {nfe} NFE, seed {number}"):
                        found += seed.run(solver, nfe)
                    _write(options, found, complete=False)
    _write(options, found, complete=True)
    content = block(options, summarise(found))
    study.publish(options.page, BLOCK, content)
    return 0


def _check(options: Options) -> list[Solver]:
    solvers = [find_solver(name) for name in options.solver]
    for solver in solvers:
        if not solver.multistep:
            raise mistake("solver", f"{solver.name} remembers no earlier step", "give multistep solvers")
        check_nfe("nfe", options.nfe, solver)
    study.check_each_once(solver=options.solver, seeds=options.seeds)
    study.check_numbers(pairs=(min(options.pairs), 1), samples=(options.samples, 2), steps=(options.steps, 2))
    if options.page is not None:
        check_page("page", options.page, BLOCK)
    prepare_folder(options.out)
    return solvers


def _finest(options: Options) -> int:
    """The most steps that a grid will have."""
    return max(get_solver(name).steps(nfe) for name in options.solver for nfe in options.nfe)


def fit_config(options: Options, variant: Variant, seed: int) -> FitConfig:
    """Of a variant's fit: `options.steps` gradients in all, none of which is saved by stopping early."""
    steps = options.steps // len(variant.phases)
    return replace(options.fit, phases=variant.phases, steps=steps, patience=steps, seed=seed)


def _plan(options: Options) -> dict[str, float]:
    """Stage -> the network evaluations that it takes, at most."""
    plan: dict[str, float] = {}
    taught = sum(options.pairs) + options.samples + 3 * options.teacher.checked
    for number in options.seeds:
        plan[f"teacher, seed {number}"] = options.teacher.nfe * taught + fine_steps(_finest(options)) * options.pairs[0]
        for name in options.solver:
            for nfe in options.nfe:
                configs = [fit_config(options, variant, 0) for variant in options.variants]
                fits = sum(most_evaluations(config, *options.pairs, nfe, 1) for config in configs)
                plan[f"{name}, {nfe} NFE, seed {number}"] = fits + (1 + len(configs)) * nfe * options.samples
    return plan


class _Seed:
    """Fits of one seed: pairs to learn from, to choose by, and to measure with."""

    def __init__(self, flow: ConditionedFlow, options: Options, number: int, bar: WorkProgress) -> None:
        self.flow, self.options, self.number, self.bar = flow, options, number, bar
        sizes = (*options.pairs, options.samples)
        start = flow.prior(sum(sizes), torch.Generator().manual_seed(seed_of(number, "coefficients")))
        self.folder = options.out / "cache"
        taught = run_teacher(flow, start, options.teacher, self.folder / "teacher", bar.counter())
        parts = [taught.take(rows) for rows in torch.arange(len(taught)).split(list(sizes))]
        self.train, self.valid, self.test = parts
        self.jumps = study.gits_jumps(flow, self.train.start, _finest(options), bar)
        inputs = [(*pairs.start, *pairs.end) for pairs in parts]
        self._kept = study.Kept(Store(self.folder), _FORMAT, flow.fingerprint(), inputs)

    def run(self, solver: Solver, nfe: int) -> list[Fitted]:
        """The grid that is not learned, and every variant."""
        n = solver.steps(nfe)
        grids = {name: make(self.flow.clock, n) for name, make in HAND_MADE.items()} | {study.GITS: self.jumps.grid(n)}
        found = [self._fitted(solver, nfe, variant, grids) for variant in self.options.variants]
        start = found[0].start
        inputs = (solver.name, nfe, grids[start].solver)
        distances = self._kept("distances", inputs, lambda: self._distances(grids[start], solver))
        return [Fitted(solver.name, nfe, self.number, BASELINE, start, _array(distances), 0, 0.0), *found]

    def _fitted(self, solver: Solver, nfe: int, variant: Variant, grids: Mapping[str, Grid]) -> Fitted:
        """A fit that starts from the best of `grids`."""
        config = fit_config(self.options, variant, self.number)
        starts, folder, on_progress = {study.GITS: grids[study.GITS]}, self.folder / "fit", study.counted(self.bar)

        def learn() -> dict[str, Any]:
            made = fit(
                self.flow,
                self.train,
                self.valid,
                solver,
                nfe,
                config,
                starting_grids=starts,
                folder=folder,
                on_progress=on_progress,
            )
            return {
                "start": made.initial_grid,
                "distances": self._distances(made.grid, made.student()),
                "network_evaluations": made.network_evaluations,
                "seconds": made.seconds,
            }

        levels = {name: grid.solver for name, grid in grids.items()}
        kept = self._kept("fitted", (solver.name, nfe, levels, asdict(config)), learn)
        distances = _array(kept.pop("distances"))
        return Fitted(solver.name, nfe, self.number, variant.name, distances=distances, **kept)

    @torch.no_grad()
    def _distances(self, grid: Grid, solver: Solver) -> list[float | None]:
        """Of each image; JSON has no infinity, None stands for it."""
        found: list[Tensor] = []
        for rows in torch.arange(len(self.test)).split(_IMAGES):
            end = integrate(self.flow, take(self.test.start, rows), grid, solver)
            self.bar.evaluated(grid.n_steps * len(rows))
            found.append(self.flow.distance(end, take(self.test.end, rows)))
        return [finite(float(distance)) for distance in torch.cat(found)]


def _array(distances: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([np.inf if distance is None else distance for distance in distances])


def summarise(fitted: Sequence[Fitted]) -> list[Row]:
    """For each solver and number of evaluations a row for every variant, in the order in which they were made."""
    cases: dict[tuple[str, int], dict[str, list[Fitted]]] = {}
    for own in fitted:
        cases.setdefault((own.solver, own.nfe), {}).setdefault(own.variant, []).append(own)
    return [_row(own, case[JOINT]) for case in cases.values() for own in case.values()]


def _row(own: Sequence[Fitted], joint: Sequence[Fitted]) -> Row:
    """Both in the order of their seeds."""
    values, others = ([fitted.distances for fitted in part] for part in (own, joint))
    with np.errstate(invalid="ignore"):  # inf / inf
        quotients = tuple(float(part.mean() / other.mean()) for part, other in zip(values, others, strict=True))
    compared = None if own[0].variant == JOINT else bootstrap_difference(values, others, "mean", 0, strata=True)
    return Row(
        solver=own[0].solver,
        nfe=own[0].nfe,
        variant=own[0].variant,
        starts=tuple(fitted.start for fitted in own),
        mse=bootstrap_interval(values, "mean", seed=0, strata=True),
        median=float(np.median(np.concatenate(values))),
        minus_joint=compared,
        quotients=quotients,
        network_evaluations=tuple(fitted.network_evaluations for fitted in own),
        seconds=tuple(fitted.seconds for fitted in own),
    )


def _write(options: Options, fitted: Sequence[Fitted], *, complete: bool) -> None:
    """results.json: every fit with the mean of its distances, and the rows of the table."""
    plain = [{name: value for name, value in vars(own).items() if name != "distances"} for own in fitted]
    fits = [entry | {"mse": float(own.distances.mean())} for entry, own in zip(plain, fitted, strict=True)]
    rows = [asdict(row) for row in summarise(fitted)]
    study.write_results(options.out, "ld3.coefficients", options, _PACKAGES, complete=complete, fits=fits, rows=rows)


def block(options: Options, rows: Sequence[Row]) -> str:
    """Origin, table and verdict, in Markdown."""
    train, valid = options.pairs
    origin = (
        f"{study.made_by('coefficients', options)}. {train} teacher pairs to learn from and {valid} to "
        f"choose by, the same for all fits of a seed; at most {options.steps} gradients a fit; "
        f"{len(options.seeds)} seeds x {options.samples} images from starts that no fit has seen. Squared distances "
        f"to the teacher's image, mean over pixels, times {_SCALE}. Quotients: of the means, seed by seed. Intervals: "
        "95%, bootstrap over images, within each seed: they are those of these very fits, and say nothing of other "
        "seeds. Differences are paired, image by image."
    )
    headings = ("solver", "NFE", "learned", "mean", "95%, of images", "median")
    compared = (f"mean / that of {JOINT}, by seed", f"mean minus that of {JOINT}, of images", "evaluations")
    table = Table((*headings, *compared), [*map(_cells, rows)], text_columns=3).markdown()
    legend = "\n".join(f"- *{variant.name}*: {variant.asks}" for variant in options.variants)
    return "\n\n".join([origin, table, legend, verdict([variant.name for variant in options.variants], rows)])


def verdict(variants: Sequence[str], rows: Sequence[Row]) -> str:
    """In how many cases each variant is nearer to the teacher than times and levels alone, in words."""
    lines = []
    for variant in variants:
        cases = [row.quotients for row in rows if row.variant == variant != JOINT]
        known = [quotients for quotients in cases if all(map(math.isfinite, quotients))]
        if cases:
            nearer = sum(max(quotients) < 1 for quotients in known)
            farther = sum(min(quotients) > 1 for quotients in known)
            mixed, broken = len(known) - nearer - farther, len(cases) - len(known)
            lines.append(
                f"- *{variant}* against *{JOINT}*: in {nearer} of {len(cases)} cases all seeds are nearer to "
                f"the teacher, in {farther} all are farther, in {mixed} seeds differ"
                + (f", in {broken} images are not finite" if broken else "")
            )
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    name = f"{BASELINE} ({', '.join(dict.fromkeys(row.starts))})" if row.variant == BASELINE else row.variant
    spent = sum(row.network_evaluations) / len(row.network_evaluations)
    mean, low, high, median = (f"{_SCALE * value:.3g}" for value in (*row.mse, row.median))
    quotients = "" if row.variant == JOINT else ", ".join(f"{quotient:.2f}" for quotient in row.quotients)
    evaluations = "" if row.variant == BASELINE else f"{spent:,.0f}"
    gap = "" if row.minus_joint is None else difference(row.minus_joint.estimate, row.minus_joint[1:], _SCALE, ".3g")
    return (row.solver, str(row.nfe), name, mean, f"{low} - {high}", median, quotients, gap, evaluations)


if __name__ == "__main__":
    sys.exit(main())
