"""The reference case for the eye: a table with both sides, and the best of all grids in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from rich.table import Table

from benchmarks.images_reference_rows import CaseRow, HandRow

HEADINGS = (
    "setting",
    "solver",
    "NFE",
    "mse",
    "published",
    "ratio",
    "FD feat.",
    "published",
    "evaluations",
    "published",
    "CPU s",
    "published",
)

CAPTION = (
    "mse: mean squared distance to the teacher on the test starts, mean (lowest - highest) over seeds; FD: Fréchet "
    "distance in the classifier's features; evaluations of the network and CPU seconds of a fit, teacher included; "
    "published: the mean of the published code's fits in its own configuration"
)


def table(rows: Sequence[CaseRow]) -> Table:
    """One line a setting, solver and NFE."""
    found = Table(title="reference case, ours and the published code's", caption=CAPTION)
    for heading in HEADINGS:
        found.add_column(heading, justify="left" if heading in HEADINGS[:2] else "right", no_wrap=True)
    lines = list(cells(rows))
    for line, following in zip(lines, [*lines[1:], None], strict=True):
        found.add_row(*line, end_section=following is not None and following[:2] != line[:2])
    return found


def cells(rows: Sequence[CaseRow]) -> Iterator[tuple[str, ...]]:
    """The lines of the table; "-" where the published code was not run."""
    for (setting, solver, nfe), same in groupby(rows, lambda row: (row.setting, row.solver, row.nfe)):
        seeds = list(same)
        mses, features = [row.mse for row in seeds], [row.fd_feat for row in seeds]
        first = seeds[0]
        reference = first.reference_mse
        yield (
            setting,
            solver,
            str(nfe),
            spread(mses),
            _number(reference),
            "-" if reference is None else f"{_mean(mses) / reference:.2f}",
            f"{_mean(features):.2f}",
            _decimal(first.reference_fd_feat, 2),
            f"{_mean([row.network_evaluations for row in seeds]):.0f}",
            _decimal(first.reference_network_evaluations, 0),
            f"{_mean([row.cpu_seconds for row in seeds]):.1f}",
            _decimal(first.reference_cpu_seconds, 1),
        )


def best_of_all(
    rows: Sequence[CaseRow], hand: Sequence[HandRow], published: Mapping[tuple[str, int], Mapping[str, float]]
) -> Iterator[str]:
    """Per NFE: the best learned grid of all solvers (by its mean over seeds) against the best hand-made one.

    The hand-made ones are ours and those of the published code, which has converged otherwise on some of them.
    """
    for nfe in sorted({row.nfe for row in rows}):
        groups = groupby((row for row in rows if row.nfe == nfe), lambda row: (row.setting, row.solver))
        learned = {key: [row.mse for row in same] for key, same in groups}
        best = min(learned, key=lambda key: _mean(learned[key]))
        grids = {(row.solver, row.grid): row.mse for row in hand if row.nfe == nfe}
        for (solver, n), listed in published.items():
            if n == nfe:
                grids |= {(solver, f"{name} of the published code"): mse for name, mse in listed.items()}
        by_hand = min(grids, key=grids.__getitem__)
        yield (
            f"{nfe} NFE, best learned: {spread(learned[best])} ({best[1]}, {best[0]}); "
            f"best hand-made: {_number(grids[by_hand])} ({by_hand[0]}, {by_hand[1]})"
        )


def spread(values: Sequence[float]) -> str:
    """Mean, lowest and highest."""
    return f"{_number(_mean(values))} ({_number(min(values))} - {_number(max(values))})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.5f}"


def _decimal(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
