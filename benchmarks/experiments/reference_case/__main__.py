"""Our fits beside those of the published LD3 code: ``python -m benchmarks.experiments.reference_case``.

Both on the same denoiser, in four settings (:mod:`benchmarks.experiments.reference_case.fits`), with several solvers,
budgets and seeds. Writes to --out: results.json, after every fit; a run that was interrupted goes on. With --page, the
table is put into a Markdown page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any, Final

import torch
from rich.console import Console

from benchmarks.common.store import Store, finite
from benchmarks.common.tables import Table, bullets, check_page
from benchmarks.experiments import study
from benchmarks.experiments.reference_case.case import HandMadeGrid, ReferenceCase, load_case
from benchmarks.experiments.reference_case.fits import (
    EVERYTHING,
    SHARE,
    WITH_COEFFICIENTS,
    Options,
    Setting,
    fit_case,
    limit,
)
from benchmarks.experiments.reference_case.rows import CAPTION, HEADINGS, CaseRow, best_of_all, case_row, cells, gains
from domains.options import mistake, prepare_folder
from domains.progress import WorkProgress
from ld3 import HAND_MADE, SOLVERS, Grid, Solver, get_solver

SCHEMA: Final = "ld3.reference_case.results"
FITTED: Final = ("unipc_bh1_3", "ipndm_3")
"""Solvers with which the published code was run in its own configuration, and ours are fitted."""

_FORMAT: Final = 5  # of what is kept; raise it when fits change in what no option says
_HAND_MADE: Final = "hand-made grids"
_PACKAGES: Final = ("torch", "numpy", "scipy")
_TRAJECTORIES, _SEED = 256, 0  # of GITS, from starts of their own


def main(arguments: Sequence[str] | None = None) -> int:
    """Run with the command line's arguments; the exit status."""
    return study.run_study("reference_case", Options, compare, __doc__, arguments)


def compare(options: Options, log: Console) -> int:
    """Fit, evaluate, write and print.

    Raises:
        InputError: for an option that makes no sense.
    """
    case = load_case(options.test_starts)
    _check(options, case)
    kept = study.Kept(Store(options.out / "cache"), _FORMAT, case.fingerprint(), options.fd_samples)
    plan = [
        (s, name, n, seed)
        for s in options.settings
        for name in options.solvers
        for n in options.nfe
        for seed in options.seeds
    ]
    rows: list[CaseRow] = []
    with WorkProgress(log, _work(options, case), {}) as bar:
        with bar.stage(_HAND_MADE):
            hand = [*_hand_made(case, options, kept, bar)] if options.hand_made else []
            hand += [row for row in case.hand_made if row.nfe in options.nfe]
        for setting, planned in groupby(plan, lambda p: p[0]):
            with bar.stage(setting):
                for _, name, n, seed in planned:
                    rows.append(_fitted(case, options, setting, name, n, seed, kept, bar))
                    _write(options, rows, hand, complete=len(rows) == len(plan))
    content = block(options, rows, hand)
    study.publish(options.page, options.block, content)
    worst = max(row.teacher_disagreement or 0.0 for row in rows)
    if worst > options.teacher.tolerance:
        remark = f"our teacher is up to {worst:.2g} from itself at twice the steps"
        log.print(f"note: {remark}; own_pairs learns from it all the same", markup=False)
    return 0


def _check(options: Options, case: ReferenceCase) -> None:
    for name in options.solvers:
        if name not in FITTED:
            raise mistake("solvers", f"the published code was not run with {name}", f"choose of {', '.join(FITTED)}")
    known = sorted({n for solver, n in case.fits if solver in FITTED})
    study.check_each_once(settings=options.settings, solvers=options.solvers, nfe=options.nfe, seeds=options.seeds)
    for n in options.nfe:
        if n not in known:
            raise mistake("nfe", f"the published code was not run with {n} evaluations", f"choose of {known}")
    study.check_numbers(test_starts=(options.test_starts, 1), fd_samples=(options.fd_samples, 0))
    if options.fd_samples == 1:
        raise mistake("fd-samples", "got 1", "give 0 for no Fréchet distance, or at least 2")
    if options.page is not None:
        check_page("page", options.page, options.block)
    prepare_folder(options.out)


