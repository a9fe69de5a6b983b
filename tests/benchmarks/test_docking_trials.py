"""The comparison of docking fits: figures, the page, mistakes."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import tyro
from benchmark_runs import short_fits, write_complexes, write_weights

from benchmarks.docking.pose_rows import PoseRow
from benchmarks.experiments.docking_trial_ball import ball_block, verdict
from benchmarks.experiments.docking_trial_list import RADII, TRIALS, USUAL
from benchmarks.experiments.docking_trial_page import Study, summarise
from benchmarks.experiments.docking_trials import Options, main
from domains.bootstrap import Interval
from domains.docking import settings

PAGE = "# Fits\n\n<!-- table: trials -->\n<!-- end of table: trials -->\n"
BALL_PAGE = "# Ball\n\n<!-- table: docking ball -->\n<!-- end of table: docking ball -->\n"


def pose(complex_: str, sample: int, rmsd: float | None, to_teacher: float | None) -> PoseRow:
    return PoseRow(complex_, "x", "ddim", 5, sample, 0, rmsd, to_teacher, 0.0, None if rmsd else "NaN")


def test_differences_are_paired_and_failures_count() -> None:
    usual = [pose("a", 0, 1.0, 0.5), pose("a", 1, 3.0, 1.5), pose("b", 0, 1.0, 2.0)]
    other = [pose("a", 0, 1.0, 0.25), pose("a", 1, 1.0, 1.0), pose("b", 0, None, None)]
    first, second = summarise(TRIALS, {USUAL: usual, "one clock": other}, {"one clock": [2.0]})
    assert (first.success_minus_usual, first.rmsd_minus_usual) == (None, None)
    assert (first.success_2A.estimate, second.success_2A.estimate) == (2 / 3, 2 / 3)
    assert second.success_minus_usual is not None and second.rmsd_minus_usual is not None
    assert second.success_minus_usual.estimate == pytest.approx(0)
    assert (first.rmsd_to_teacher.estimate, second.rmsd_to_teacher.estimate) == (1.5, 1.0)
    assert second.rmsd_minus_usual.estimate == -0.5
    assert (second.asks, second.seconds, second.poses) == ("the same times for all factors", (2.0,), 3)


def test_balls_of_several_radii_are_tried_each_changing_only_the_radius() -> None:
    usual, *balls = (trial for trial in TRIALS if trial.name in RADII)
    assert (usual.name, RADII[usual.name], usual.config(5).radius) == (USUAL, 0.0, 0.0)
    assert len(balls) >= 4
    for trial in balls:
        assert trial.config(5) == replace(usual.config(5), radius=RADII[trial.name])
        assert (trial.share, trial.general) == (1.0, False)


def test_the_ball_table_has_radii_and_says_which_intervals_leave_out_zero() -> None:
    config = {"samples": 1, "nfe": 5}
    names = {USUAL: [1.0, 3.0], "one clock": [1.0, 1.0], "ball 0.02": [1.0, 1.5], "ball 0.2": [1.5, 9.0]}
    poses = {
        name: [pose(f"{k}", 0, *([rmsd] * 2)) for k in range(8) for rmsd in rmsds] for name, rmsds in names.items()
    }
    study = Study("the command", config, summarise(TRIALS, poses, {}), 8, (0, 1))
    page = ball_block(study)
    assert page.startswith("Made by `the command`. 8 complexes x 1 poses x 2 seeds")
    assert [line.split(" | ")[0] for line in page.splitlines() if line.startswith("|")][2:] == [
        "| 0",
        "| 0.02",
        "| 0.2",
    ]
    assert "| 0.02 | 100 [100, 100] | +50.0 [" in page
    assert "Success: higher with radius 0.02; 1 of 2 intervals contain 0." in page


def test_verdicts_name_the_radii_on_either_side() -> None:
    below, above, across = Interval(-2, -3, -1), Interval(2, 1, 3), Interval(0, -1, 1)
    assert verdict("x", {0: None, 1: across, 2: across}) == "x: every interval of the 2 differences contains 0."
    assert (
        verdict("x", {0: None, 0.1: below, 0.2: below, 0.3: above, 0.4: across})
        == "x: lower with radius 0.1, 0.2; higher with radius 0.3; 1 of 4 intervals contain 0."
    )


@dataclass(frozen=True)
class Case:
    arguments: list[str]
    out: Path
    page: Path

    @property
    def results(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "results.json").read_text())
        return found


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    short_fits(monkeypatch)
    monkeypatch.setattr(settings, "_STEP_EVALUATIONS", 16)
    weights, data = write_weights(tmp_path / "model.safetensors"), write_complexes(tmp_path / "my data", "1of6")
    (tmp_path / "page.md").write_text(PAGE)
    arguments = ["--complexes", str(data), "--weights", str(weights), "--samples", "1", "--nfe", "2", "--twice", "3"]
    arguments += ["--fit-poses", "5"]
    arguments += ["--out", str(tmp_path / "out"), "--page", str(tmp_path / "page.md")]
    return Case(arguments, tmp_path / "out", tmp_path / "page.md")


def test_every_seed_is_a_fit_of_its_own_and_lands_in_results_and_page(case: Case) -> None:
    ball_page = case.page.with_name("ball.md")
    ball_page.write_text(BALL_PAGE)
    chosen = ["--trials", "one clock", "ball 0.2", "--seeds", "0", "1", "--ball-page", str(ball_page)]
    assert main([*case.arguments, *chosen]) == 0
    rows = {row["name"]: row for row in case.results["rows"]}
    assert [name for name in rows if "NFE" not in name] == ["teacher", USUAL, "one clock", "ball 0.2"]
    assert {"edm, 2 NFE", "edm, 3 NFE"} <= rows.keys()
    assert (rows["teacher"]["rmsd_to_teacher"][0], rows["teacher"]["poses"]) == (0, 2)
    assert (len(rows["one clock"]["seconds"]), rows["one clock"]["poses"]) == (2, 2)
    assert case.results["seeds"] == [0, 1]
    page = case.page.read_text()
    line = page.partition("Made by `")[2].partition("`")[0]
    again, meant = (tyro.cli(Options, args=given) for given in (shlex.split(line)[3:], [*case.arguments, *chosen]))
    assert replace(again, out=meant.out, page=meant.page, ball_page=meant.ball_page) == meant
    assert "| one clock |" in page
    balls = ball_page.read_text()
    assert balls.count("| 0.2 |") == balls.count("| 0 |") == 1
    assert "one clock |" not in balls


def test_mistakes_get_one_line(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, expected in (
        (["--trials", "faster"], "there is no 'faster'; choose from usual, "),
        (["--trials", "general"], "'general' needs a general grid"),
        (["--seeds"], "--seeds: got none"),
        (["--ball-page", str(case.page)], "--ball-page: "),
        (["--page", str(case.out / "missing.md")], "cannot take the table"),
    ):
        capsys.readouterr()
        assert main([*case.arguments, *arguments, "--nfe", "2"]) == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert expected in errors[0]
