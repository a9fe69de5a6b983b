"""The study of ranking: what is counted, over what the intervals go, and what is chosen, on poses made by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmark_runs import write_complexes, write_weights
from docking_models import complexes

from benchmarks.common.store import Store
from benchmarks.docking.vina import VinaPoses
from benchmarks.experiments import ranking_validity, ranking_vina
from benchmarks.experiments.ranking import main
from benchmarks.experiments.ranking_options import Options, drawn
from benchmarks.experiments.ranking_poses import PLAIN, Scored, top
from benchmarks.experiments.ranking_rows import BEST, KNOWN, MEAN, UNSEEN, best_ranker, grouped, rank_rows
from benchmarks.experiments.ranking_tables import vina_block
from benchmarks.experiments.ranking_validity import Checker
from benchmarks.experiments.ranking_vina import MISSED, dock_in_turn, vina_rows
from benchmarks.experiments.ranking_weights import Fitted, cross_fitted
from benchmarks.experiments.study import Kept, defaults
from domains.docking.networks.shipped import SHIPPED
from domains.docking.ranking.consensus import Consensus
from domains.docking.ranking.stored_weights import stored_weights, weights_path
from domains.docking.structures.complexes import Complex
from domains.docking.structures.pocket import PocketChoice
from domains.docking.training.clusters import Clusters
from domains.errors import InputError


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
    rows = {row.ranker: row for row in rank_rows(KNOWN, 10, "refined", table, Fitted({}))}
    found = {name: row.success.estimate for name, row in rows.items()}
    assert found == pytest.approx({MEAN: 5 / 12, "consensus": 1 / 3, "vina": 2 / 3, "residual": 1 / 3, BEST: 1.0})
    gap = rows["vina"].minus_mean
    assert gap is not None and gap.estimate == pytest.approx(2 / 3 - 5 / 12)
    assert best_ranker(list(rows.values()), KNOWN) == "vina"


def test_a_combination_is_chosen_only_if_it_is_better() -> None:
    table = [scored("a/1", [3.0, 1.0], vina=[0.0, 1.0], consensus=[1.0, 0.0])]
    rows = rank_rows(KNOWN, 10, "refined", table, Fitted({"consensus + vina": {"consensus": 0.1, "vina": 1.0}}))
    assert best_ranker(rows, KNOWN) == "vina"


def test_unseen_targets_are_what_is_drawn() -> None:
    table = [scored("a/1", [1.0]), scored("a/2", [1.0]), scored("b/1", [3.0])]
    values = [np.array([1.0]), np.array([1.0]), np.array([0.0])]
    assert [len(own) for own in grouped(KNOWN, table, values)] == [1, 1, 1]
    alike = Clusters([("a", "b")])
    assert [own.tolist() for own in grouped(KNOWN, table, values, alike)] == [[1.0, 1.0, 0.0]]
    assert [own.tolist() for own in grouped(UNSEEN, table, values)] == [[1.0, 1.0], [0.0]]


def test_every_series_has_its_turn() -> None:
    names = ["a/1", "a/2", "a/3", "b/1", "c/1"]
    found = drawn([replace(complexes()[0], name=name) for name in names], 3, 0, Clusters())
    assert {own.name.split("/")[0] for own in found} == {"a", "b", "c"}
    assert len(drawn([replace(complexes()[0], name=name) for name in names], 9, 0, Clusters())) == 5
    alike = Clusters([("a", "c")])
    found = drawn([replace(complexes()[0], name=name) for name in names], 2, 0, alike)
    assert "b" in {own.name.split("/")[0] for own in found}


def test_vina_docks_one_of_each_split_in_turn_and_is_set_beside_the_same_complexes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a/1 Vina is right and ours wrong, of a/2 the other way round; b/1 was not docked by Vina."""
    names = {KNOWN: ["a/1", "a/2"], UNSEEN: ["c/1"]}
    splits = {split: [replace(complexes()[0], name=name) for name in own] for split, own in names.items()}
    order: list[str] = []

    def fake(complex_: Complex, exhaustiveness: int, poses: int, seed: int, choice: PocketChoice | None) -> VinaPoses:
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
    vina, random, ours = vina_rows(KNOWN, 8, own, {(10, 2): table}, {"refined": Fitted({})}, "vina", checker)
    assert [row.success.estimate for row in (vina, random, ours)] == [0.5, 0.5, 0.5]
    assert (vina.complexes, vina.cpu_seconds, ours.cpu_seconds) == (2, 12.0, 1.0)
    assert ours.valid == 1.0 and ours.valid_near is not None and ours.valid_near.estimate == 0.5


