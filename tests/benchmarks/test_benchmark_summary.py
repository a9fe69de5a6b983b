"""Rows of the table and paired differences, against figures worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

import numpy as np
import pytest

from benchmarks.docking.inputs import Inputs
from benchmarks.docking.methods import Method
from benchmarks.docking.pose_rows import NOT_FINITE, PoseRow, pose_rows
from benchmarks.docking.summary import MethodRow, Summary
from benchmarks.docking.table import sentences, table
from domains.docking.poses.diffusion import NoiseRange
from domains.docking.poses.validity import Validity
from domains.docking.samplers import grid_sampler
from domains.docking.structures.complexes import read
from domains.docking.structures.symmetry import automorphisms
from ld3.grids import HAND_MADE
from ld3.solvers import get_solver

Numbers = Mapping[str, Sequence[float | None]]


def poses(
    method: str,
    rmsd: Numbers,
    to_teacher: Numbers | None = None,
    failed: AbstractSet[tuple[str, int]] = frozenset(),
    nfe: int = 5,
) -> list[PoseRow]:
    """Rows with these figures; distances to the teacher are 0 unless given; poses at equal RMSD are one cluster."""
    return [
        PoseRow(
            complex=name,
            method=method,
            solver="ddim",
            nfe=nfe,
            sample=i,
            seed=0,
            rmsd=value,
            rmsd_to_teacher=(to_teacher or {name: [0.0] * len(own)})[name][i],
            centroid_distance=value,
            failed=NOT_FINITE if (name, i) in failed else None,
            cluster=-1 if (name, i) in failed else sorted(set(own), key=str).index(value),
        )
        for name, own in rmsd.items()
        for i, value in enumerate(own)
    ]


def method(name: str, nfe: int = 5) -> Method:
    grid = HAND_MADE["edm"](NoiseRange().clock(3.0), nfe)
    return Method(name, "ddim", grid_sampler(grid, get_solver("ddim")), 3.0)


def summary(references: set[str], **rows: list[PoseRow]) -> dict[str, MethodRow]:
    found = Summary(references, seed=0)
    for name, own in rows.items():
        found.add(method(name), own)
    return {row.method: row for row in found.rows}


def test_rates_and_medians() -> None:
    row = summary({"a", "b"}, teacher=poses("teacher", {"a": [1.0, 1.9, 4.0, 6.0], "b": [2.5, 2.0, 3.0, 9.0]}))[
        "teacher"
    ]
    assert (row.n_complexes, row.n_references, row.n_poses, row.failed) == (2, 2, 8, 0)
    assert row.success_2A == 2 / 8  # 2.0 itself is not nearer than 2 Å
    assert row.best_2A == 1 / 2
    assert row.best_2A_ci == (0.0, 1.0)
    assert row.success_5A == 6 / 8
    assert row.median_rmsd == row.centroid_distance == 2.75
    assert row.rmsd_to_teacher == 0
    assert row.success_2A_ci is not None
    low, high = row.success_2A_ci
    assert low == 0, "a resample can hold the second complex alone"
    assert high is not None
    assert 2 / 8 < high < 1


def test_distinct_poses_are_counted_by_complex() -> None:
    rows = poses("teacher", {"a": [1.0, 1.0, 4.0, 4.0], "b": [0.5, None, 0.5, 0.5]}, failed={("b", 1)})
    assert summary({"a", "b"}, teacher=rows)["teacher"].distinct == (2 + 1) / 2


def test_a_failed_pose_counts_in_every_figure() -> None:
    row = summary({"a"}, teacher=poses("teacher", {"a": [1.0, None, 3.0]}, failed={("a", 1)}))["teacher"]
    assert row.failed == 1
    assert row.success_2A == pytest.approx(1 / 3)
    assert row.median_rmsd == 3.0
    most = summary({"a"}, teacher=poses("teacher", {"a": [1.0, None, None]}, failed={("a", 1), ("a", 2)}))["teacher"]
    assert most.success_2A == pytest.approx(1 / 3)
    assert most.median_rmsd is None  # +inf, which JSON does not have


def test_poses_become_rows() -> None:
    """A pose 3 Å from the bound one, the bound one itself with a symmetry, and one that is not finite."""
    found = read()[0][0]
    assert found.reference is not None
    symmetries = automorphisms(found.ligand)
    shift, beyond = np.array([[3, 0, 0], [3, 4, 0]], dtype=np.float32)
    positions = np.stack([found.reference + shift, found.reference[symmetries[-1]], found.reference])
    positions[2, 1] = np.nan
    goals = np.stack([found.reference + beyond] * 3)
    goals[1] = np.inf
    inputs = Inputs((found,), {found.name: symmetries}, (), "user")
    near, same, broken = pose_rows(inputs, {found.name: 7}, {found.name: goals}, method("edm"), {found.name: positions})
    assert near.rmsd == pytest.approx(3.0)
    assert near.rmsd_to_teacher == pytest.approx(4.0)
    assert near.centroid_distance == pytest.approx(3.0)
    assert same.rmsd == pytest.approx(0.0, abs=1e-6)
    assert same.rmsd_to_teacher is None
    assert (broken.rmsd, broken.rmsd_to_teacher, broken.centroid_distance) == (None, None, None)
    assert [row.failed for row in (near, same, broken)] == [None, None, NOT_FINITE]
    assert [row.cluster for row in (near, same, broken)] == [0, 1, -1]
    assert {row.seed for row in (near, same, broken)} == {7}


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
    assert (row.success_2A, row.best_2A) == (0.5, 1.0)
    none = summary(set(), teacher=poses("teacher", {"b": [None, None]}))["teacher"]
    assert (none.success_2A, none.success_2A_ci, none.best_2A, none.median_rmsd) == (None, None, None, None)
    assert none.rmsd_to_teacher == 0


def test_validity_is_a_share_of_the_poses_that_were_checked() -> None:
    found = Summary({"a"}, seed=0)
    found.add(method("teacher"), poses("teacher", {"a": [1.0, 1.0, 1.0, 1.0, 1.0]}))
    assert (found.rows[0].valid, found.rows[0].valid_ci) == (None, None)
    verdicts = [Validity(True), Validity(False, ("bond_lengths",)), Validity(None, reason="took longer than 1 s")]
    found.add_verdicts(method("teacher"), {"a": verdicts})
    assert found.rows[0].valid == pytest.approx(1 / 3)  # no answer is no pass
    assert found.rows[0].valid_ci == (0.0, 1.0)
    assert found.rows[0].n_checked == 3
    assert [row.valid for row in found.poses] == [True, False, None, None, None]
    assert [row.problems for row in found.poses][1:3] == [("bond_lengths",), ("took longer than 1 s",)]
    assert [row.checked for row in found.poses] == [True, True, True, False, False]


def compared() -> Summary:
    """Two complexes, three poses each, of methods that differ by known numbers of successes."""
    found = Summary({"a", "b"}, seed=0)
    near, far = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    for name, rmsd, to_teacher in (
        ("teacher", [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]),
        ("plain_sde", [3.0, 3.0, 3.0], far),
        ("plain_sde_c", [1.0, 3.0, 3.0], far),
        ("shipped", [1.0, 1.0, 3.0], near),
        ("uniform_t", [1.0, 3.0, 3.0], far),
        ("edm", [3.0, 3.0, 3.0], [x - 0.1 for x in far]),
    ):
        own, distances = ({"a": values, "b": values} for values in (rmsd, to_teacher))
        found.add(method(name), poses(name, own, distances))
    return found


def test_differences_are_paired() -> None:
    success, distance, scale, grid = compared().paired(("uniform_t", "edm"))
    assert (success.metric, success.first, success.second, success.nfe) == ("success_2A", "shipped", "uniform_t", 5)
    assert success.difference == pytest.approx(1 / 3)
    assert list(success.values) == pytest.approx([2 / 3, 1 / 3])
    assert (distance.metric, distance.second) == ("rmsd_to_teacher", "edm")
    assert distance.difference == pytest.approx(0.2 - 0.5)
    # Every resample pairs the poses: one in three differs, so it is never worse and now and then better by all.
    assert success.ci is not None
    low, high = success.ci
    assert low is not None
    assert high is not None
    assert 0 <= low < 1 / 3 < high < 1
    # Each start is 0.3 Å nearer, so the medians differ by about that in every resample.
    assert list(distance.ci or ()) == [pytest.approx(-0.3, abs=0.11)] * 2
    assert (scale.first, scale.second) == ("plain_sde_c", "plain_sde")
    assert (grid.first, grid.second) == ("shipped", "plain_sde_c")
    assert [scale.difference, grid.difference] == pytest.approx([1 / 3, 1 / 3])


def test_the_gain_over_diffdock_is_told_apart() -> None:
    best, distance, gain = sentences(compared().paired(("uniform_t", "edm")))
    assert best.startswith("5 NFE, shipped minus best hand-made (uniform_t), success at 2 Å: +33.3 [")
    assert distance.startswith("5 NFE, shipped minus best hand-made (edm), median RMSD to the teacher: -0.30 [-0.")
    assert gain.startswith("5 NFE, shipped minus plain_sde, success at 2 Å: +66.7 points, of which +33.3 [")
    assert "points are the score scale (plain_sde_c minus plain_sde) and +33.3 [" in gain


def test_the_table_has_a_line_a_method() -> None:
    found = Summary({"a"}, seed=0)
    found.add(method("teacher"), poses("teacher", {"a": [1.0, 3.0]}))
    found.add(method("edm", 4), poses("edm", {"a": [None, None]}, failed={("a", 0), ("a", 1)}, nfe=4))
    found.add_time(method("edm", 4), 12.4)
    shown = table(found.rows)
    cells = [dict(zip(shown.headings[:4], row, strict=False)) for row in shown.rows]
    assert cells[0] == {"method": "teacher", "NFE": "5", "c": "3", "< 2 Å": "50%"}
    assert shown.rows[1][-2:] == ("2", "12")
    assert shown.headings[5] == "best of 2"
    assert shown.rows[0][5:8] == ("100%", "100-100", "2.0")
    assert shown.rows[1][9] == "-"


def test_markdown_and_terminal_show_the_same(tmp_path: Path) -> None:
    shown = table(compared().rows)
    lines = shown.markdown().splitlines()
    assert len(lines) == 2 + 6
    columns = [list(column.cells) for column in shown.terminal("title").columns]
    for line, cells in zip(lines[2:], zip(*columns, strict=True), strict=True):
        assert line == f"| {' | '.join(map(str, cells))} |"
