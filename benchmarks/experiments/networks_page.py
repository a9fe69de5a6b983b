"""The comparison of networks as a Markdown table, between the markers of a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.common.tables import percent, percent_range, put_block

BLOCK: Final = "networks"

Cell = Callable[[Mapping[str, Any]], str]


def put_table(page: Path, results: Mapping[str, Any]) -> None:
    """Write the table of `results` (what :mod:`benchmarks.experiments.networks` writes) into a page.

    Raises:
        ValueError: if the page lacks the markers.
        OSError: if it cannot be read or written.
    """
    put_block(page, BLOCK, block(results))


def block(results: Mapping[str, Any]) -> str:
    """How the figures were made, the table with a column for each network, and the paired differences."""
    rows = results["rows"]
    lines = [("", *(row["network"] for row in rows)), ("---", *("---:" for _ in rows))]
    lines += [(name, *(cell(row) for row in rows)) for name, cell in _figures(results)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    paired = "\n".join(_sentence(pair) for pair in results["differences"])
    return "\n\n".join(filter(None, (_origin(results), table, paired)))


def _origin(results: Mapping[str, Any]) -> str:
    config, reported = results["config"], results["reported"]
    values = " ".join(f"{c:g}" for c in config["score_scale"])
    return (
        f"Made by `{_command(config)}` (seed {config['seed']}). {len(reported)} held-out ligands x {config['poses']} "
        f"poses, {config['nfe']} evaluations a pose, without ranking; score scale chosen from {values} on "
        f"{len(results['chosen_on'])} other held-out ligands. Intervals: 95%, bootstrap over ligands, then poses. "
        "Times are CPU times of one core."
    )


def _command(config: Mapping[str, Any]) -> str:
    flags = [f"--{name} {config[name]}" for name in ("data", "minutes", "nfe", "poses", "seed", "out", "page")]
    return f"python -m benchmarks.experiments.networks {' '.join(flags)}"


def _figures(results: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    figures: list[tuple[str, Cell]] = [
        ("parameters", lambda row: f"{row['parameters']:,}"),
        ("training, CPU seconds", lambda row: f"{row['training_seconds']:.0f}"),
        ("training steps", lambda row: f"{row['steps']:,}"),
        ("ms per evaluation and pose", lambda row: f"{row['ms_per_evaluation']:.1f}"),
        ("ms per complex, once", lambda row: f"{row['ms_per_encoding']:.1f}"),
    ]
    figures += [(_loss_name(key), _loss(key)) for key in results["rows"][0]["losses"]]
    figures += [
        ("score scale chosen", lambda row: f"{row['chosen']:g}"),
        ("within 2 Å", lambda row: _rate(row["best"], "success_2A")),
        ("within 5 Å", lambda row: _rate(row["best"], "success_5A")),
        ("within 2 Å at score scale 1", lambda row: _rate(row["plain"], "success_2A")),
        ("within 5 Å at score scale 1", lambda row: _rate(row["plain"], "success_5A")),
        ("poses within 2 Å per CPU hour of docking", lambda row: f"{row['hits_per_cpu_hour']:,.0f}"),
    ]
    return figures


def _loss_name(key: str) -> str:
    split, factor = key.split("/")
    whose = {"ligands": "held-out ligands", "targets": "unseen targets"}[split]
    return f"denoising loss, {whose}: {factor}"


def _loss(key: str) -> Cell:
    return lambda row: f"{row['losses'][key]:.3f}"


def _rate(row: Mapping[str, Any], name: str) -> str:
    return f"{percent(row[name])} ({percent_range(row[f'{name}_interval'])})"


def _sentence(pair: Mapping[str, Any]) -> str:
    low, high = pair["interval"]
    return (
        f"Within 2 Å, {pair['first']} minus {pair['second']}, paired: "
        f"{100 * pair['points']:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]."
    )
