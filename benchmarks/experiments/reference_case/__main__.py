"""The reference case: our fits and those of the published LD3 code on the same denoiser, side by side.

Two settings (`fits.py`), several solvers, budgets and seeds. With a folder for results,
every finished fit is kept there, so that a run that was interrupted goes on, and results.json is written after each.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console

from benchmarks.common import manifest
from benchmarks.common.store import Store, write_text
from benchmarks.experiments.reference_case.case import ReferenceCase, ReferenceRun, load_case
from benchmarks.experiments.reference_case.fits import (
    CONFIG,
    PAIRS,
    SETTINGS,
    SHARE,
    TEACHER,
    WITH_COEFFICIENTS,
    Setting,
    fit_case,
)
from benchmarks.experiments.reference_case.hand import HandMade, published_rows
from benchmarks.experiments.reference_case.rows import CaseRow, HandRow, case_row, limit
from benchmarks.experiments.reference_case.table import table
from benchmarks.experiments.reference_case.targets import AIMED, best_of_all, gains, targets
from domains.progress import WorkProgress
from ld3.fingerprint import fingerprint
from ld3.grids import HAND_MADE
from ld3.solvers import get_solver

SCHEMA: Final = "ld3.reference_case.results"
FITTED: Final = (AIMED, "ipndm_3")
"""Solvers with which the published code was run in its own configuration."""

_FORMAT: Final = 3  # of a kept row; raise it when fits change in what no setting says
_HAND_MADE: Final = "hand-made grids"
_PACKAGES: Final = ("torch", "numpy", "scipy")
_PAGE: Final = 160  # characters a line where there is no terminal to ask


def run_reference_case(
    folder: Path, out: Path | None, nfe: Sequence[int], seeds: Sequence[int], console: Console
) -> None:
    """Fit on the case in `folder`, print the table on standard output, and write `out`/results.json.

    Raises:
        ValueError: naming what is wrong with the folder, the budgets or the seeds, in one line.
    """
    case = load_case(folder)
    _check(case, nfe, seeds)
    store = _store(out)
    hand_made = HandMade(case, store)
    plan = [(s, name, n, seed) for s in SETTINGS for name in FITTED for n in nfe for seed in seeds]
    work: dict[str, float] = {_HAND_MADE: hand_made.work(nfe)}
    work |= {setting: sum(_limit(case, *planned) for planned in plan if planned[0] == setting) for setting in SETTINGS}
    rows: list[CaseRow] = []
    with WorkProgress(console, work, {}) as bar:
        with bar.stage(_HAND_MADE):
            hand = [*hand_made.rows(nfe, bar), *published_rows(case, nfe)]
        for setting, planned in groupby(plan, lambda p: p[0]):
            with bar.stage(setting):
                for _, name, n, seed in planned:
                    rows.append(_fitted(case, setting, name, n, seed, store, bar))
                    if out is not None:
                        _write(out, case, rows, hand, len(rows) == len(plan))
    _show(rows, hand, console)


def _show(rows: Sequence[CaseRow], hand: Sequence[HandRow], console: Console) -> None:
    """Table and verdicts on standard output, a remark on the console."""
    printed = Console(highlight=False)
    printed = printed if printed.is_terminal else Console(highlight=False, width=_PAGE)
    printed.print(table(rows))
    for sentence in (*targets(rows), *gains(rows), *best_of_all(rows, hand)):
        printed.print(sentence, markup=False)
    worst = max(row.teacher_disagreement or 0.0 for row in rows)
    if worst > TEACHER.tolerance:
        remark = (
            f"our teacher is up to {worst:.2g} from itself at twice the steps; own_pairs learns from it all the same"
        )
        console.print(f"note: {remark}", markup=False)


def _check(case: ReferenceCase, nfe: Sequence[int], seeds: Sequence[int]) -> None:
    known = sorted({n for solver, n in case.runs if solver == AIMED})
    for n in nfe:
        if n not in known:
            raise ValueError(f"--nfe: the published code was not run with {n} evaluations; choose of {known}")
    for option, numbers in (("--nfe", nfe), ("--seeds", seeds)):
        if not numbers or len(set(numbers)) < len(numbers):
            raise ValueError(f"{option}: give at least one number, and each once, got {list(numbers)}")
    if any(seed < 0 for seed in seeds):
        raise ValueError(f"--seeds: give numbers >= 0, got {list(seeds)}")


def _store(out: Path | None) -> Store | None:
    if out is None:
        return None
    try:
        return Store(out / "cache")
    except OSError as error:
        raise ValueError(
            f"--out: cannot write to {out} ({error.strerror}); give a folder that you may write to"
        ) from error


def _runs(case: ReferenceCase, name: str, nfe: int) -> Sequence[ReferenceRun]:
    """Of the published code, with this solver if there are any."""
    return case.runs.get((name, nfe)) or case.runs[AIMED, nfe]


def _limit(case: ReferenceCase, setting: Setting, name: str, nfe: int, seed: int) -> int:
    """The most evaluations of a fit."""
    return limit(_runs(case, name, nfe)) // (SHARE if setting == "same_pairs" else 1)


def _fitted(
    case: ReferenceCase, setting: Setting, name: str, nfe: int, seed: int, store: Store | None, bar: WorkProgress
) -> CaseRow:
    """A fit that is known already, or a new one."""
    runs = _runs(case, name, nfe)
    starts = [make(case.flow.clock, get_solver(name).steps(nfe)).solver for make in HAND_MADE.values()]
    settings = (CONFIG, starts, *((PAIRS.choose,) if setting == "same_pairs" else (TEACHER, PAIRS)))
    key = (
        f"fit-{fingerprint(_FORMAT, setting, name, nfe, seed, case.fingerprint(), [asdict(r) for r in runs], settings)}"
    )
    known = None if store is None else store.json(key)
    if known is not None:
        return CaseRow(**known)
    row = case_row(case, setting, name, nfe, seed, fit_case(case, setting, name, nfe, seed, limit(runs)))
    bar.evaluated(row.network_evaluations)
    if store is not None:
        store.put_json(key, asdict(row))
    return row


def _write(out: Path, case: ReferenceCase, rows: Sequence[CaseRow], hand: Sequence[HandRow], complete: bool) -> None:
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "complete": complete,
        "config": {"fit": asdict(CONFIG), "teacher": asdict(TEACHER), "pairs": asdict(PAIRS)},
        "versions": manifest.versions(_PACKAGES),
        "commit": manifest.commit(),
        "machine": manifest.machine(torch.device("cpu")),
        "reference_case": [asdict(row) for row in rows if row.setting != WITH_COEFFICIENTS],
        WITH_COEFFICIENTS: [asdict(row) for row in rows if row.setting == WITH_COEFFICIENTS],
        "hand_made": [asdict(row) for row in hand],
    }
    write_text(out / "results.json", json.dumps(content, indent=2, allow_nan=False))