def _work(options: Options, case: ReferenceCase) -> dict[str, float]:
    """Stage -> its network evaluations, at most."""
    trials = sum(n for solver in SOLVERS.values() for n in options.nfe if n % solver.nfe_per_step == 0)
    plan: dict[str, float] = {_HAND_MADE: options.hand_made * trials * (len(HAND_MADE) + 1) * len(case.test_start)}
    fits = len(options.seeds) * sum(limit(case, name, n) for name in options.solvers for n in options.nfe)
    return plan | {setting: fits / (SHARE if setting == "same_pairs" else 1) for setting in options.settings}


def _fitted(
    case: ReferenceCase,
    options: Options,
    setting: Setting,
    solver: str,
    nfe: int,
    seed: int,
    kept: study.Kept,
    bar: WorkProgress,
) -> CaseRow:
    """A fit that is known already, or a new one."""
    starts = {name: make(case.flow.clock, get_solver(solver).steps(nfe)).solver for name, make in HAND_MADE.items()}
    published = [asdict(run) for run in case.fits[solver, nfe]]
    inputs = (setting, solver, nfe, seed, starts, published, asdict(options.fit), asdict(options.teacher))
    own = asdict(options.everything if setting == EVERYTHING else options.pairs)

    def make() -> dict[str, Any]:
        found = fit_case(case, options, setting, solver, nfe, seed)
        bar.evaluated(found.network_evaluations)
        return asdict(case_row(case, setting, solver, nfe, seed, found, options.fd_samples))

    return CaseRow(**kept("fit", (*inputs, own), make))


def _hand_made(case: ReferenceCase, options: Options, kept: study.Kept, bar: WorkProgress) -> Iterator[HandMadeGrid]:
    """Every solver that can spend the evaluations, on every grid that nobody learned."""
    start = case.flow.prior(_TRAJECTORIES, torch.Generator().manual_seed(_SEED))
    jumps = study.gits_jumps(case.flow, start, max(options.nfe), bar)
    for solver in SOLVERS.values():
        for nfe in options.nfe:
            if nfe % solver.nfe_per_step:
                continue
            steps = solver.steps(nfe)
            grids = {name: make(case.flow.clock, steps) for name, make in HAND_MADE.items()}
            grids[study.GITS] = jumps.grid(steps)
            for name, grid in grids.items():

                def make(grid: Grid = grid, solver: Solver = solver, nfe: int = nfe) -> dict[str, float | None]:
                    bar.evaluated(nfe * len(case.test_start))
                    return {"mse": finite(case.mse(grid, solver))}

                yield HandMadeGrid(solver.name, nfe, name, kept("hand", (solver.name, grid.solver), make)["mse"])


def _write(options: Options, rows: Sequence[CaseRow], hand: Sequence[HandMadeGrid], *, complete: bool) -> None:
    content = {
        "complete": complete,
        "reference_case": [asdict(row) for row in rows if row.setting not in (WITH_COEFFICIENTS, EVERYTHING)],
        WITH_COEFFICIENTS: [asdict(row) for row in rows if row.setting == WITH_COEFFICIENTS],
        EVERYTHING: [asdict(row) for row in rows if row.setting == EVERYTHING],
        "hand_made": [asdict(row) for row in hand],
    }
    study.write_results(options.out, SCHEMA, options, _PACKAGES, **content)


def block(options: Options, rows: Sequence[CaseRow], hand: Sequence[HandMadeGrid]) -> str:
    """The command that made the figures, the table, what coefficients add, and the best of all grids, as Markdown."""
    origin = f"{study.made_by('reference_case', options)}; threads: {torch.get_num_threads()}."
    more = "Learned solver coefficients on top of times and levels, for the same evaluations:"
    best = (
        "The best learned grid of all solvers, the best with learned coefficients, the best with everything, and the "
        "best that nobody learned" + (":" if options.hand_made else ", as far as the published code tried it:")
    )
    table = Table(HEADINGS, [*cells(rows)], text_columns=2).markdown()
    gained = [more, bullets([*gains(rows)])] if {"own_pairs", WITH_COEFFICIENTS} <= {*options.settings} else []
    return "\n\n".join([origin, table, CAPTION, *gained, best, bullets([*best_of_all(rows, hand)])])


if __name__ == "__main__":
    sys.exit(main())
