"""Which option for what, over flows: ``python -m benchmarks.experiments.defaults``.

Every flow is fitted with every choice of options on the same teacher pairs, and each fit is tried on starts of its own.
The flows of the pages (README's mixture, the torus and the frames) are taken from the pages themselves. Writes to
--out: results.json, and what an interrupted run needs to go on. With --page, the table is put into a Markdown page.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Any, Final

import torch
from rich.console import Console

from benchmarks.common.store import Store, finite
from benchmarks.common.tables import Table, check_page
from benchmarks.experiments import study
from domains.options import find_solver, prepare_folder
from domains.progress import WorkProgress
from domains.seeds import seed_of
from ld3 import HAND_MADE, Grid, ProbabilityFlow, Solver, integrate
from ld3.learn import FitConfig, Pairs, Teacher, bounded, fit, most_evaluations, run_teacher
from ld3.state import take

BLOCK: Final = "defaults"
_FORMAT: Final = 1  # of what is kept; raise it when the code that makes it changes
_ROOT: Final = Path(__file__).parents[2]

CHOICES: Final[Mapping[str, FitConfig]] = {
    "Adam: times, joint": FitConfig(optimiser="adam", phases=("times", "joint")),
    "Adam: joint, all": FitConfig(optimiser="adam", phases=("joint", "all")),
    "BFGS: times": FitConfig(optimiser="bfgs", phases=("times",)),
    "BFGS: joint": FitConfig(optimiser="bfgs", phases=("joint",)),
    "BFGS: times, joint": FitConfig(optimiser="bfgs", phases=("times", "joint")),
    "BFGS: coefficients": FitConfig(optimiser="bfgs", phases=("coefficients",)),
    "BFGS: all": FitConfig(optimiser="bfgs", phases=("all",)),
    "BFGS: all, patience 8": FitConfig(optimiser="bfgs", phases=("all",)),
    "BFGS: joint, all": FitConfig(optimiser="bfgs", phases=("joint", "all")),
    "BFGS: joint, all, patience 8": FitConfig(optimiser="bfgs", phases=("joint", "all")),
}
"""Optimiser and phases; what a flow asks for besides (a bounded distance, fewer steps) is in the YAML file."""

OWN_CLOCKS: Final = "own clocks"
"""Of flows with several factors, each choice is also tried with a clock for each."""


@dataclass(frozen=True)
class FlowOptions:
    """A flow, and how it is fitted."""

    name: str
    solver: str
    nfe: int
    pairs: tuple[int, int]
    """to learn from and to choose by"""
    test: int
    """starts that fits are tried on"""
    teacher_nfe: int
    steps: int
    """gradients a phase, at most"""
    scale: float | None = None
    choices: tuple[str, ...] = ()
    """that are tried; none = all"""
    seeds: int = 99
    """how many of the study's seeds, at most"""


@dataclass(frozen=True)
class Options:
    """Options of the study."""

    flows: tuple[FlowOptions, ...]
    out: Path
    """folder for the results; a study that was interrupted there goes on"""
    only: tuple[str, ...]
    """names of flows; none = all"""
    seeds: tuple[int, ...]
    """of the pairs"""
    page: Path | None = None
    """Markdown page with the markers of the table"""


Made = tuple[ProbabilityFlow[Any], Callable[[int, int], Any]]
"""A flow, and its starts: (number, seed) -> state."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study with the command line's arguments; the exit status."""
    return study.run_study("defaults", Options, compare, __doc__, arguments)


