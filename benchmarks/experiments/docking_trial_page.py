"""Fits that were tried against each other, in figures: results.json, and a table for a Markdown page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common import manifest
from benchmarks.common.store import write_text
from benchmarks.docking.pose_rows import PoseRow
from benchmarks.experiments.docking_trial_list import USUAL, Trial
from domains.bootstrap import Interval, Statistic, bootstrap_difference, bootstrap_interval

SCHEMA: Final = "ld3.docking.trials"
BLOCK: Final = "trials"

_PACKAGES = ("torch", "torch-geometric", "e3nn", "rdkit", "numpy", "scipy")

Rows = dict[str, list[PoseRow]]
"""Trial, or hand-made grid and its NFE -> its poses of all seeds."""


@dataclass(frozen=True)
class Row:
    """Figures of one fit, or of a sampler to compare with; success is a fraction of poses, lengths are in Å.

    Attributes:
        name, asks: of the trial.
        poses: of all complexes and seeds.
        success_2A, rmsd_to_teacher: mean and median, with 95% intervals (complexes, then poses, resampled).
        success_minus_usual, rmsd_minus_usual: paired differences to the usual fit; None for that one itself.
        seconds: wall time of each fit.
    """

    name: str
    asks: str
    poses: int
    success_2A: Interval
    rmsd_to_teacher: Interval
    success_minus_usual: Interval | None
    rmsd_minus_usual: Interval | None
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Study:
    """What was tried, on what.

    Attributes:
        command: that makes it again.
        config: its options.
        rows: in the order of the table.
        complexes: that were docked.
        seeds: that are done.
    """

    command: str
    config: Mapping[str, Any]
    rows: Sequence[Row]
    complexes: int
    seeds: Sequence[int]


def summarise(trials: Sequence[Trial], rows: Rows, seconds: Mapping[str, Sequence[float]]) -> list[Row]:
    asks = {trial.name: trial.asks for trial in trials}
    figures = {name: (_values(poses, _success), _values(poses, _to_teacher)) for name, poses in rows.items()}

    def minus_usual(name: str, part: int, statistic: Statistic) -> Interval | None:
        if name == USUAL:
            return None
        return bootstrap_difference(figures[name][part], figures[USUAL][part], statistic, seed=0)

    return [
        Row(
            name,
            asks.get(name, ""),
            len(rows[name]),
            bootstrap_interval(figures[name][0], "mean", seed=0),
            bootstrap_interval(figures[name][1], "median", seed=0),
            minus_usual(name, 0, "mean"),
            minus_usual(name, 1, "median"),
            tuple(seconds.get(name, ())),
        )
        for name in rows
    ]


def _values(poses: Sequence[PoseRow], value: Callable[[PoseRow], float]) -> list[NDArray[np.float64]]:
    """One array a complex."""
    columns: dict[str, list[float]] = {}
    for row in poses:
        columns.setdefault(row.complex, []).append(value(row))
    return [np.array(column) for column in columns.values()]


def _success(row: PoseRow) -> float:
    """A pose that failed is none."""
    return float(row.rmsd is not None and row.rmsd < 2.0)


def _to_teacher(row: PoseRow) -> float:
    """A pose that failed is infinitely far."""
    return np.inf if row.rmsd_to_teacher is None else row.rmsd_to_teacher


def write(out: Path, study: Study) -> None:
    """results.json.

    Raises:
        OSError: if it cannot be written.
    """
    content = {
        "schema": SCHEMA,
        "config": study.config,
        "complexes": study.complexes,
        "seeds": list(study.seeds),
        "rows": [asdict(row) for row in study.rows],
        "versions": manifest.versions(_PACKAGES),
        "commit": manifest.commit(),
        "machine": manifest.machine(torch.device("cpu")),
    }
    # JSON has no infinity, which the median of poses that failed may be.
    content = json.loads(json.dumps(content, default=str), parse_constant=lambda _: None)
    write_text(out / "results.json", json.dumps(content, indent=1))


def origin(study: Study) -> str:
    """How the figures were made."""
    config = study.config
    return (
        f"Made by `{study.command}`. {study.complexes} complexes x "
        f"{config['samples']} poses x {len(study.seeds)} seeds, {config['nfe']} NFE unless said otherwise. "
        f"Intervals: 95%, bootstrap over complexes, then poses; differences to '{USUAL}' are paired."
    )


def block(study: Study) -> str:
    """Origin and table, in Markdown."""
    headings = ("fit", "within 2 Å", f"minus {USUAL}, points", "to teacher, Å", f"minus {USUAL}, Å", "what it asks")
    lines = [headings, ("---", "---:", "---:", "---:", "---:", "---")]
    lines += [
        (
            row.name,
            cell(row.success_2A, 100, 0),
            cell(row.success_minus_usual, 100, 1, sign="+"),
            cell(row.rmsd_to_teacher, 1, 2),
            cell(row.rmsd_minus_usual, 1, 2, sign="+"),
            row.asks,
        )
        for row in study.rows
    ]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{origin(study)}\n\n{table}"


def cell(interval: Interval | None, scale: float, digits: int, sign: str = "") -> str:
    """Estimate and bounds for a table; nothing for None."""
    if interval is None:
        return ""
    estimate, low, high = (f"{scale * number:{sign}.{digits}f}" for number in interval)
    return f"{estimate} [{low}, {high}]"
