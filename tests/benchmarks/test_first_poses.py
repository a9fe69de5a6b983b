"""The table of first poses, the setting for claims, intervals over clusters, and Vina's box."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmark_runs import QUICK, benchmark, write_complexes, write_weights
from docking_models import complexes

from benchmarks.docking.first import FirstRow, first_table
from benchmarks.docking.methods import Method
from benchmarks.docking.options import Options, check, standard
from benchmarks.docking.pose_rows import PoseRow
from benchmarks.docking.summary import Summary
from benchmarks.docking.vina import box_of
from domains.docking.samplers import hand_made_sampler
from domains.docking.structures.pocket import PocketChoice
from domains.docking.training.clusters import Clusters
from domains.errors import InputError


@pytest.mark.slow
def test_first_poses_are_those_that_dock_ships(tmp_path: Path) -> None:
    """One row for each method asked for; the figure agrees with the shipped ranking of the same poses."""
    folder = write_complexes(tmp_path / "complexes", "1uou")
    weights = write_weights(tmp_path / "weights.safetensors")
    words = ("--complexes", folder, "--weights", weights, *QUICK, "--standard", "--samples", "10")
    found = benchmark(tmp_path / "out", *words, "--first", "edm", "uniform_t", "--posebusters", "1")
    assert found.status == 0, found.stderr
    config = found.results["config"]
    assert (config["pocket"], config["conformer"], config["samples"]) == ("point-of-ligand", "rdkit", 10)
    assert config["first"] == ["shipped", "edm", "uniform_t"]
    rows = {row["method"]: row for row in found.results["first"]}
    assert set(rows) == {"edm", "uniform_t"}  # no grid is shipped with these weights
    row = rows["edm"]
    assert (row["complexes"], row["checked"], row["nfe"]) == (1, 1, 4)
    assert row["cpu_seconds"] > 0
    assert row["valid_2A"] <= min(row["valid"], row["first_2A"])
    assert "First poses" in found.stdout
    again = benchmark(tmp_path / "out", *words, "--first", "edm", "uniform_t", "--posebusters", "1")
    kept = {name: value for name, value in row.items() if name != "cpu_seconds"}
    assert kept.items() <= {r["method"]: r for r in again.results["first"]}["edm"].items()


def test_the_setting_for_claims_is_one_word_and_no_other_one(tmp_path: Path) -> None:
    own = standard(Options(standard=True, first=("edm", "diffdock_sde")))
    assert (own.pocket, own.conformer, own.samples) == ("point-of-ligand", "rdkit", 10)
    assert own.first == ("shipped", "edm", "diffdock_sde")
    with pytest.raises(InputError, match="--pocket: got protein, and --standard means point-of-ligand"):
        check(Options(standard=True, pocket="protein", out=tmp_path))
    with pytest.raises(InputError, match="--first: there is no method fastest"):
        check(Options(first=("fastest",), out=tmp_path))


def test_intervals_may_be_over_clusters() -> None:
    """Two proteins, one all right and one all wrong: whatever the number of poses, either could be drawn twice."""
    method = Method("edm", "dpmpp_2m", hand_made_sampler("edm", "dpmpp_2m", 4), 1.0)
    rows = [
        PoseRow(f"{protein}/{i}", "edm", "dpmpp_2m", 4, s, 0, rmsd, 0.0, 0.0, None, 0)
        for protein, rmsd in (("a", 1.0), ("b", 5.0))
        for i in range(10)
        for s in range(4)
    ]
    names = {row.complex for row in rows}
    alone, together = Summary(names, 0), Summary(names, 0, Clusters().of)
    for summary in (alone, together):
        summary.add(method, rows)
    (first,), (second,) = alone.rows, together.rows
    assert first.success_2A == second.success_2A == first.best_2A == second.best_2A == 0.5
    assert second.success_2A_ci == second.best_2A_ci == (0.0, 1.0)
    assert first.success_2A_ci is not None
    low, _ = first.success_2A_ci
    assert low is not None and low > 0.2
    assert second.n_complexes == 20


def test_vinas_box_is_that_of_the_pocket() -> None:
    found = complexes()[0]
    assert found.reference is not None
    centre = found.reference.mean(0)
    low, high = box_of(found, PocketChoice.parse("point-of-ligand:9"))
    np.testing.assert_allclose(high - low, 18.0, atol=1e-3)
    np.testing.assert_allclose((low + high) / 2, centre, atol=1e-3)
    low, high = box_of(found, PocketChoice.parse("point:1,2,3,10"))
    np.testing.assert_allclose([low, high], [[-9, -8, -7], [11, 12, 13]], atol=1e-5)
    bound = found.reference + np.float32(5.0)
    moved = replace(found, reference=bound)
    for choice in (None, PocketChoice.parse("ligand")):
        low, high = box_of(moved, choice)
        np.testing.assert_allclose(low, bound.min(0) - 4.0, atol=1e-4)
        np.testing.assert_allclose(high, bound.max(0) + 4.0, atol=1e-4)


def test_the_table_says_of_how_many() -> None:
    rows = [
        FirstRow("edm", 10, 20, 8, 0.25, (0.1, 0.5), 0.75, 0.125, (0.0, 0.5), 3.21),
        FirstRow("vina", 0, 20, 0, 0.5, (0.3, 0.7), None, None, None, 45.0),
    ]
    lines = first_table(rows).markdown().splitlines()
    assert lines[2] == "| edm | 10 | 20 | 25% | 10-50 | 8 | 75% | 12% | 0-50 | 3.2 |"
    assert lines[3] == "| vina | - | 20 | 50% | 30-70 | 0 | - | - | - | 45.0 |"
