"""The reference case for the eye: one line a setting, solver and NFE, with both sides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from statistics import fmean

from rich.table import Table

from benchmarks.experiments.reference_case.rows import CaseRow, mse_of

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
    """The lines, for a terminal."""
    found = Table(title="reference case, ours and the published code's", caption=CAPTION)
    for heading in HEADINGS:
        found.add_column(heading, justify="left" if heading in HEADINGS[:2] else "right", no_wrap=True)
    lines = list(cells(rows))
    for line, following in zip(lines, [*lines[1:], None], strict=True):
        found.add_row(*line, end_section=following is not None and following[:2] != line[:2])
    return found


def cells(rows: Sequence[CaseRow]) -> Iterator[tuple[str, ...]]:
    """The lines of the table; "-" where there is no number."""
    for (setting, solver, nfe), group in groupby(rows, lambda row: (row.setting, row.solver, row.nfe)):
        seeds = list(group)
        mses, features = [mse_of(row) for row in seeds], [row.fd_feat for row in seeds if row.fd_feat is not None]
        first = seeds[0]
        reference = first.reference_mse
        yield (
            setting,
            solver,
            str(nfe),
            spread(mses),
            _decimal(reference, 5),
            "-" if reference is None else f"{fmean(mses) / reference:.2f}",
            _decimal(fmean(features) if len(features) == len(seeds) else None, 2),
            _decimal(first.reference_fd_feat, 2),
            f"{fmean([row.network_evaluations for row in seeds]):.0f}",
            _decimal(first.reference_network_evaluations, 0),
            f"{fmean([row.cpu_seconds for row in seeds]):.1f}",
            _decimal(first.reference_cpu_seconds, 1),
        )


def spread(values: Sequence[float]) -> str:
    """Mean, lowest and highest."""
    return f"{fmean(values):.5f} ({min(values):.5f} - {max(values):.5f})"


def _decimal(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
