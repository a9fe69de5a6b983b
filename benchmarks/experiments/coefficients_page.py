"""What learned coefficients add, in figures: results.json, and a table for a Markdown page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from benchmarks.common import manifest
from benchmarks.common.store import finite, write_text
from benchmarks.common.tables import put_block
from benchmarks.experiments.coefficients_rows import BASELINE, JOINT, VARIANTS, Fitted
from domains.bootstrap import Interval, bootstrap_difference, bootstrap_interval

SCHEMA: Final = "ld3.coefficients"
BLOCK: Final = "coefficients"

_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn")
_SCALE = 1000  # of squared distances, for the eye


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


def summarise(fitted: Sequence[Fitted]) -> list[Row]:
    """For each solver and number of evaluations a row for every variant, after that of the grid without a fit."""
    cases: dict[tuple[str, int], dict[str, list[Fitted]]] = {}
    for own in fitted:
        cases.setdefault((own.solver, own.nfe), {}).setdefault(own.variant, []).append(own)
    return [
        _row(case[name], case[JOINT.name])
        for case in cases.values()
        for name in (BASELINE, *(v.name for v in VARIANTS))
    ]


def _row(own: Sequence[Fitted], joint: Sequence[Fitted]) -> Row:
    """Both in the order of their seeds."""
    values, others = ([fitted.distances for fitted in part] for part in (own, joint))
    with np.errstate(invalid="ignore"):  # inf / inf
        quotients = tuple(float(part.mean() / other.mean()) for part, other in zip(values, others, strict=True))
    compared = None if own[0].variant == JOINT.name else bootstrap_difference(values, others, "mean", 0, strata=True)
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


def write_results(out: Path, config: Mapping[str, Any], fitted: Sequence[Fitted], *, complete: bool) -> None:
    """results.json: what was asked for, every fit, and the rows of the table.

    Raises:
        OSError: if it cannot be written.
    """
    content = {
        "schema": SCHEMA,
        "version": 2,
        "complete": complete,
        "config": config,
        "variants": [asdict(variant) for variant in VARIANTS],
        "fits": [_entry(own) for own in fitted],
        "rows": [asdict(row) for row in summarise(fitted)],
        "versions": manifest.versions(_PACKAGES),
        "commit": manifest.commit(),
        "machine": manifest.machine(torch.device("cpu")),
    }
    # JSON has no infinity, which images that are not finite lead to.
    plain = json.loads(json.dumps(content), parse_constant=lambda _: None)
    write_text(out / "results.json", json.dumps(plain, indent=1, allow_nan=False))


def _entry(fitted: Fitted) -> dict[str, object]:
    """A fit with the mean of its distances."""
    plain = {name: value for name, value in vars(fitted).items() if name != "distances"}
    return {**plain, "mse": finite(float(fitted.distances.mean()))}


def block(command: str, config: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """Origin, table and verdict, in Markdown."""
    train, valid = config["pairs"]
    origin = (
        f"Made by `{command}`. {train} teacher pairs to learn from and {valid} to choose by, the same for all fits of "
        f"a seed; at most {config['steps']} gradients a fit; {len(config['seeds'])} seeds x {config['samples']} images "
        "from starts that no fit has seen. Squared distances to the teacher's image, mean over pixels, times "
        f"{_SCALE}. Quotients: of the means, seed by seed. Intervals: 95%, bootstrap over images, within each seed: "
        "they are those of these very fits, and say nothing of other seeds. Differences are paired, image by image."
    )
    headings = (
        "solver",
        "NFE",
        "learned",
        "mean",
        "95%, of images",
        "median",
        "mean / that of, by seed",
        "mean minus that of, of images",
        "evaluations",
    )
    lines = [headings, ("---", "---:", "---", *["---:"] * 6), *map(_cells, rows)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    table = table.replace("that of,", f"that of {JOINT.name},")
    legend = "\n".join(f"- *{variant.name}*: {variant.asks}" for variant in VARIANTS)
    return "\n\n".join([origin, table, legend, verdict(rows)])


def verdict(rows: Sequence[Row]) -> str:
    """In how many cases each variant is nearer to the teacher than times and levels alone, in words."""
    lines = []
    for variant in VARIANTS:
        cases = [row.quotients for row in rows if row.variant == variant.name != JOINT.name]
        known = [quotients for quotients in cases if all(map(math.isfinite, quotients))]
        if cases:
            nearer = sum(max(quotients) < 1 for quotients in known)
            farther = sum(min(quotients) > 1 for quotients in known)
            mixed, broken = len(known) - nearer - farther, len(cases) - len(known)
            lines.append(
                f"- *{variant.name}* against *{JOINT.name}*: in {nearer} of {len(cases)} cases all seeds are nearer to "
                f"the teacher, in {farther} all are farther, in {mixed} seeds differ"
                + (f", in {broken} images are not finite" if broken else "")
            )
    return "\n".join(lines)


def put_table(page: Path, content: str) -> None:
    """Write the block into a page.

    Raises:
        ValueError: if the page lacks the markers.
        OSError: if it cannot be read or written.
    """
    put_block(page, BLOCK, content)


def _cells(row: Row) -> tuple[str, ...]:
    name = f"{BASELINE} ({', '.join(dict.fromkeys(row.starts))})" if row.variant == BASELINE else row.variant
    spent = sum(row.network_evaluations) / len(row.network_evaluations)
    own = row.variant == JOINT.name
    return (
        row.solver,
        str(row.nfe),
        name,
        _number(row.mse.estimate),
        f"{_number(row.mse.low)} - {_number(row.mse.high)}",
        _number(row.median),
        "" if own else ", ".join(f"{quotient:.2f}" for quotient in row.quotients),
        "" if row.minus_joint is None else _signed(row.minus_joint),
        "" if row.variant == BASELINE else f"{spent:,.0f}",
    )


def _signed(gap: Interval) -> str:
    estimate, low, high = (f"{_SCALE * value:+.3g}" for value in gap)
    return f"{estimate} [{low}, {high}]"


def _number(value: float) -> str:
    return f"{_SCALE * value:.3g}"