def compare(options: Options, log: Console) -> int:
    """Fit, evaluate, write and print, flow by flow.

    Raises:
        InputError: for an option that makes no sense.
    """
    flows = _check(options)
    rows: list[dict[str, Any]] = []
    plan = {f"{flow.name}, seed {seed}": _work(flow) for flow in flows for seed in options.seeds[: flow.seeds]}
    with WorkProgress(log, plan, {}) as bar:
        for flow in flows:
            made = FLOWS[flow.name](flow)
            for seed in options.seeds[: flow.seeds]:
                with bar.stage(f"{flow.name}, seed {seed}"):
                    rows += _fits(flow, made, seed, options.out, bar)
                study.write_results(
                    options.out,
                    "ld3.defaults",
                    options,
                    ("torch", "numpy", "scipy"),
                    complete=flow is flows[-1] and seed == options.seeds[: flow.seeds][-1],
                    rows=rows,
                )
    study.publish(options.page, BLOCK, block(options, flows, rows))
    return 0


def _check(options: Options) -> list[FlowOptions]:
    flows = [flow for flow in options.flows if not options.only or flow.name in options.only]
    study.check_each_once(seeds=options.seeds, flows=[flow.name for flow in flows])
    for flow in flows:
        find_solver(flow.solver).steps(flow.nfe)
    if options.page is not None:
        check_page("page", options.page, BLOCK)
    prepare_folder(options.out)
    return flows


