"""The study of ranking: what is counted, over what the intervals go, and what is chosen, on poses made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from docking_models import complexes

from benchmarks.common.store import Store
from benchmarks.docking.vina import VinaPoses
from benchmarks.experiments import ranking_validity, ranking_vina
from benchmarks.experiments.ranking import drawn
from benchmarks.experiments.ranking_poses import Scored
from benchmarks.experiments.ranking_rows import BEST, KNOWN, MEAN, UNSEEN, best_ranker, grouped, rank_rows
from benchmarks.experiments.ranking_validity import Checker
from benchmarks.experiments.ranking_vina import dock_in_turn, vina_rows
from benchmarks.experiments.study import Kept
from domains.docking.structures.complexes import Complex


def scored(name: str, rmsd: list[float], **scores: list[float]) -> Scored:
    """RMSDs and scores of as many poses; rankers that are not given find all poses equal."""
    tables = {own: np.array(scores.get(own, [0.0] * len(rmsd))) for own in ("consensus", "residual", "vina")}
    empty = np.zeros((len(rmsd), 1, 3), dtype=np.float32)
    return Scored(
        replace(complexes()[0], name=name),
        {"refined": empty},
        {"refined": np.array(rmsd)},
        {"refined": tables},
        {"dock": 1.0},
    )


def test_each_ranker_is_credited_with_its_first_pose() -> None:
    """Vina is right twice of three, consensus once; a random pose in 5 of 12 cases, the best always."""
    table = [
        scored("a/1", [1.0, 3.0, 3.0, 1.5], vina=[4.0, 1, 2, 3], consensus=[0.0, 1, 0, 0]),
        scored("a/2", [3.0, 1.0, 3.0, 1.0], vina=[0.0, 5, 1, 1], consensus=[1.0, 0, 0, 0]),
        scored("b/1", [3.0, 3.0, 3.0, 0.5], vina=[2.0, 0, 0, 1], consensus=[0.0, 0, 0, 1]),
    ]
    rows = {row.ranker: row for row in rank_rows(KNOWN, 10, "refined", table, {})}
    found = {name: row.success.estimate for name, row in rows.items()}
    assert found == pytest.approx({MEAN: 5 / 12, "consensus": 1 / 3, "vina": 2 / 3, "residual": 1 / 3, BEST: 1.0})
    gap = rows["vina"].minus_mean
    assert gap is not None and gap.estimate == pytest.approx(2 / 3 - 5 / 12)
    assert best_ranker(list(rows.values()), 10) == "vina"


def test_a_combination_is_chosen_only_if_it_is_better() -> None:
    table = [scored("a/1", [3.0, 1.0], vina=[0.0, 1.0], consensus=[1.0, 0.0])]
    rows = rank_rows(KNOWN, 10, "refined", table, {"consensus + vina": {"consensus": 0.1, "vina": 1.0}})
    assert best_ranker(rows, 10) == "vina"


def test_unseen_targets_are_what_is_drawn() -> None:
    table = [scored("a/1", [1.0]), scored("a/2", [1.0]), scored("b/1", [3.0])]
    values = [np.array([1.0]), np.array([1.0]), np.array([0.0])]
    assert [len(own) for own in grouped(KNOWN, table, values)] == [1, 1, 1]
    assert [own.tolist() for own in grouped(UNSEEN, table, values)] == [[1.0, 1.0], [0.0]]


def test_every_series_has_its_turn() -> None:
    names = ["a/1", "a/2", "a/3", "b/1", "c/1"]
    found = drawn([replace(complexes()[0], name=name) for name in names], 3, seed=0)
    assert {own.name.split("/")[0] for own in found} == {"a", "b", "c"}
    assert len(drawn([replace(complexes()[0], name=name) for name in names], 9, seed=0)) == 5


def test_vina_docks_one_of_each_split_in_turn_and_is_set_beside_the_same_complexes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a/1 Vina is right and ours wrong, of a/2 the other way round; b/1 was not docked by Vina."""
    names = {KNOWN: ["a/1", "a/2"], UNSEEN: ["c/1"]}
    splits = {split: [replace(complexes()[0], name=name) for name in own] for split, own in names.items()}
    order: list[str] = []

    def fake(complex_: Complex, exhaustiveness: int, poses: int, seed: int) -> VinaPoses:
        order.append(complex_.name)
        assert complex_.reference is not None
        shift = np.array([0.0, 0.0, 5.0 if complex_.name == "a/2" else 0.0], dtype=np.float32)
        return VinaPoses(complex_.reference[None] + shift, np.zeros(1), 12.0)

    monkeypatch.setattr(ranking_vina, "dock_by_vina", fake)
    kept = Kept(Store(tmp_path))
    docked = dock_in_turn(splits, 8, 0, kept, lambda: None)
    assert order == ["a/1", "c/1", "a/2"]
    assert dock_in_turn(splits, 8, 0, kept, lambda: None).keys() == docked.keys() and len(order) == 3
    table = [scored("a/1", [3.0, 1.0], vina=[1.0, 0]), scored("a/2", [1.0, 3.0], vina=[1.0, 0]), scored("b/1", [1.0])]
    own = {name: docked[name] for name in names[KNOWN]}
    checker = Checker(Store(tmp_path), lambda count: None)
    monkeypatch.setattr(ranking_validity, "KINDS", ("refined",))
    monkeypatch.setattr(Checker, "poses", lambda _, jobs: [[True] * len(poses) for _, poses in jobs])
    vina, random, ours = vina_rows(KNOWN, 8, own, {10: table}, {"refined": {}}, "vina", checker)
    assert [row.success.estimate for row in (vina, random, ours)] == [0.5, 0.5, 0.5]
    assert (vina.complexes, vina.cpu_seconds, ours.cpu_seconds) == (2, 12.0, 1.0)
    assert ours.valid == 1.0 and ours.valid_near is not None and ours.valid_near.estimate == 0.5
