"""The study of docking losses: its rows, table, options, and mistakes."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tyro

from benchmarks.experiments.docking_trial_rows import Figures, summarise
from benchmarks.experiments.pose_losses import COMPARED_WITH, TEACHER_ROW, Options, block, main
from benchmarks.experiments.study import command_line, defaults
from domains.docking.settings import TEACHER

OPTIONS: Options = replace(defaults(Options, "pose_losses"), complexes=Path("known"))


def figures(near: list[bool], far: list[float]) -> Figures:
    return Figures(
        {"a": np.array(near[:2]), "b": np.array(near[2:])},
        {"a": np.array(far[:2]), "b": np.array(far[2:])},
        {"a": 1, "b": 2},
    )


def test_rows_are_over_all_seeds_and_paired_with_the_teachers() -> None:
    """Two complexes, two poses, two seeds."""
    good, bad = [True] * 4, [True, False, False, False]
    found = {
        TEACHER_ROW: [figures(good, [0.0] * 4)] * 2,
        COMPARED_WITH: [figures(good, [1.0] * 4), figures(bad, [1.0] * 4)],
        "bound poses": [figures(bad, [3.0] * 4), figures(bad, [3.0] * 4)],
    }
    teacher, usual, bound = summarise(found, COMPARED_WITH)
    assert (teacher.poses, usual.poses, bound.poses) == (8, 8, 8)
    assert (usual.success_2A.estimate, bound.success_2A.estimate) == (5 / 8, 2 / 8)
    assert usual.success_difference is None and bound.success_difference is not None
    assert bound.success_difference.estimate == pytest.approx(-3 / 8)
    assert bound.rmsd_difference is not None and bound.rmsd_difference.estimate == 2.0
    text = block(OPTIONS, [teacher, usual, bound], 2, 60.0)
    assert f"| {TEACHER_ROW} | {TEACHER.nfe} | 100 [" in text and "60 CPU seconds in this call" in text
    assert "ligands that it was not" in text and "| bound poses | 5 | 25 [" in text and "-37.5 [" in text


def test_a_command_makes_the_options_again() -> None:
    changed = replace(OPTIONS, nfe=6, seeds=(1, 2), limit=3)
    line = command_line("pose_losses", changed)
    assert tyro.cli(Options, args=shlex.split(line)[3:], default=defaults(Options, "pose_losses")) == changed


def test_mistakes_get_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["--seeds", "1", "1"], "--seeds"),
        (["--fit-complexes", "1"], "--fit-complexes"),
        (["--page", str(tmp_path / "none.md")], "--page"),
    ):
        assert main(["--complexes", str(tmp_path), "--out", str(tmp_path / "out"), *words]) == 2
        assert said in capsys.readouterr().err
