"""One warp for many budgets against a fit for each: ``python -m benchmarks.experiments.warp``.

On the reference case. Every seed draws its own teacher pairs, which all fits of that seed share. Writes to --out:
results.json, and what an interrupted run needs to go on. With --page, the tables are put into a Markdown page.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Any, Final, Literal

import torch
from rich.console import Console
from torch import Tensor

from benchmarks.common.store import Store, finite
from benchmarks.common.tables import Table, check_page
from benchmarks.experiments import study
from benchmarks.experiments.reference_case.case import ReferenceCase, load_case
from domains.options import check_nfe, find_solver, mistake, prepare_folder
from domains.progress import WorkProgress
from ld3 import HAND_MADE, Grid, Solver
from ld3.learn import FitConfig, Pairs, Teacher, WarpConfig, fit, fit_warp, run_teacher

BLOCK: Final = "warp"
Warped = Literal["warp", "curve", "weights"]
WARPS: Final[Mapping[Warped, str]] = {"warp": "warp", "curve": "without drift", "weights": "with weights"}
"""A warp; one without drift; one with weights over the solver's last answers and a first step with the mean."""
METHODS: Final[Mapping[str, str]] = {
    "hand": "best hand-made",
    "gits": "GITS",
    "fitted": "fitted for it",
    **{str(name): heading for name, heading in WARPS.items()},
}
"""The hand-made grid that the validation pairs like best; GITS; the grid fitted for the budget; and the warps."""

_FORMAT: Final = 4  # of what is kept; raise it when the code that makes it changes


@dataclass(frozen=True)
class Options:
    """Options of the comparison."""

    teacher: Teacher
    fit: FitConfig
    """of the grids that are fitted for one budget each"""
    warp: WarpConfig
    out: Path
    """folder for the results; a comparison that was interrupted there goes on"""
    nfe: tuple[int, ...]
    """budgets that the warps are fitted on"""
    unseen: tuple[int, ...]
    """budgets that they are read off at without having been fitted there"""
    solver: str
    """a name of ld3.solvers"""
    pairs: tuple[int, int]
    """teacher pairs to learn from, and to choose by"""
    seeds: tuple[int, ...]
    """of the pairs"""
    warps: tuple[Warped, ...]
    """which of them are fitted"""
    depth: int
    """answers that the one with weights weighs"""
    page: Path | None = None
    """Markdown page with the markers of the tables"""
    block: str = BLOCK
    """which of the page's tables"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison with the command line's arguments; the exit status."""
    return study.run_study("warp", Options, compare, __doc__, arguments, "learn from fewer --pairs")


def compare(options: Options, log: Console) -> int:
    """Fit, evaluate, write and print, seed by seed.

    Raises:
        InputError: for an option that makes no sense.
    """
    solver = _check(options)
    case = load_case()
    rows: list[dict[str, Any]] = []
    costs: list[dict[str, Any]] = []
    content = ""
    budgets = sorted({*options.nfe, *options.unseen})
    with WorkProgress(log, {f"seed {seed}": _work(options) for seed in options.seeds}, {}) as bar:
        for seed in options.seeds:
            with bar.stage(f"seed {seed}"):
                own = _Seed(case, options, solver, seed, bar)
                for figures in own.run(budgets):
                    cost = {"method": figures["method"], "nfe": figures["for"], "seed": seed}
                    costs.append(cost | {name: figures[name] for name in ("network_evaluations", "cpu_seconds")})
                    for method, mse in figures["mse"].items():
                        found = zip(figures["nfe"], mse, strict=True)
                        rows += [{"method": method, "nfe": n, "seed": seed, "mse": value} for n, value in found]
            done = replace(options, seeds=options.seeds[: options.seeds.index(seed) + 1])
            complete = done.seeds == options.seeds
            packages = ("torch", "numpy", "scipy")
            study.write_results(
                options.out, "ld3.warp.comparison", options, packages, complete=complete, rows=rows, costs=costs
            )
            content = block(done, rows, costs)
    study.publish(options.page, options.block, content)
    return 0


