"""The study of the ball: its statistics by hand, and a small run of it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from reference_cases import write_case

from benchmarks.experiments.reference_case import ball as images_reference_ball
from benchmarks.experiments.reference_case.ball import block, main, quotient, verdict
from ld3.grids import HAND_MADE, edm
from ld3.learn import FitConfig

MSE = {0.0: (1.0, 2.0), 0.1: (0.5, 1.0), 0.2: (1.0, 4.0)}


def results(mse: dict[float, tuple[float, float]]) -> dict[str, Any]:
    rows = [
        {"nfe": 4, "radius": radius, "seed": seed, "mse": value}
        for radius, values in mse.items()
        for seed, value in enumerate(values)
    ]
    return {"config": {"radius": list(mse), "nfe": [4], "seeds": [0, 1], "solver": "ddim"}, "rows": rows}


def test_interval_of_paired_quotients() -> None:
    """Logarithms 0 and ln 2: mean ln 2 / 2, standard error ln 2 / 2, and t = 12.7062 for one degree of freedom."""
    middle, low, high = quotient((1.0, 4.0), (1.0, 2.0))
    half = math.log(2) / 2
    assert math.log(middle) == pytest.approx(half)
    assert math.log(low) == pytest.approx(half - 12.7062 * half, rel=1e-5)
    assert math.log(high) == pytest.approx(half + 12.7062 * half, rel=1e-5)


def test_verdict_is_that_of_the_intervals() -> None:
    assert verdict(results({r: MSE[r] for r in (0.0, 0.2)})).startswith("In none of the 1 comparisons")
    found = verdict(results(MSE))
    assert found == "Lower with radius 0.1 at 4 NFE. The intervals of the other 1 comparisons contain 1."
    assert verdict(results({0.0: (1.0, 2.0), 0.5: (3.0, 6.0)})).startswith("Higher with radius 0.5 at 4 NFE.")


def test_a_small_study_goes_on_where_it_was_and_fills_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(images_reference_ball, "CONFIG", FitConfig(phases=("joint",), steps=20, validate_every=10))
    case, page = write_case(tmp_path / "case"), tmp_path / "page.md"
    page.write_text("<!-- table: ball -->\n<!-- end of table: ball -->\n")
    command = [str(case), "--out", str(tmp_path / "out"), "--radius", "0", "0.3", "--nfe", "4", "--seeds", "0", "1"]
    command += ["--page", str(page)]
    assert main(command) == 0
    first = json.loads((tmp_path / "out" / "results.json").read_text())
    assert block(first) in page.read_text()
    values = {(row["radius"], row["seed"]): row["mse"] for row in first["rows"]}
    assert len(set(values.values())) == 4
    monkeypatch.setattr(images_reference_ball, "fit", None)
    assert main(command) == 0
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == first
    moved = {**HAND_MADE, "edm": lambda clock, n: edm(clock, n, rho=5.0)}
    with monkeypatch.context() as patch:  # what is kept is that of the grids that fits could start from
        patch.setattr(images_reference_ball, "HAND_MADE", moved)
        with pytest.raises(TypeError, match="'NoneType' object is not callable"):
            main(command)
    for option, values_given in (("--radius", ["0.1"]), ("--seeds", ["0"])):
        assert main([*command, option, *values_given]) == 2
        assert capsys.readouterr().err.strip().splitlines()[-1].startswith(f"error: {option}")
