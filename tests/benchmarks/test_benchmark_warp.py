"""The comparison of warps: its tables against figures by hand, its refusals, and a small run of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import shared
from reference_cases import write_case

from benchmarks.experiments import warp_rows
from benchmarks.experiments.warp import main
from benchmarks.experiments.warp_page import block, put_tables
from ld3.grids import HAND_MADE, edm

METHODS = ("hand", "gits", "fitted", "warp", "curve")


def results() -> dict[str, Any]:
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
    config = {"solver": "unipc_bh1_3", "nfe": [4], "unseen": [7], "pairs": [8, 2], "seeds": [0, 1]}
    return {"config": config, "rows": rows, "costs": costs}


def test_tables_are_those_of_the_figures() -> None:
    origin, distances, costs = block(results()).split("\n\n")
    assert (
        "`python -m benchmarks.experiments.warp --reference-case DIR --nfe 4 --unseen 7 --pairs 8 2 --seeds 0 1"
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
    found = results()
    for row in found["rows"]:
        if (row["method"], row["nfe"]) in (("gits", 4), ("warp", 7)) and row["seed"] == 1:
            row["mse"] = None
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in block(found).split("\n\n")[1].splitlines()
    ]
    four, seven = cells[2:]
    assert four[2] == seven[4] == "not finite with 1 of 2 seeds"
    assert four[6:] == ["1.41", "4.00"]
    assert seven[6:] == ["-", "2.00"]


def test_tables_go_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "warp.md"
    page.write_text("before\n<!-- table: warp -->\nold\n<!-- end of table: warp -->\nafter\n")
    put_tables(page, results())
    assert page.read_text().startswith("before\n<!-- table: warp -->\n\nMade by")
    assert page.read_text().endswith("<!-- end of table: warp -->\nafter\n")
    assert "old" not in page.read_text()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--solver", "rk4"), "--solver: name must be one of ddim"),
        (("--solver", "heun", "--nfe", "5"), "--nfe: nfe must be a positive multiple of 2 for heun, got 5"),
        (("--nfe", "4", "--unseen", "4"), "--unseen: got 4, which is in --nfe"),
        (("--pairs", "0", "1"), "--pairs: got (0, 1)"),
        ((), "digits_denoiser.pt holds no denoiser of the reference case"),
    ],
)
def test_mistakes_are_one_line(
    options: tuple[str, ...], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["--reference-case", str(tmp_path), "--out", str(tmp_path / "out"), *options])
    error = " ".join(capsys.readouterr().err.split())
    assert status == 2
    assert error.startswith("error: ")
    assert problem in error


@pytest.fixture
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command line of a comparison of short fits on a small case."""
    monkeypatch.setattr(warp_rows, "FIT", replace(warp_rows.FIT, steps=3))
    monkeypatch.setattr(warp_rows, "WARP", replace(warp_rows.WARP, iterations=1))
    case = write_case(tmp_path / "case")
    return ["--reference-case", str(case), "--out", str(tmp_path / "out"), "--seeds", "0", "--pairs", "4", "2"]


def test_more_evaluations_than_the_paper_has_fine_steps(short: list[str], tmp_path: Path) -> None:
    assert main([*short, "--nfe", "80", "--unseen"]) == 0
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert {(row["method"], row["nfe"]) for row in rows} == {(method, 80) for method in METHODS}
    assert all(row["mse"] is not None for row in rows)


def test_other_grids_to_start_from_are_other_fits(
    short: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fits are kept under the levels that they could start from."""
    made: list[str] = []
    for name in ("fit", "fit_warp"):
        original = getattr(warp_rows, name)

        def counted(*given: Any, name: str = name, original: Any = original) -> Any:  # noqa: ANN401
            made.append(name)
            return original(*given)

        monkeypatch.setattr(warp_rows, name, counted)
    command = [*short, "--nfe", "4", "--unseen"]
    for expected in (["fit", "fit_warp", "fit_warp"], []):
        made.clear()
        assert main(command) == 0
        assert made == expected
    moved = {**HAND_MADE, "edm": lambda clock, n: edm(clock, n, rho=5.0)}
    monkeypatch.setattr(warp_rows, "HAND_MADE", moved)
    assert main(command) == 0
    assert made == ["fit", "fit_warp", "fit_warp"]


@pytest.mark.slow
def test_a_small_comparison_end_to_end_goes_on_where_it_was(tmp_path: Path) -> None:
    case, out, page = shared("oracles/ld3"), tmp_path / "out", tmp_path / "page.md"
    page.write_text("<!-- table: warp -->\n<!-- end of table: warp -->\n")
    command = ["--reference-case", str(case), "--out", str(out), "--nfe", "4", "--unseen", "5", "--seeds", "0"]
    command += ["--pairs", "6", "4", "--page", str(page)]
    assert main(command) == 0
    first = json.loads((out / "results.json").read_text())
    found = {(row["method"], row["nfe"]): row["mse"] for row in first["rows"]}
    assert set(found) == {(method, nfe) for method in METHODS for nfe in (4, 5)}
    assert found["fitted", 4] < found["hand", 4]
    assert found["warp", 4] < found["hand", 4]
    assert "5, not fitted on" in page.read_text()
    assert main(command) == 0
    assert json.loads((out / "results.json").read_text())["costs"] == first["costs"]