def _check(options: Options) -> Solver:
    solver = find_solver(options.solver)
    check_nfe("nfe", options.nfe, solver)
    if options.unseen:
        check_nfe("unseen", options.unseen, solver)
    if both := {*options.nfe} & {*options.unseen}:
        raise mistake("unseen", f"got {min(both)}, which is in --nfe", "give budgets that --nfe lacks")
    study.check_numbers(pairs=(min(options.pairs), 1))
    study.check_each_once(seeds=options.seeds, warps=options.warps)
    if options.page is not None:
        check_page("page", options.page, options.block)
    prepare_folder(options.out)
    return solver


def _work(options: Options) -> float:
    """Network evaluations of a seed, about: fits end when validation no longer improves."""
    budgets = sum(options.nfe) + sum(options.unseen)
    warps = len(options.warps) * options.warp.iterations * options.pairs[0] * sum(options.nfe)
    gradients = 100 * options.pairs[0] * budgets + warps
    return gradients + 4 * options.teacher.nfe * sum(options.pairs)


class _Seed:
    """All fits of one seed, on the same pairs."""

    def __init__(self, case: ReferenceCase, options: Options, solver: Solver, seed: int, bar: WorkProgress) -> None:
        self.case, self.options, self.solver, self.bar = case, options, solver, bar
        start = case.flow.prior(sum(options.pairs), torch.Generator().manual_seed(seed))
        taught: Pairs[Tensor] = run_teacher(case.flow, start, options.teacher, options.out / "cache", bar.counter())
        self.train, self.valid = (taught.take(rows) for rows in torch.arange(len(taught)).split(list(options.pairs)))
        inputs = (case.fingerprint(), self.train.start, self.train.end, self.valid.start, self.valid.end)
        self._kept = study.Kept(Store(options.out / "cache"), _FORMAT, inputs, solver.name)

    def run(self, budgets: Sequence[int]) -> list[dict[str, Any]]:
        """Figures of every method at every budget; warps are fitted on `options.nfe` alone.

        Each has the `method` that was fitted, the budgets `for` which it was, and by method the `mse` at budgets `nfe`.
        """
        options, found = self.options, []
        for nfe in budgets:
            starts = self._levels(self.solver.steps(nfe))
            found.append(self._figures("fitted", (nfe,), (nfe,), (asdict(options.fit), starts), self._fitted))
        fine = max(map(self.solver.steps, budgets))
        found.append(self._figures("gits", options.nfe, budgets, fine, self._gits))
        for method in options.warps:
            depth = options.depth if method == "weights" else 0
            config = replace(options.warp, drift=method != "curve", coefficient_depth=depth)
            inputs = (asdict(config), self._levels(config.knots))

            def warped(nfe: Sequence[int], method: Warped = method, config: WarpConfig = config) -> dict[str, Any]:
                return self._warp(method, config, nfe)

            found.append(self._figures(method, options.nfe, budgets, inputs, warped))
        return found

    def _figures(
        self,
        method: str,
        fitted_on: Sequence[int],
        budgets: Sequence[int],
        inputs: object,
        make: Callable[[Sequence[int]], dict[str, Any]],
    ) -> dict[str, Any]:
        found = self._kept(method, (list(fitted_on), list(budgets), inputs), lambda: make(budgets))
        return {"method": method, "for": list(fitted_on), "nfe": list(budgets), **found}

    def _levels(self, n: int) -> dict[str, Any]:
        """Of the grids of `n` steps that a fit may start from."""
        return {name: make(self.case.flow.clock, n).solver for name, make in HAND_MADE.items()}

    def _fitted(self, budgets: Sequence[int]) -> dict[str, Any]:
        (nfe,), flow = budgets, self.case.flow
        began = time.process_time()
        config = self.options.fit
        result = fit(flow, self.train, self.valid, self.solver, nfe, config, on_progress=study.counted(self.bar))
        seconds = time.process_time() - began
        best = HAND_MADE[min(result.hand_made, key=result.hand_made.__getitem__)](flow.clock, self.solver.steps(nfe))
        mse = {"hand": [self._mse(best)], "fitted": [self._mse(result.grid)]}
        return {"mse": mse, "network_evaluations": result.network_evaluations, "cpu_seconds": seconds}

    def _gits(self, budgets: Sequence[int]) -> dict[str, Any]:
        began = time.process_time()
        finest = max(map(self.solver.steps, budgets))
        jumps = study.gits_jumps(self.case.flow, self.train.start, finest, self.bar, self.options.warp.chunk)
        grids = [jumps.grid(self.solver.steps(nfe)) for nfe in budgets]
        seconds = time.process_time() - began
        spent = jumps.fine.n_steps * len(self.train)
        return {"mse": {"gits": [*map(self._mse, grids)]}, "network_evaluations": spent, "cpu_seconds": seconds}

    def _warp(self, method: Warped, config: WarpConfig, budgets: Sequence[int]) -> dict[str, Any]:
        began, flow = time.process_time(), self.case.flow
        mean = flow.data_mean(self.train.end) if method == "weights" else None
        solver = replace(self.solver, data_mean=mean)
        result = fit_warp(flow, self.train, self.valid, solver, self.options.nfe, config)
        seconds = time.process_time() - began
        self.bar.evaluated(result.network_evaluations)
        mse = {method: [finite(self.case.mse(*result.student(nfe))) for nfe in budgets]}
        return {"mse": mse, "network_evaluations": result.network_evaluations, "cpu_seconds": seconds}

    def _mse(self, grid: Grid) -> float | None:
        return finite(self.case.mse(grid, self.solver))