def test_what_vina_did_not_dock_in_time_is_named_and_counted_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three complexes Vina is right on one, wrong on one, and stopped on one: a half, or a third."""
    names = ["a/1", "a/2", "a/3"]
    tried: list[tuple[float, str]] = []

    def fake(minutes: float, complex_: Complex, *how: object) -> VinaPoses | None:
        tried.append((minutes, complex_.name))
        assert complex_.reference is not None
        shift = np.float32(5.0 if complex_.name == "a/2" else 0.0)
        return None if complex_.name == "a/3" else VinaPoses(complex_.reference[None] + shift, np.zeros(1), 12.0)

    monkeypatch.setattr(ranking_vina, "dock_within", fake)
    kept, splits = Kept(Store(tmp_path)), {KNOWN: [replace(complexes()[0], name=name) for name in names]}
    for _ in range(2):
        docked = dock_in_turn(splits, 8, 0, kept, lambda: None, None, 2.0)
    assert tried == [(2.0, name) for name in names], "the second time nothing is tried"
    assert docked["a/3"] is None
    dock_in_turn(splits, 8, 0, kept, lambda: None, None, 3.0)
    assert tried[3:] == [(3.0, "a/3")], "a longer time is another question, and what is docked stays"
    table = [scored(name, [1.0, 3.0], vina=[1.0, 0]) for name in names]
    checker = Checker(Store(tmp_path), lambda count: None)
    monkeypatch.setattr(ranking_validity, "KINDS", ("refined",))
    monkeypatch.setattr(Checker, "poses", lambda _, jobs: [[True] * len(poses) for _, poses in jobs])
    rows = vina_rows(KNOWN, 8, docked, {(10, 2): table}, {"refined": Fitted({})}, "vina", checker)
    found = [(row.ranker, row.complexes, row.success.estimate) for row in rows]
    assert found[:2] == [("Vina", 2, 0.5), (MISSED, 3, pytest.approx(1 / 3))]
    assert [row.complexes for row in rows[2:]] == [2, 2], "ours stand beside what Vina docked"
    options = defaults(Options, "ranking")
    block = vina_block(replace(options, weights=Path("demo"), vina_minutes=2.0), rows, "vina", ["a/3"])
    assert "Not docked by Vina in 2 CPU minutes: a/3." in block and MISSED in block


def test_a_limit_holds_for_what_vina_docked_before_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """a/1 was kept after 3000 s, a/2 after 59 s: within a minute is a/2 alone, within 50 minutes are both."""

    def fake(complex_: Complex, *how: object) -> VinaPoses:
        assert complex_.reference is not None
        return VinaPoses(complex_.reference[None], np.zeros(1), 3000.0 if complex_.name == "a/1" else 59.0)

    monkeypatch.setattr(ranking_vina, "dock_by_vina", fake)
    kept, splits = Kept(Store(tmp_path)), {KNOWN: [replace(complexes()[0], name=name) for name in ("a/1", "a/2")]}
    assert None not in dock_in_turn(splits, 8, 0, kept, lambda: None).values()
    for minutes, docked in ((1.0, {"a/2"}), (50.0, {"a/1", "a/2"})):
        found = dock_in_turn(splits, 8, 0, kept, lambda: None, None, minutes)
        assert {name for name, run in found.items() if run is not None} == docked


def test_fewer_poses_are_ranked_as_if_no_others_had_been_docked() -> None:
    """Consensus counts neighbours, so it is counted anew; other scores, RMSDs and positions are those of the poses."""
    complex_ = complexes()[0]
    assert complex_.reference is not None
    shift = np.array([0.0, 3.0, 3.1, 3.2, 0.1], dtype=np.float32)
    positions = complex_.reference + shift[:, None, None] * np.array([1.0, 0, 0], dtype=np.float32)
    numbers = {"residual": np.arange(5.0), "vina": -np.arange(5.0)}
    scores = {"consensus": Consensus().rank(complex_, positions).score, **numbers}
    whole = Scored(
        complex_, {"docked": positions}, {"docked": shift.astype(float)}, {"docked": scores}, {"dock": 5.0, "rank": 1.0}
    )
    few = whole.first(2)
    assert whole.scores["docked"]["consensus"].argmax() in (1, 2, 3) and few.rmsd["docked"].tolist() == [0.0, 3.0]
    np.testing.assert_array_equal(few.scores["docked"]["consensus"], Consensus().rank(complex_, positions[:2]).score)
    assert few.scores["docked"]["vina"].tolist() == [0.0, -1.0]
    assert few.cpu_seconds == pytest.approx({"dock": 2.0, "rank": 0.4})
    assert whole.first(5).scores["docked"]["consensus"].tolist() == scores["consensus"].tolist()


def test_no_complex_is_ranked_by_weights_that_have_seen_its_cluster() -> None:
    """In clusters a and b Vina is right, in all others consensus: without them a and b would be ranked by consensus."""
    near = [1.0, 3.0, 3.0]
    table = [scored(f"{name}/1", near, vina=[1.0, 0, 0], consensus=[0.0, 1, 0]) for name in "ab"]
    table += [scored(f"{name}/1", near, vina=[0.0, 1, 0], consensus=[1.0, 0, 0]) for name in "cdefghijklmnop"]
    alike = Clusters([("a", "b")])
    found = cross_fitted(table, "refined", alike)
    assert found.held_out.keys() == {own.complex.name for own in table}
    for name in ("a/1", "b/1"):
        own, of_all = found.of(name, "consensus + vina"), found.final["consensus + vina"]
        assert own["vina"] < of_all["vina"] < of_all["consensus"]
        assert top(next(s for s in table if s.complex.name == name), "refined", own) == 1
    assert found.of("c/1", "vina") == {"vina": 1.0}


@pytest.mark.slow
def test_the_study_stores_what_it_chose_beside_the_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two lists of one complex each, weights of their own, poses in nested numbers; then `ld3 dock`'s ranker has it."""
    folder = write_complexes(tmp_path / "complexes", "1of6", "1uou")
    weights = write_weights(tmp_path / "small.safetensors")
    for name in ("1of6", "1uou"):
        (tmp_path / f"{name}.txt").write_text(name)
    lists = ["--validation-ligands", tmp_path / "1of6.txt", "--validation-targets", tmp_path / "1uou.txt"]
    few = ["--nfe", 2, "--samples", 2, 4, "--refinement-steps", 2, "--trials", 0, "--checked", 0, "--vina", 0]
    how = ["--fitted-on", "unseen", "--chosen-on", "unseen", "--pocket", "point-of-ligand", "--conformer", "rdkit"]
    words = ["--data", folder, "--weights", weights, *lists, *few, *how, "--store", "--out", tmp_path / "out"]
    assert not stored_weights(weights).own
    assert main([str(word) for word in words]) == 0
    table = capsys.readouterr().out
    assert "Weights small, pocket point-of-ligand, conformers rdkit, 2 steps of refinement, restraint 0." in table
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert {(row["split"], row["samples"], row["complexes"]) for row in rows} == {
        (split, n, 1) for split in (KNOWN, UNSEEN) for n in (2, 4)
    }
    assert all(row["cpu_seconds"] > 0 for row in rows if row["poses"] == "refined")
    stored = stored_weights(weights)
    assert stored.own and stored.path == tmp_path / "small.ranking.json" and stored.weights.keys() <= set(PLAIN)
    assert (
        stored.setting == "2 refined poses, ranked by consensus, 2 NFE on edm, pocket point-of-ligand, conformers rdkit"
    )
    for kind in ("known", "unseen"):
        assert sum(record.ligands for record in stored.records[kind]) == 1


