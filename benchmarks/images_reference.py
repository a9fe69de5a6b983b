"""The reference case: our fits and those of the published LD3 code on the same denoiser, side by side.

Two settings (:mod:`benchmarks.images_reference_fits`), several solvers, budgets and seeds. With a folder for results,
every finished fit is kept there, so that a run that was interrupted goes on, and results.json is written after each.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console
from rich.progress import track

from benchmarks import manifest
from benchmarks.images_reference_case import ReferenceCase, load_case
from benchmarks.images_reference_fits import CONFIG, PAIRS, SETTINGS, TEACHER, Setting, fit_case
from benchmarks.images_reference_rows import CaseRow, HandRow, case_row, limit, mse_to_teacher
from benchmarks.images_reference_table import best_of_all, table
from benchmarks.store import Store, write_text
from ld3.fingerprint import fingerprint
from ld3.grid import HAND_MADE
from ld3.solvers import get_solver

SCHEMA: Final = "ld3.reference_case.results"
SOLVERS: Final = ("unipc_bh1_3", "ipndm_3")
"""Those with which the published code was run in its own configuration; unipc_bh1_3 is that configuration."""

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
    plan = [(s, name, n, seed) for s in SETTINGS for name in SOLVERS for n in nfe for seed in seeds]
    hand: list[HandRow] = []
    rows: list[CaseRow] = []
    for name in SOLVERS:
        hand += _hand_made(case, name, nfe, store)
    for setting, name, n, seed in track(plan, "fits", console=console, transient=True):
        rows.append(_fitted(case, setting, name, n, seed, store))
        if out is not None:
            _write(out, case, rows, hand, len(rows) == len(plan))
    printed = Console(highlight=False)
    printed = printed if printed.is_terminal else Console(highlight=False, width=_PAGE)
    printed.print(table(rows))
    for sentence in best_of_all(rows, hand, case.hand):
        printed.print(sentence, markup=False)


def _check(case: ReferenceCase, nfe: Sequence[int], seeds: Sequence[int]) -> None:
    known = sorted({n for solver, n in case.runs if solver == SOLVERS[0]})
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


def _fitted(case: ReferenceCase, setting: Setting, name: str, nfe: int, seed: int, store: Store | None) -> CaseRow:
    """A fit that is known already, or a new one."""
    runs = case.runs.get((name, nfe)) or case.runs[SOLVERS[0], nfe]
    given = (case.flow.fingerprint(), case.pairs.start, case.pairs.end, case.test_end, [asdict(run) for run in runs])
    settings = (CONFIG, sorted(HAND_MADE), *((PAIRS.choose,) if setting == "same_pairs" else (TEACHER, PAIRS)))
    key = f"fit-{fingerprint(setting, name, nfe, seed, given, settings)}"
    known = None if store is None else store.json(key)
    if known is not None:
        return CaseRow(**known)
    row = case_row(case, setting, name, nfe, seed, fit_case(case, setting, name, nfe, seed, limit(runs)))
    if store is not None:
        store.put_json(key, asdict(row))
    return row


def _hand_made(case: ReferenceCase, name: str, nfe: Sequence[int], store: Store | None) -> list[HandRow]:
    solver, rows = get_solver(name), []
    for n in nfe:
        for grid, make in HAND_MADE.items():
            key = f"hand-{fingerprint(name, n, grid, case.flow.fingerprint(), case.test_start, case.test_end)}"
            mse = None if store is None else store.json(key)
            if mse is None:
                mse = mse_to_teacher(case, make(case.flow.clock, solver.steps(n)), solver)
                if store is not None:
                    store.put_json(key, mse)
            rows.append(HandRow(name, n, grid, mse))
    return rows


def _write(out: Path, case: ReferenceCase, rows: Sequence[CaseRow], hand: Sequence[HandRow], complete: bool) -> None:
    published = [HandRow(*key, grid, mse) for key, grids in case.hand.items() for grid, mse in grids.items()]
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "complete": complete,
        "config": {"fit": asdict(CONFIG), "teacher": asdict(TEACHER), "pairs": asdict(PAIRS)},
        "versions": manifest.versions(_PACKAGES),
        "commit": manifest.commit(),
        "machine": manifest.machine(torch.device("cpu")),
        "reference_case": [asdict(row) for row in rows],
        "hand_made": [asdict(row) for row in hand],
        "published_hand_made": [asdict(row) for row in published],
    }
    write_text(out / "results.json", json.dumps(content, indent=2, allow_nan=False))