def block(options: Options, rows: Sequence[Mapping[str, Any]], costs: Sequence[Mapping[str, Any]]) -> str:
    """How the figures were made, how near every method comes at every budget, and what the fits cost, as Markdown."""
    seeds, (train, valid) = options.seeds, options.pairs
    origin = (
        f"{study.made_by('warp', options)}. {options.solver}; {train} teacher pairs to learn from and "
        f"{valid} to choose by, the same for all fits of a seed; seeds {', '.join(map(str, seeds))}. "
        "Mean squared distance to the teacher on the case's test set, times 1000: mean over seeds, and the range. "
        "Quotients: to the grid fitted for that budget on the same pairs, geometric mean over seeds."
    )
    mse: dict[tuple[str, int], list[float | None]] = {}
    for row in rows:
        mse.setdefault((row["method"], row["nfe"]), []).append(row["mse"])
    methods = {name: heading for name, heading in METHODS.items() if name not in WARPS or name in options.warps}
    headings = ("NFE", *methods.values(), *(f"{WARPS[name]} / fitted" for name in options.warps))
    distances = []
    for nfe in sorted({nfe for _, nfe in mse}):
        label = f"{nfe}" if nfe in options.nfe else f"{nfe}, not fitted on"
        quotients = [_quotient(mse[method, nfe], mse["fitted", nfe]) for method in options.warps]
        distances.append([label, *(_range(mse[method, nfe]) for method in methods), *quotients])
    names: dict[str, str] = {"gits": "GITS", "fitted": f"{len(options.nfe)} grids, one by one"}
    names |= {name: "warp" if name == "warp" else f"warp {WARPS[name]}" for name in options.warps}
    costs_headings = ("fit", "network evaluations", "CPU seconds")
    spent = []
    for method, name in names.items():
        own = [cost for cost in costs if cost["method"] == method and set(cost["nfe"]) <= set(options.nfe)]
        evaluations, seconds = (
            fmean(sum(cost[figure] for cost in own if cost["seed"] == seed) for seed in seeds)
            for figure in ("network_evaluations", "cpu_seconds")
        )
        spent.append([name, f"{evaluations:,.0f}", f"{seconds:.0f}"])
    return "\n\n".join([origin, Table(headings, distances).markdown(), Table(costs_headings, spent).markdown()])


def _range(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return f"not finite with {values.count(None)} of {len(values)} seeds"
    low, middle, high = (f"{1000 * value:.3g}" for value in (min(known), fmean(known), max(known)))
    return f"{middle} ({low} to {high})"


def _quotient(values: Sequence[float | None], others: Sequence[float | None]) -> str:
    """Geometric mean over seeds; "-" where a figure is not finite."""
    quotients = [a / b if a is not None and b else math.nan for a, b in zip(values, others, strict=True)]
    return "-" if any(map(math.isnan, quotients)) else f"{geometric_mean(quotients):.2f}"


if __name__ == "__main__":
    sys.exit(main())