def test_weights_of_rankers_are_those_beside_the_network_or_the_demo_ones(tmp_path: Path) -> None:
    network = tmp_path / "mine.safetensors"
    found = stored_weights(network)
    assert (found.own, found.path.name) == (False, "demo.ranking.json")
    assert stored_weights(None) == found
    assert stored_weights(SHIPPED["demo"]) == found._replace(own=True)
    weights_path(network).write_text(json.dumps({"weights": {"vina": 1}}))
    assert stored_weights(network)[:3] == ({"vina": 1.0}, tmp_path / "mine.ranking.json", True)
    weights_path(network).write_text('{"weights": 3}')
    with pytest.raises(InputError, match=r"mine\.ranking\.json: it holds no weights of rankers .*--store"):
        stored_weights(network)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--samples", "1"], "--samples: got 1"),
        (["--pocket", "there"], "--pocket: "),
        (["--known", "0", "--fitted-on", "known"], "--fitted-on: there are no complexes called 'known'"),
        (["--unseen", "0", "--chosen-on", "unseen", "--fitted-on", "known"], "--chosen-on: there are no complexes"),
    ],
)
def test_what_cannot_be_is_refused(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_complexes(tmp_path / "complexes", "1uou")
    names = tmp_path / "names.txt"
    names.write_text("1uou\n")
    lists = ["--validation-ligands", str(names), "--validation-targets", str(names)]
    assert main(["--data", str(folder), "--out", str(tmp_path / "out"), *lists, *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
