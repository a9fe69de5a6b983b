"""The comparison of warps: its tables against figures by hand, its refusals, and a small run of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.experiments.study import defaults
from benchmarks.experiments.warp import METHODS, Options, block, main


def figures() -> tuple[Options, list[dict[str, Any]], list[dict[str, Any]]]:
    """Two seeds, two budgets, of which one is not fitted on."""
    mse = {
        ("hand", 4): (0.010, 0.030),
        ("gits", 4): (0.007, 0.007),
        ("fitted", 4): (0.002, 0.004),
        ("warp", 4): (0.004, 0.004),
        ("curve", 4): (0.008, 0.016),
        ("hand", 7): (0.005, 0.005),
        ("gits", 7): (0.007, 0.009),
        ("fitted", 7): (0.001, 0.001),
        ("warp", 7): (0.0015, 0.0015),
        ("curve", 7): (0.001, 0.004),
    }
    rows = [
        {"method": method, "nfe": nfe, "seed": seed, "mse": value}
        for (method, nfe), values in mse.items()
        for seed, value in enumerate(values)
    ]
    costs = [
        {"method": method, "nfe": nfe, "seed": seed, "network_evaluations": evaluations + seed, "cpu_seconds": 2.4}
        for method, nfe, evaluations in (
            ("gits", [4], 60),
            ("fitted", [4], 1000),
            ("fitted", [7], 9000),
            ("warp", [4], 2000),
            ("curve", [4], 3000),
        )
        for seed in (0, 1)
    ]
    options = replace(
        defaults(Options, "warp"), nfe=(4,), unseen=(7,), pairs=(8, 2), seeds=(0, 1), warps=("warp", "curve")
    )
    return options, rows, costs


def test_tables_are_those_of_the_figures() -> None:
    origin, distances, costs = block(*figures()).split("\n\n")
    assert (
        "`python -m benchmarks.experiments.warp --nfe 4 --unseen 7 --pairs 8 2 --seeds 0 1 --warps warp curve`"
        in origin
    )
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in distances.splitlines()]
    four = ["4", "20 (10 to 30)", "7 (7 to 7)", "3 (2 to 4)", "4 (4 to 4)", "12 (8 to 16)", "1.41", "4.00"]
    seven = [
        "7, not fitted on",
        "5 (5 to 5)",
        "8 (7 to 9)",
        "1 (1 to 1)",
        "1.5 (1.5 to 1.5)",
        "2.5 (1 to 4)",
        "1.50",
        "2.00",
    ]
    assert cells[2:] == [four, seven]
    assert costs.splitlines()[2:] == [
        "| GITS | 60 | 2 |",
        "| 1 grids, one by one | 1,000 | 2 |",  # the grid of the budget that warps have not seen is not counted
        "| warp | 2,000 | 2 |",
        "| warp without drift | 3,000 | 2 |",
    ]


def test_figures_that_are_not_finite_are_said_to_be() -> None:
    options, rows, costs = figures()
    for row in rows:
        if (row["method"], row["nfe"]) in (("gits", 4), ("warp", 7)) and row["seed"] == 1:
            row["mse"] = None
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in block(options, rows, costs).split("\n\n")[1].splitlines()
    ]
    four, seven = cells[2:]
    assert four[2] == seven[4] == "not finite with 1 of 2 seeds"
    assert four[6:] == ["1.41", "4.00"]
    assert seven[6:] == ["-", "2.00"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--solver", "rk4"), "--solver: name must be one of ddim"),
        (("--solver", "heun", "--nfe", "5"), "--nfe: nfe must be a positive multiple of 2 for heun, got 5"),
        (("--nfe", "4", "--unseen", "4"), "--unseen: got 4, which is in --nfe"),
        (("--pairs", "0", "1"), "--pairs: got 0"),
        (("--page", "missing.md"), "--page: missing.md cannot take the table"),
    ],
)
def test_mistakes_are_one_line(
    options: tuple[str, ...], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path / "out"), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert problem in line


def test_a_small_comparison_goes_on_where_it_was(tmp_path: Path) -> None:
    """On the repository's own case; CPU seconds tell whether a fit was made again."""
    out, page = tmp_path / "out", tmp_path / "page.md"
    page.write_text("before\n<!-- table: warp -->\nold\n<!-- end of table: warp -->\nafter\n")
    command = ["--out", str(out), "--nfe", "4", "--unseen", "5", "--seeds", "0", "--pairs", "8", "4"]
    command += ["--fit.steps", "15", "--warp.iterations", "5", "--page", str(page)]
    assert main(command) == 0
    first = json.loads((out / "results.json").read_text())
    found = {(row["method"], row["nfe"]): row["mse"] for row in first["rows"]}
    assert set(found) == {(method, nfe) for method in METHODS for nfe in (4, 5)}
    assert found["fitted", 4] < found["hand", 4]
    assert max(found["warp", 4], found["weights", 4]) < found["hand", 4]
    assert first["complete"]
    text = page.read_text()
    assert text.startswith("before\n<!-- table: warp -->\n\nMade by `python -m benchmarks.experiments.warp ")
    assert text.endswith("<!-- end of table: warp -->\nafter\n")
    assert "5, not fitted on" in text
    assert "old" not in text
    assert main(command) == 0
    assert json.loads((out / "results.json").read_text())["costs"] == first["costs"]
    assert main([*command, "--fit.steps", "14"]) == 0
    costs = json.loads((out / "results.json").read_text())["costs"]
    assert [cost for cost in costs if cost not in first["costs"]] == [
        cost for cost in costs if cost["method"] == "fitted"
    ]