def _work(flow: FlowOptions) -> float:
    """Network evaluations, about: fits end when validation no longer improves."""
    fits = [most_evaluations(replace(c, steps=flow.steps // 2), *flow.pairs, flow.nfe) for c in CHOICES.values()]
    return flow.teacher_nfe * (sum(flow.pairs) + flow.test) + sum(fits)


def _choices(flow: FlowOptions, factors: int) -> dict[str, FitConfig]:
    """The settings of every fit of a flow."""
    fits = {
        name: replace(
            c, scale=flow.scale, steps=flow.steps, shared_clock=True, patience=8 if "patience 8" in name else 3
        )
        for name, c in CHOICES.items()
    }
    if factors > 1:
        fits |= {f"{name}, {OWN_CLOCKS}": replace(c, shared_clock=False) for name, c in fits.items()}
    return {name: c for name, c in fits.items() if not flow.choices or name in flow.choices}


def _fits(options: FlowOptions, made: Made, seed: int, out: Path, bar: WorkProgress) -> list[dict[str, Any]]:
    """A row a fit, and one for the best grid made by hand."""
    flow, starts = made
    solver, teacher = find_solver(options.solver), Teacher(nfe=options.teacher_nfe, grid="edm")
    folder = out / "cache"
    taught: Pairs[Any] = run_teacher(
        flow, starts(sum(options.pairs), seed_of(seed, "fit")), teacher, folder, bar.counter()
    )
    train, valid = (taught.take(rows) for rows in torch.arange(len(taught)).split(list(options.pairs)))
    test = run_teacher(flow, starts(options.test, seed_of(seed, "test")), teacher, folder, bar.counter())
    kept = study.Kept(
        Store(folder), _FORMAT, flow.fingerprint(), options.solver, options.nfe, seed, list(options.pairs)
    )
    common = {"flow": options.name, "seed": seed}
    rows: list[dict[str, Any]] = []

    def learn(config: FitConfig) -> dict[str, Any]:
        began = time.process_time()
        found = fit(flow, train, valid, solver, options.nfe, config, on_progress=study.counted(bar))
        seconds = time.process_time() - began
        best = HAND_MADE[min(found.hand_made, key=found.hand_made.__getitem__)](flow.clock, solver.steps(options.nfe))
        return {
            "error": finite(_error(flow, test, found.grid, found.student(), options.scale)),
            "by_hand": finite(_error(flow, test, best, solver, options.scale)),
            "cpu_seconds": seconds,
            "evaluations": found.network_evaluations,
        }

    for name, config in _choices(options, len(flow.clock.schedules)).items():
        settings = {key: str(value) for key, value in vars(config).items()}
        figures = kept("fit", (settings, options.test, options.teacher_nfe), lambda config=config: learn(config))  # type: ignore[misc]
        rows.append({**common, "choice": name, **figures})
    return rows


@torch.no_grad()
def _error(flow: ProbabilityFlow[Any], test: Pairs[Any], grid: Grid, solver: Solver, scale: float | None) -> float:
    """Mean distance to the teacher, bounded where the fit's is."""
    parts = [slice(low, low + 64) for low in range(0, len(test), 64)]
    ends = [(integrate(flow, take(test.start, part), grid, solver), take(test.end, part)) for part in parts]
    return float(torch.cat([bounded(flow.distance(*pair), scale) for pair in ends]).double().mean())


def _of_page(page: str, name: str, class_: str) -> Callable[[FlowOptions], Made]:
    """A flow from a program of a page: what stands before its `flow = ...`."""

    def make(_: FlowOptions) -> Made:
        text = (_ROOT / page).read_text()
        (source,) = re.findall(rf"<!-- example: {name} -->\n```python\n(.*?)^flow = ", text, re.DOTALL | re.MULTILINE)
        scope: dict[str, Any] = {"__name__": "example"}
        exec(compile(source, f"{page} ({name})", "exec"), scope)
        flow: ProbabilityFlow[Any] = scope[class_]()
        return flow, lambda n, seed: flow.prior(n, torch.Generator().manual_seed(seed))

    return make


def _digits(_: FlowOptions) -> Made:
    from domains import images

    flow = images.load("digits")
    return flow, flow.starts


def _docking(options: FlowOptions) -> Made:
    """The demo weights on the complexes that come with them; starts of one seed are dealt from one pool."""
    from domains import docking
    from domains.docking.fits import fit_starts

    model = docking.load_model("demo")
    complexes, _ = docking.read(None)
    flow, _ = fit_starts(model, complexes, sum(options.pairs), 0)
    return flow, lambda n, seed: fit_starts(model, complexes, n, seed)[1]


FLOWS: Final[Mapping[str, Callable[[FlowOptions], Made]]] = {
    "mixture": _of_page("README.md", "flow", "Mixture"),
    "digits": _digits,
    "torus": _of_page("docs/flows_on_manifolds.md", "torus", "Angles"),
    "frames": _of_page("docs/flows_on_manifolds.md", "frames", "Frames"),
    "docking": _docking,
}


def block(options: Options, flows: Sequence[FlowOptions], rows: Sequence[Mapping[str, Any]]) -> str:
    """How the figures were made, and for every choice its error and CPU seconds on every flow, as Markdown."""
    seeds = ", ".join(map(str, options.seeds))
    each = "; ".join(
        f"{f.name}: {f.solver}, {f.nfe} NFE, {f.pairs[0]} + {f.pairs[1]} pairs, {f.test} to test on, "
        f"at most {f.steps} gradients a phase"
        + ("" if f.scale is None else f", distance bounded at {f.scale:g}")
        + ("" if f.seeds >= len(options.seeds) else f", {f.seeds} seed")
        for f in flows
    )
    origin = (
        f"{study.made_by('defaults', options)}. {each}. Seeds {seeds}. Error: mean distance to the teacher on starts "
        "that no fit has seen, as a share of the best hand-made grid's (geometric mean over seeds; below 1 is nearer); "
        "in brackets CPU seconds of the fit, without the teacher's."
    )
    names = list(dict.fromkeys(row["choice"] for row in rows))
    cells = [
        [name, *(_cell([row for row in rows if (row["choice"], row["flow"]) == (name, flow.name)]) for flow in flows)]
        for name in names
    ]
    return "\n\n".join([origin, Table(("what is learned", *(flow.name for flow in flows)), cells).markdown()])


def _cell(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "-"
    if any(row["error"] is None or not row["by_hand"] for row in rows):
        return "not finite"
    share = geometric_mean(row["error"] / row["by_hand"] for row in rows)
    return f"{share:.3g} ({fmean(row['cpu_seconds'] for row in rows):.0f} s)"


if __name__ == "__main__":
    sys.exit(main())
