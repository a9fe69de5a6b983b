"""Rows of the table and paired differences, against figures worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from benchmarks.common.report import sentence, table
from benchmarks.docking.methods import Method
from benchmarks.docking.pose_rows import NOT_FINITE, PoseRow
from benchmarks.docking.summary import MethodRow, Summary
from domains.docking.poses.validity import Validity

HAND_MADE = ("uniform_t", "edm")


def poses(
    method: str,
    rmsd: dict[str, list[float | None]],
    to_teacher: dict[str, list[float | None]] | None = None,
    failed: set[tuple[str, int]] = frozenset(),  # type: ignore[assignment]
) -> list[PoseRow]:
    """Rows with these figures; distances to the teacher are 0 unless given."""
    return [
        PoseRow(
            complex=name,
            method=method,
            solver="ddim",
            nfe=5,
            sample=i,
            seed=0,
            rmsd=value,
            rmsd_to_teacher=(to_teacher or {name: [0.0] * len(own)})[name][i],
            centroid_distance=value,
            failed=NOT_FINITE if (name, i) in failed else None,
        )
        for name, own in rmsd.items()
        for i, value in enumerate(own)
    ]


def method(name: str) -> Method:
    return Method(name, "ddim", 5, key=name)


def summary(references: set[str], **rows: list[PoseRow]) -> dict[str, MethodRow]:
    found = Summary(references, 3.0, seed=0)
    for name, own in rows.items():
        found.add(method(name), own, ms_per_pose=1.0)
    return {row.method: row for row in found.rows}


def test_rates_and_medians() -> None:
    row = summary({"a", "b"}, teacher=poses("teacher", {"a": [1.0, 1.9, 4.0, 6.0], "b": [0.5, 2.0, 3.0, 9.0]}))[
        "teacher"
    ]
    assert (row.n_complexes, row.n_references, row.n_poses, row.failed) == (2, 2, 8, 0)
    assert row.success_2A == 3 / 8  # 2.0 itself is not nearer than 2 Å
    assert row.success_5A == 6 / 8
    assert row.median_rmsd == row.centroid_distance == 2.5
    assert row.rmsd_to_teacher == 0
    assert row.success_2A_ci is not None
    low, high = row.success_2A_ci
    assert low is not None
    assert high is not None
    assert 0 <= low < 3 / 8 < high <= 1


def test_a_failed_pose_counts_in_every_figure() -> None:
    row = summary({"a"}, teacher=poses("teacher", {"a": [1.0, None, 3.0]}, failed={("a", 1)}))["teacher"]
    assert row.failed == 1
    assert row.success_2A == pytest.approx(1 / 3)
    assert row.median_rmsd == 3.0
    most = summary({"a"}, teacher=poses("teacher", {"a": [1.0, None, None]}, failed={("a", 1), ("a", 2)}))["teacher"]
    assert most.success_2A == pytest.approx(1 / 3)
    assert most.median_rmsd is None  # +inf, which JSON does not have


def test_starts_without_a_teacher_are_compared_with_nothing() -> None:
    rows = summary(
        {"a"},
        teacher=poses("teacher", {"a": [1.0, None, 3.0]}, {"a": [0.0, None, 0.0]}, failed={("a", 1)}),
        edm=poses("edm", {"a": [1.0, 2.0, 3.0]}, {"a": [0.4, None, 0.6]}),
        ddim=poses("ddim", {"a": [None, 2.0, 3.0]}, {"a": [None, None, 0.6]}, failed={("a", 0)}),
    )
    assert rows["teacher"].rmsd_to_teacher == 0
    assert rows["edm"].rmsd_to_teacher == pytest.approx(0.5)
    assert rows["ddim"].rmsd_to_teacher is None  # one of two is +inf


def test_complexes_without_a_bound_pose_have_no_success() -> None:
    rows = poses("teacher", {"a": [1.0, 3.0], "b": [None, None]})
    row = summary({"a"}, teacher=rows)["teacher"]
    assert (row.n_complexes, row.n_references, row.n_poses) == (2, 1, 4)
    assert row.success_2A == 0.5
    none = summary(set(), teacher=poses("teacher", {"b": [None, None]}))["teacher"]
    assert (none.success_2A, none.success_2A_ci, none.median_rmsd) == (None, None, None)
    assert none.rmsd_to_teacher == 0


def test_validity_is_a_share_of_the_poses_that_were_checked() -> None:
    found = Summary({"a"}, 3.0, seed=0)
    found.add(method("teacher"), poses("teacher", {"a": [1.0, 1.0, 1.0, 1.0, 1.0]}), 1.0)
    assert found.rows[0].valid is None
    verdicts = [Validity(True), Validity(False, ("bond_lengths",)), Validity(None, reason="took longer than 1 s")]
    found.judge(method("teacher"), {"a": verdicts})
    assert found.rows[0].valid == pytest.approx(1 / 3)  # no answer is no pass
    assert found.rows[0].n_checked == 3
    assert [row.valid for row in found.poses] == [True, False, None, None, None]
    assert [row.problems for row in found.poses][1:3] == [("bond_lengths",), ("took longer than 1 s",)]
    assert [row.checked for row in found.poses] == [True, True, True, False, False]


def test_the_learned_grid_is_compared_with_the_best_by_hand() -> None:
    found = Summary({"a", "b"}, 3.0, seed=0)
    near, far = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    for name, rmsd, to_teacher in (
        ("teacher", [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]),
        ("learned", [1.0, 1.0, 3.0], near),
        ("uniform_t", [1.0, 3.0, 3.0], far),
        ("edm", [3.0, 3.0, 3.0], [x - 0.1 for x in far]),
        ("diffdock_ode", [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]),  # not by hand
    ):
        own = {"a": list[float | None](rmsd), "b": list[float | None](rmsd)}
        distances = {"a": list[float | None](to_teacher), "b": list[float | None](to_teacher)}
        found.add(method(name), poses(name, own, distances), 1.0)
    success, distance = found.paired(HAND_MADE)
    assert (success.metric, success.best_hand, success.nfe) == ("success_2A", "uniform_t", 5)
    assert success.difference == pytest.approx(1 / 3)
    assert (distance.metric, distance.best_hand) == ("rmsd_to_teacher", "edm")
    assert distance.difference == pytest.approx(0.2 - 0.5)
    assert success.ci is not None
    # Every resample pairs the poses: one in three differs, so it is never worse and now and then better by all.
    low, high = success.ci
    assert low is not None
    assert high is not None
    assert 0 <= low < 1 / 3 < high < 1
    # Each start is 0.3 Å nearer, so the medians differ by about that in every resample.
    assert list(distance.ci or ()) == [pytest.approx(-0.3, abs=0.11)] * 2
    assert "learned minus best hand-made (uniform_t), success at 2 Å: +33.3 points [" in sentence(success)
    assert "(edm), median RMSD to the teacher: -0.30 Å [-0.3" in sentence(distance)


def test_the_table_has_a_line_a_method() -> None:
    rows = list(summary({"a"}, teacher=poses("teacher", {"a": [1.0, 3.0]})).values())
    twin = replace(rows[0], method="twin", same_as="teacher", success_2A=None, success_2A_ci=None, valid=0.25)
    shown = table([*rows, twin], "title")
    cells = [list(column.cells) for column in shown.columns]
    assert cells[0] == ["teacher", "twin (= teacher)"]
    assert cells[2] == ["50%", "-"]
    assert cells[8] == ["-", "25%"]
    assert math.isfinite(float(str(cells[6][0])))
