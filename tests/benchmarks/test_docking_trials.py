"""The comparison of docking fits: figures, the pages, mistakes."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tyro
from benchmark_runs import write_complexes, write_weights
from rich.console import Console

from benchmarks.experiments.docking_trial_options import USUAL, Options
from benchmarks.experiments.docking_trial_rows import Figures, summarise
from benchmarks.experiments.docking_trial_tables import ball_block, verdict
from benchmarks.experiments.docking_trials import compare, main
from benchmarks.experiments.study import defaults
from domains.bootstrap import Interval
from domains.docking.settings import fit_config

PAGE = "# Fits\n\n<!-- table: trials -->\n<!-- end of table: trials -->\n"
BALL_PAGE = "# Ball\n\n<!-- table: docking ball -->\n<!-- end of table: docking ball -->\n"
OPTIONS = defaults(Options, "docking_trials")


def figures(near: Mapping[str, list[bool]], to_teacher: Mapping[str, list[float]]) -> Figures:
    distinct = {name: len(set(values)) for name, values in to_teacher.items()}
    return Figures(
        {name: np.array(values) for name, values in near.items()},
        {name: np.array(values) for name, values in to_teacher.items()},
        distinct,
    )


def test_differences_are_paired_and_failures_count() -> None:
    usual = figures({"a": [True, False], "b": [True]}, {"a": [0.5, 1.5], "b": [2.0]})
    other = figures({"a": [True, True], "b": [False]}, {"a": [0.25, 1.0], "b": [np.inf]})
    first, second = summarise(
        {USUAL: [usual], "one clock": [other]}, USUAL, {"one clock": "less"}, {"one clock": [2.0]}
    )
    assert (first.success_difference, first.rmsd_difference) == (None, None)
    assert (first.success_2A.estimate, second.success_2A.estimate) == (2 / 3, 2 / 3)
    assert second.success_difference is not None and second.rmsd_difference is not None
    assert second.success_difference.estimate == pytest.approx(0)
    assert (first.rmsd_to_teacher.estimate, second.rmsd_to_teacher.estimate) == (1.5, 1.0)
    assert second.rmsd_difference.estimate == -0.5
    assert (second.asks, second.seconds, second.poses) == ("less", (2.0,), 3)
    assert (first.best_2A, second.best_2A) == (1.0, 0.5)
    assert (first.distinct, second.distinct) == (1.5, 1.5)


def test_seeds_of_a_complex_are_one_array() -> None:
    seeds = [figures({"a": [near]}, {"a": [far]}) for near, far in ((True, 0.5), (False, 3.0), (False, 4.0))]
    (row,) = summarise({USUAL: seeds}, USUAL)
    assert (row.poses, row.rmsd_to_teacher.estimate) == (3, 3.0)
    assert row.success_2A.estimate == pytest.approx(1 / 3)


def test_every_fit_changes_one_thing() -> None:
    usual = next(trial for trial in OPTIONS.fits if trial.name == USUAL)
    assert usual.config(5) == fit_config(5)
    for trial in OPTIONS.fits:
        changed = (*trial.change, *(["share"] if trial.share != 1 else []))
        assert len(changed) <= 1
        usual_fields, own = asdict(usual.config(5)), asdict(trial.config(5))
        assert [k for k in own if own[k] != usual_fields[k]] == [*trial.change]
        assert (trial.config(5) == usual.config(5)) == (not trial.change)
    radii = [trial.change["radius"] for trial in OPTIONS.fits if "radius" in trial.change]
    assert radii == [0.005, 0.02, 0.05, 0.2]


def test_the_ball_table_has_radii_and_says_which_intervals_leave_out_zero() -> None:
    values = {USUAL: [1.0, 3.0], "one clock": [1.0, 1.0], "ball 0.02": [1.0, 1.5], "ball 0.2": [1.5, 9.0]}
    found = {
        name: [figures({f"{k}": [far < 2 for far in rmsd] for k in range(8)}, {f"{k}": rmsd for k in range(8)})]
        for name, rmsd in values.items()
    }
    options = replace(OPTIONS, complexes=Path("d"), samples=2, seeds=(0, 1))
    page = ball_block(options, summarise(found, USUAL), 8)
    command = "python -m benchmarks.experiments.docking_trials --complexes d --seeds 0 1"
    assert page.startswith(f"Made by `{command}`. 8 complexes x 2 poses x 2 seeds")
    lines = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("|")]
    assert lines[2:] == ["| 0", "| 0.02", "| 0.2"]
    assert "| 0.02 | 100 [100, 100] | +50.0 [" in page
    assert "Success: higher with radius 0.02; 1 of 2 intervals contain 0." in page


def test_verdicts_name_the_radii_on_either_side() -> None:
    below, above, across = Interval(-2, -3, -1), Interval(2, 1, 3), Interval(0, -1, 1)
    assert verdict("x", {0: None, 1: across, 2: across}) == "x: every interval of the 2 differences contains 0."
    assert (
        verdict("x", {0: None, 0.1: below, 0.2: below, 0.3: above, 0.4: across})
        == "x: lower with radius 0.1, 0.2; higher with radius 0.3; 1 of 4 intervals contain 0."
    )


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """Fits of three gradients on an untrained small model and one complex."""
    (tmp_path / "page.md").write_text(PAGE)
    (tmp_path / "ball.md").write_text(BALL_PAGE)
    short = {"steps": 3, "batch": 4, "validate_every": 1}
    names = (USUAL, "one clock", "ball 0.2", "few pairs")
    fits = [replace(fit, change={**short, **fit.change}) for fit in OPTIONS.fits if fit.name in names]
    return replace(
        OPTIONS,
        complexes=write_complexes(tmp_path / "my data", "1of6"),
        weights=write_weights(tmp_path / "model.safetensors"),
        fits=tuple(fits),
        samples=1,
        nfe=2,
        twice=3,
        seeds=(0, 1),
        fit_poses=8,
        out=tmp_path / "out",
        page=tmp_path / "page.md",
        ball_page=tmp_path / "ball.md",
    )


def results(options: Options) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((options.out / "results.json").read_text())
    return found


def test_every_seed_is_a_fit_of_its_own_and_lands_in_results_and_pages(options: Options) -> None:
    """The same command again gives the same figures."""
    assert options.page is not None and options.ball_page is not None
    log = Console(file=io.StringIO())
    assert compare(options, log) == 0
    first = results(options)
    rows = {row["name"]: row for row in first["rows"]}
    assert [name for name in rows if "NFE" not in name] == ["teacher", USUAL, "one clock", "ball 0.2", "few pairs"]
    assert {"edm, 2 NFE", "edm, 3 NFE"} <= rows.keys()
    assert (rows["teacher"]["rmsd_to_teacher"][0], rows["teacher"]["poses"]) == (0, 2)
    assert (len(rows["one clock"]["seconds"]), rows["one clock"]["poses"]) == (2, 2)
    assert (first["seeds"], first["complexes"]) == ([0, 1], 1)
    text = options.page.read_text()
    line = text.partition("Made by `")[2].partition("`")[0]
    again = tyro.cli(Options, args=shlex.split(line)[3:], default=OPTIONS)
    assert again == replace(options, out=OPTIONS.out, page=None, ball_page=None, fits=OPTIONS.fits)
    assert "| one clock |" in text
    balls = options.ball_page.read_text()
    assert balls.count("| 0.2 |") == balls.count("| 0 |") == 1
    assert "one clock |" not in balls
    assert compare(options, log) == 0
    second = results(options)
    for row in (*first["rows"], *second["rows"]):
        del row["seconds"]
    assert second == first


def test_the_list_of_names_chooses_complexes(options: Options, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("none of them\n")
    arguments = ["--complexes", str(options.complexes), "--only", str(tmp_path / "names.txt")]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2


def test_mistakes_get_one_line(options: Options, capsys: pytest.CaptureFixture[str]) -> None:
    start = ["--complexes", str(options.complexes), "--weights", str(options.weights), "--out", str(options.out)]
    for arguments, expected in (
        (["--trials", "faster"], "there is no 'faster'; choose from usual, "),
        (["--trials", "general"], "'general' needs a general grid"),
        (["--seeds"], "--seeds: got none"),
        (["--ball-page", str(options.page)], "--ball-page: "),
        (["--page", str(options.out / "missing.md")], "cannot take the table"),
    ):
        capsys.readouterr()
        assert main([*start, *arguments, "--nfe", "2"]) == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert expected in errors[0]
