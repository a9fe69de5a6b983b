"""The comparison of warps as Markdown tables, between the markers of a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any, Final

from benchmarks.common.tables import put_block

BLOCK: Final = "warp"

_NAMES: Final[Mapping[str, str]] = {
    "hand": "best hand-made",
    "gits": "GITS",
    "fitted": "fitted for it",
    "warp": "warp",
    "curve": "without drift",
}


def put_tables(page: Path, results: Mapping[str, Any]) -> None:
    """Write the tables of `results` (what :mod:`benchmarks.experiments.warp` writes) into a page.

    Raises:
        ValueError: if the page lacks the markers.
        OSError: if it cannot be read or written.
    """
    put_block(page, BLOCK, block(results))


def block(results: Mapping[str, Any]) -> str:
    """How the figures were made, how near every method comes at every budget, and what the fits cost."""
    config = results["config"]
    seeds = config["seeds"]
    train, valid = config["pairs"]
    origin = (
        f"Made by `{_command(config)}`. {config['solver']}; {train} teacher pairs to learn from and {valid} to choose "
        f"by, the same for all fits of a seed; seeds {', '.join(map(str, seeds))}. Mean squared distance to the "
        "teacher on the case's test set, times 1000: mean over seeds, and the range. Quotients: to the grid fitted for "
        "that budget on the same pairs, geometric mean over seeds."
    )
    return "\n\n".join([origin, _table(_distances(results)), _table(_costs(results))])


def _command(config: Mapping[str, Any]) -> str:
    flags = " ".join(
        f"--{name} {' '.join(map(str, config[name]))}" for name in ("nfe", "unseen", "pairs", "seeds") if config[name]
    )
    return f"python -m benchmarks.experiments.warp --reference-case DIR {flags} --solver {config['solver']}"


def _distances(results: Mapping[str, Any]) -> list[list[str]]:
    found: dict[tuple[str, int], dict[int, float | None]] = {}
    for row in results["rows"]:
        found.setdefault((row["method"], row["nfe"]), {})[row["seed"]] = row["mse"]
    lines = [["NFE", *_NAMES.values(), "warp / fitted", "without drift / fitted"]]
    for nfe in sorted({nfe for _, nfe in found}):
        label = f"{nfe}" if nfe in results["config"]["nfe"] else f"{nfe}, not fitted on"
        cells = [_range(list(found[method, nfe].values())) for method in _NAMES]
        quotients = [_quotient(found[method, nfe], found["fitted", nfe]) for method in ("warp", "curve")]
        lines.append([label, *cells, *quotients])
    return lines


def _costs(results: Mapping[str, Any]) -> list[list[str]]:
    wanted, seeds = results["config"]["nfe"], results["config"]["seeds"]
    names = {
        "gits": "GITS",
        "fitted": f"{len(wanted)} grids, one by one",
        "warp": "warp",
        "curve": "warp without drift",
    }
    lines = [["fit", "network evaluations", "CPU seconds"]]
    for method, name in names.items():
        mine = [c for c in results["costs"] if c["method"] == method and set(c["nfe"]) <= set(wanted)]
        totals = [
            mean(sum(c[figure] for c in mine if c["seed"] == seed) for seed in seeds)
            for figure in ("network_evaluations", "cpu_seconds")
        ]
        lines.append([name, f"{totals[0]:,.0f}", f"{totals[1]:.0f}"])
    return lines


def _table(lines: list[list[str]]) -> str:
    head, *rows = lines
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def _range(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return f"not finite with {values.count(None)} of {len(values)} seeds"
    low, middle, high = (f"{1000 * value:.3g}" for value in (min(known), mean(known), max(known)))
    return f"{middle} ({low} to {high})"


def _quotient(mine: Mapping[int, float | None], theirs: Mapping[int, float | None]) -> str:
    """Geometric mean over seeds; "-" where a figure is not finite."""
    product = 1.0
    for seed, value in mine.items():
        other = theirs[seed]
        if value is None or other is None:
            return "-"
        product *= value / other
    return f"{product ** (1 / len(mine)):.2f}"
