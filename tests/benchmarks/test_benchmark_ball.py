"""The study of the ball: its statistics by hand, and a small run of it that goes on where it was."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.experiments.ball import Options, block, main, quotient
from benchmarks.experiments.study import defaults

MSE = {0.0: (1.0, 2.0), 0.1: (0.5, 1.0), 0.2: (1.0, 4.0)}


def table(mse: dict[float, tuple[float | None, float | None]]) -> str:
    rows = [
        {"nfe": 4, "radius": radius, "seed": seed, "mse": value}
        for radius, values in mse.items()
        for seed, value in enumerate(values)
    ]
    options = replace(defaults(Options, "ball"), radius=tuple(mse), nfe=(4,), seeds=(0, 1))
    return block(options, rows)


def test_interval_of_paired_quotients() -> None:
    """Logarithms 0 and ln 2: mean ln 2 / 2, standard error ln 2 / 2, and t = 12.7062 for one degree of freedom."""
    found = quotient((1.0, 4.0), (1.0, 2.0))
    assert found is not None
    middle, low, high = map(math.log, found)
    half = math.log(2) / 2
    assert middle == pytest.approx(half)
    assert low == pytest.approx(half - 12.7062 * half, rel=1e-5)
    assert high == pytest.approx(half + 12.7062 * half, rel=1e-5)


def test_verdict_is_that_of_the_intervals() -> None:
    assert "In none of the 1 comparisons" in table({r: MSE[r] for r in (0.0, 0.2)})
    assert table({**MSE}).endswith(
        "Lower with radius 0.1 at 4 NFE. The intervals of the other 1 comparisons contain 1."
    )
    assert "Higher with radius 0.5 at 4 NFE." in table({0.0: (1.0, 2.0), 0.5: (3.0, 6.0)})


def test_figures_that_are_not_finite_are_said_to_be() -> None:
    text = table({0.0: (1.0, 2.0), 0.3: (None, 2.0)})
    assert "| 4 | 0.3 | not finite with 1 of 2 seeds | - | - |" in text
    assert "Not compared, for want of finite figures, with radius 0.3 at 4 NFE." in text


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


def test_a_small_study_goes_on_where_it_was_and_fills_its_page(tmp_path: Path) -> None:
    out, page = tmp_path / "out", tmp_path / "page.md"
    page.write_text("<!-- table: ball -->\n<!-- end of table: ball -->\n")
    command = ["--out", str(out), "--radius", "0", "0.3", "--nfe", "4", "--seeds", "0", "1", "--fit.steps", "6"]
    assert main([*command, "--page", str(page)]) == 0
    first = results(out)
    assert len({row["mse"] for row in first["rows"]}) == 4
    flags = "--fit.steps 6 --radius 0.0 0.3 --nfe 4 --seeds 0 1"
    assert f"Made by `python -m benchmarks.experiments.ball {flags}`." in page.read_text()
    assert {"python", "torch", "numpy", "scipy"} <= first["versions"].keys()
    # A figure that was kept is read again, and belongs to the settings that it was made with.
    for entry in (out / "cache").glob("ball-*.json"):
        entry.write_text('{"mse": 7.0}')
    assert main(command) == 0
    assert {row["mse"] for row in results(out)["rows"]} == {7.0}
    assert main([*command, "--fit.learning-rate", "0.06"]) == 0
    assert 7.0 not in {row["mse"] for row in results(out)["rows"]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--solver", "rk4"), "--solver: name must be one of"),
        (("--solver", "heun", "--nfe", "5"), "--nfe: nfe must be a positive multiple of 2 for heun, got 5"),
        (("--radius", "0.1"), "--radius: got [0.1]; give numbers >= 0, 0 among them"),
        (("--radius", "0", "nan"), "--radius: got [0.0, nan]"),
        (("--seeds", "0"), "--seeds: got 0; give at least 2"),
        (("--page", "missing.md"), "--page: missing.md cannot take the table"),
        (("--out", "/dev/null/out"), "--out: cannot write"),
    ],
)
def test_mistakes_get_one_line(
    arguments: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path / "out"), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line
