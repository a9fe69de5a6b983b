"""The study of the learned grids beside weights: which of them count, paired differences, its table, at toy size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmark_runs import write_grid, write_validation_sets, write_weights

from benchmarks.common.tables import markers
from benchmarks.experiments.docking_sets import KNOWN, UNSEEN, by_cluster
from benchmarks.experiments.shipped_grid_rows import LEARNED, Setting, row_of, table
from benchmarks.experiments.shipped_grids import BLOCK, main
from benchmarks.experiments.shipped_samplers import learned_samplers, verdict
from domains.bootstrap import Interval
from domains.docking.networks.weights import load_weights
from domains.docking.samplers import grid_sampler
from domains.docking.training.clusters import Clusters
from ld3.learn.final_test import Comparison, FinalTest

LOST = FinalTest(40, "edm", "not better", Comparison(0.3, 0.2, 0.1, -0.1, 0.2))
WON = FinalTest(40, "edm", "better", Comparison(0.1, 0.2, -0.1, -0.2, -0.05))
SETTING = Setting(UNSEEN, "point-of-ligand", "rdkit")
LONG = Interval(0.5, 0.25, 0.75)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "model.safetensors")


def test_a_grid_counts_where_docking_takes_it(weights: Path) -> None:
    fit = write_grid(weights, 2, test=WON)
    write_grid(weights, 4, test=LOST)
    write_grid(weights, 6, score_scale=5.0)
    model = load_weights(weights)
    found = learned_samplers(model, (2, 4, 6, 8))
    assert list(found) == [2]
    assert found[2].key == grid_sampler(fit.grid, fit.student()).key
    assert verdict(model, 2) == WON.describe()
    assert verdict(model, 4) == LOST.describe()
    assert verdict(model, 6) == "learned at score scale 5, and the weights' own is 2: not used"
    assert verdict(model, 8) == "no grid lies beside the weights"


def test_differences_are_of_the_same_poses_and_to_the_best_by_hand() -> None:
    """`edm` is right on the very poses that the learned grid is right on: no interval is left, whatever is drawn."""
    near = {
        LEARNED: [np.array([1.0, 1.0]), np.array([0.0, 0.0])],
        "edm": [np.array([1.0, 1.0]), np.array([0.0, 0.0])],
        "uniform_t": [np.array([1.0, 1.0]), np.array([1.0, 1.0])],
    }
    row = row_of(SETTING, 4, 3, near, LONG)
    assert (row.complexes, row.clusters, row.poses, row.best) == (3, 2, 4, "uniform_t")
    assert row.minus_usual == (0.0, 0.0, 0.0)
    assert row.minus_best == (-0.5, -1.0, 0.0)  # one of the two clusters may be drawn twice
    (line,) = table([row], 20).markdown().splitlines()[2:]
    cells = "50.0 [0, 100] | 50.0 [0, 100] | uniform_t 100.0 [100, 100] | 50.0 [25, 75]"
    gaps = "+0.0 [+0.0, +0.0] | -50.0 [-100.0, +0.0]"
    assert line == f"| unseen clusters | point-of-ligand, rdkit | 4 | {cells} | {gaps} |"


def test_without_a_learned_grid_the_table_says_none() -> None:
    row = row_of(SETTING, 8, 1, {"edm": [np.array([1.0, 0.0])]}, LONG)
    assert (row.best, row.minus_usual, row.minus_best) == ("edm", None, None)
    (line,) = table([row], 20).markdown().splitlines()[2:]
    assert line.split(" | ")[3] == "none"
    assert line.endswith("| - | - |")


def test_complexes_of_alike_proteins_are_one_group() -> None:
    values = {name: np.array([k, k]) for k, name in enumerate(("a/1", "b/1", "c/1", "a/2"))}
    found = by_cluster(values, Clusters([("a", "c")]))
    assert [own.tolist() for own in found] == [[0, 0, 2, 2, 3, 3], [1, 1]]


@pytest.fixture
def arguments(tmp_path: Path, weights: Path) -> list[str]:
    data = write_validation_sets(tmp_path)
    (tmp_path / "page.md").write_text("\n".join(["# Page", *markers(BLOCK), ""]))
    words = ["--complexes", str(data), "--weights", str(weights), "--out", str(tmp_path / "out")]
    numbers = ["--nfe", "2", "3", "--long-nfe", "4", "--samples", "2", "--by-hand", "edm", "uniform_t"]
    return [*words, *numbers, "--page", str(tmp_path / "page.md")]


def test_a_run_writes_results_and_page_and_goes_on(arguments: list[str], weights: Path, tmp_path: Path) -> None:
    write_grid(weights, 2, test=WON)
    assert main(arguments) == 0
    first = json.loads((tmp_path / "out/results.json").read_text())
    assert first["complete"]
    assert [(r["of"], r["pocket"], r["nfe"], LEARNED in r["success"]) for r in first["rows"]] == [
        (of, pocket, nfe, nfe == 2)
        for of, pocket in ((UNSEEN, "point-of-ligand"), (UNSEEN, "ligand"), (KNOWN, "ligand"))
        for nfe in (2, 3)
    ]
    assert first["grids"] == {"2": WON.describe(), "3": "no grid lies beside the weights"}
    page = (tmp_path / "page.md").read_text()
    assert page.count("| none |") == 3
    assert "3 evaluations: no grid lies beside the weights" in page
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/cache").iterdir()}
    # Six samplers in three settings: edm at 4, edm and uniform_t at 2 and 3, the learned one at 2.
    assert len(kept) == 18
    assert main(arguments) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out/cache").iterdir()} == kept
    assert json.loads((tmp_path / "out/results.json").read_text())["rows"] == first["rows"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (["--by-hand", "uniform_t"], "--by-hand: got uniform_t; give edm"),
        (["--by-hand", "edm", "mine"], "--by-hand: got edm mine"),
        (["--nfe", "2", "2"], "--nfe"),
        (["--unseen", "0"], "--unseen: got 0"),
        (["--long-nfe", "0"], "--long-nfe"),
        (["--page", "nowhere.md"], "--page: nowhere.md cannot take the table"),
    ],
)
def test_mistakes_get_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str], change: list[str], expected: str
) -> None:
    assert main([*arguments, *change]) == 2
    assert expected in capsys.readouterr().err
