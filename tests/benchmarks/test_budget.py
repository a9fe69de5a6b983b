"""The study of top-1 by total budget, at toy size: what is docked, that it ranks as `ld3 dock` does, and its table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmark_runs import write_grid, write_validation_sets, write_weights
from docking_models import complexes

from benchmarks.common.store import Store
from benchmarks.experiments.budget import main
from benchmarks.experiments.budget_rows import Found, Way, dock_and_refine, first_of, row_of, ways_of
from benchmarks.experiments.docking_sets import KNOWN, UNSEEN
from benchmarks.experiments.study import Kept
from domains.docking.dock_files import plan_of
from domains.docking.dock_options import DockOptions
from domains.docking.networks.weights import load_weights
from domains.docking.poses.flow import DockingFlow
from domains.docking.poses.low_temperature_sde import PUBLISHED
from domains.docking.poses.pose import Poses
from domains.docking.ranked_docking import dock_ranked
from domains.docking.ranked_poses import RankedPoses
from domains.docking.ranking.ranker import PoseScores
from domains.docking.samplers import OnStep, hand_made_sampler
from domains.docking.structures.complexes import Complex
from domains.docking.training.clusters import Clusters
from ld3.learn.final_test import FinalTest
from ld3.solvers import Noise


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "model.safetensors")


@pytest.fixture
def arguments(tmp_path: Path, weights: Path) -> list[str]:
    data = write_validation_sets(tmp_path)
    words = ["--complexes", str(data), "--weights", str(weights), "--out", str(tmp_path / "out")]
    return [*words, "--budgets", "20", "40", "--nfe", "2", "4", "--long-nfe", "25", "--score-scales", "1"]


@pytest.mark.slow
def test_a_budget_pays_for_many_short_or_few_long_runs(
    arguments: list[str], weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_grid(weights, 2)
    write_grid(weights, 4, test=FinalTest(3, "edm", "too few pairs"))
    assert main(arguments) == 0
    first = json.loads((tmp_path / "out/results.json").read_text())
    assert first["complete"]
    samples = {(r["of"], r["name"], r["score_scale"], r["nfe"], r["budget"]): r["samples"] for r in first["rows"]}
    for of in (KNOWN, UNSEEN):
        assert samples[of, "edm", 2.0, 2, 40] == 20
        assert samples[of, "edm", 1.0, 4, 20] == 5
        assert samples[of, "edm", 2.0, 25, 40] == 1
        assert (of, "edm", 2.0, 25, 20) not in samples  # it does not pay for one
    assert {key[3] for key in samples if key[1] == "learned"} == {2}
    assert first["ranking"]["ranker_weights"].keys() == {"consensus", "residual", "vina"}  # no others for these weights
    said = capsys.readouterr().out
    assert "| edm | 2 | 25 | - | " in said
    assert "No row of a learned grid at 4 NFE: final test: 3 pairs held back are too few" in said
    assert "No row of DiffDock's SDE: no temperatures were chosen for these weights." in said
    for row in first["rows"]:
        assert row["first"][0] <= row["best"][0]
        if row["samples"] == 1:
            assert row["mean"] == row["by_consensus"]
    assert main(arguments) == 0  # goes on where all is done
    again = json.loads((tmp_path / "out/results.json").read_text())
    assert again["rows"] == first["rows"]


def test_the_first_pose_is_the_one_that_ld3_dock_gives(weights: Path, tmp_path: Path) -> None:
    plan, _ = plan_of(DockOptions(weights=weights, nfe=4, samples=6, seed=3, check=False))
    usual = complexes()[1:3]
    docked = {own.complex.name: own for own in dock_ranked(plan, usual) if isinstance(own, RankedPoses)}
    way = Way("edm", plan.model.score_scale, plan.sampler)
    found = dock_and_refine(plan, usual, way, 6, Kept(Store(tmp_path)), lambda done, total: None, lambda: None)
    assert len(found) == len(docked) == 2
    for own in found:
        ranked = docked[own.complex.name]
        assert first_of(own.complex, own.refined, plan.ranker) == ranked.samples[0]
        # What is docked beside a pose changes it by rounding, which the minimiser carries on.
        np.testing.assert_allclose(own.refined[ranked.samples], ranked.positions, atol=1e-2)


def test_refined_poses_are_kept_and_those_that_failed_stay_so(weights: Path, tmp_path: Path) -> None:
    plan, _ = plan_of(DockOptions(weights=weights, check=False))
    usual = hand_made_sampler("edm", "dpmpp_2m", 2)

    def broken(flow: DockingFlow, start: Poses, noise: Noise, on_step: OnStep) -> Poses:
        poses = usual.solve(flow, start, noise, on_step)
        poses.positions[1] = float("nan")
        return poses

    way = Way("broken", 2.0, replace(usual, solve=broken, key="broken"))
    refined: list[int] = []
    runs = []
    for _ in range(2):
        kept = Kept(Store(tmp_path / "kept"))
        runs.append(dock_and_refine(plan, complexes()[1:2], way, 3, kept, lambda *_: None, lambda: refined.append(1)))
    assert len(refined) == 2
    assert len(list((tmp_path / "kept").glob("refined-*.json"))) == 1
    (first,), (again,) = runs
    assert np.isnan(first.refined).any((1, 2)).tolist() == [False, True, False]
    np.testing.assert_array_equal(first.refined, again.refined)


class FromTheRight:
    """Ranks poses by where they are along x."""

    name = "from the right"

    def rank(self, complex_: Complex, positions: np.ndarray) -> PoseScores:
        return PoseScores(positions[:, 0, 0].astype(np.float64), {})


def test_figures_of_poses_that_are_known() -> None:
    """Refined: the bound pose, one 9 Å to the right, one that failed; docked: two near and two far ones."""
    c = complexes()[0]
    assert c.reference is not None
    shift = np.array([1.0, 0.0, 0.0], dtype=np.float32)
    lost = np.full_like(c.reference, np.nan)
    refined = np.stack([c.reference, c.reference + 9 * shift, lost])
    docked = np.stack([c.reference + 0.5 * shift, c.reference + shift, c.reference + 9 * shift])
    found = Found(c, docked, refined, np.array([0.5, 1.0, 9.0]), np.array([0.0, 9.0, np.nan]))
    way = Way("edm", 2.0, hand_made_sampler("edm", "dpmpp_2m", 4))
    rows = {budget: row_of(KNOWN, way, budget, [found], FromTheRight(), Clusters()) for budget in (4, 8, 12)}
    assert [row.samples for row in rows.values()] == [1, 2, 3]
    assert [row.first.estimate for row in rows.values()] == [1.0, 0.0, 0.0]
    assert [row.best.estimate for row in rows.values()] == [1.0, 1.0, 1.0]
    assert [row.by_consensus.estimate for row in rows.values()] == [1.0, 1.0, 1.0]
    assert [row.mean.estimate for row in rows.values()] == pytest.approx([1.0, 1.0, 2 / 3])
    assert first_of(c, lost[None], FromTheRight()) is None
    nothing = Found(c, lost[None], lost[None], np.array([np.nan]), np.array([np.nan]))
    row = row_of(KNOWN, way, 4, [nothing], FromTheRight(), Clusters())
    assert {row.first, row.by_consensus, row.mean, row.best} == {(0.0, 0.0, 0.0)}


def test_the_sde_is_a_way_where_temperatures_were_chosen(weights: Path) -> None:
    model = load_weights(weights)

    def names(chosen: bool) -> list[tuple[str, float, int]]:
        own = replace(model, low_temperature=PUBLISHED if chosen else None)
        return [(w.name, w.score_scale, w.sampler.nfe) for w in ways_of(own, {}, (2, 4), 4, (2.0, 5.0))]

    assert names(False) == [("edm", 2.0, 2), ("edm", 2.0, 4), ("edm", 5.0, 4)]
    assert names(True) == [*names(False), ("diffdock_sde", 1.0, 19)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (["--budgets", "3"], "--budgets: got 3"),
        (["--budgets", "20"], "--budgets: got 20 at most, and one pose of a sampler takes 25"),
        (["--score-scales", "0"], "--score-scales: got 0"),
        (["--pocket", "there"], "--pocket: pocket is 'there'"),
        (["--nfe", "0"], "--nfe"),
    ],
)
def test_mistakes_get_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str], change: list[str], expected: str
) -> None:
    assert main([*arguments, *change]) == 2
    assert expected in capsys.readouterr().err
