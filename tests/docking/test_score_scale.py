"""The comparison of score scale values: figures, intervals, what is stored, mistakes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from docking_models import SMALL, complexes, network
from rich.console import Console
from safetensors import safe_open

from domains.docking.engine import dock
from domains.docking.networks.weights import load_weights, save_weights
from domains.docking.poses.diffusion import NoiseRange
from domains.docking.poses.flow import DockingFlow
from domains.docking.poses.pose import Poses, bound_poses
from domains.docking.samplers import OnStep, Sampler
from domains.docking.score_scale import ScoreScaleConfig, cli
from domains.docking.training.clusters import Clusters
from domains.docking.validation import summarise, validation_complexes
from ld3.solvers import Noise


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    state = {name: value.float() for name, value in network().state_dict().items()}
    save_weights(path, state, SMALL, NoiseRange(), 1.0)
    return path


def test_figures_are_of_the_distance_to_the_bound_pose(weights: Path) -> None:
    """A sampler that knows the answer, moved by a known distance in every other pose; one pose broken by a NaN."""
    shift = torch.tensor([3.0, 0.0, 4.0])

    def cheat(flow: DockingFlow, start: Poses, noise: Noise, on_step: OnStep) -> Poses:
        bound = bound_poses(flow.batch, start.complex_row).positions
        bound[1::2] += shift
        if "1s3v" in flow.batch.names:
            bound[2 * flow.batch.names.index("1s3v")] = math.nan
        return Poses(start.complex_row, bound)

    docked = dock(load_weights(weights), complexes(), Sampler(cheat, "cheat", 1), samples=2)
    assert docked.failed == [("1s3v", 0)]
    line = summarise("cheat", docked, 0)
    assert (line.success_2A, line.best_2A, line.failed) == (3 / 8, 3 / 4, 1)
    assert line.distinct == 7 / 4
    assert line.median_rmsd == pytest.approx(5.0, abs=0.3)


def test_all_poses_failed(weights: Path) -> None:
    def broken(flow: DockingFlow, start: Poses, noise: Noise, on_step: OnStep) -> Poses:
        return start._replace(positions=start.positions * math.nan)

    line = summarise("broken", dock(load_weights(weights), complexes()[:1], Sampler(broken, "b", 1), samples=3), 0)
    assert (line.success_2A, line.best_2A, line.distinct, line.failed) == (0.0, 0.0, 0.0, 3)
    assert line.median_rmsd == math.inf


def test_the_best_value_is_stored_with_seed_and_table(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written unless it is asked for; then the value that is named, and the table."""
    title = complexes()[1].protein.path.with_name("1of6_ligand.sdf").read_text().splitlines()[0].strip()
    (tmp_path / "ligands.txt").write_text(f"1of6/{title}\n")
    (tmp_path / "targets.txt").write_text("none\n")
    place = tmp_path / "data" / "1of6"
    place.mkdir(parents=True)
    (place / "protein.pdb").symlink_to(complexes()[1].protein.path)
    (place / "ligands.sdf").symlink_to(complexes()[1].protein.path.with_name("1of6_ligand.sdf"))
    arguments = ["--weights", str(weights), "--data", str(tmp_path / "data"), "--seed", "5", "--steps", "3"]
    arguments += ["--values", "1", "3", "--validation-ligands", str(tmp_path / "ligands.txt")]
    arguments += ["--validation-targets", str(tmp_path / "targets.txt")]
    cli(arguments)
    table = capsys.readouterr().out
    assert "plain_sde" in table
    assert "validation ligands: 1 complexes" in table
    assert load_weights(weights).score_scale == 1.0
    cli([*arguments, "--store", "3"])
    with safe_open(weights, framework="pt") as file:
        choice = json.loads(file.metadata()["score_scale_choice"])
    assert (choice["split"], choice["seed"], choice["complexes"]) == ("ligands", 5, 1)
    found = [(row["sampler"], row["score_scale"]) for row in choice["rows"]]
    assert found[:3] == [("dpmpp_2m edm", 1.0), ("dpmpp_2m edm", 3.0), ("plain_sde", 1.0)]
    assert (choice["chosen"], load_weights(weights).score_scale) == (3.0, 3.0)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--data", "nowhere"], "nowhere: it is not a folder"),
        ([], "--data: not given"),
        (["--split", "embedded", "--store", "7"], "score scale is chosen on --split ligands"),
        (["--split", "embedded", "--store", "2"], "--store: got 2; give one of --values"),
        (["--split", "embedded", "--poses", "0"], "--poses: got 0"),
        (["--split", "embedded", "--pocket", "here"], "--pocket: pocket is 'here'; use ligand"),
        (["--split", "embedded", "--values", "0"], "--values: got (0.0,)"),
        (["--split", "embedded", "--solver", "rk4"], "must be one of"),
        (["--split", "embedded", "--weights", "none.safetensors"], "there is no such weights file"),
    ],
)
def test_mistakes_get_one_line(
    weights: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli(["--weights", str(weights), *arguments])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert expected in line


def test_complexes_are_read_as_asked(weights: Path) -> None:
    """A pocket around a point and a fresh conformer, and the same bound pose to compare with."""
    config = ScoreScaleConfig(weights=weights, split="embedded", limit=1, seed=3)
    model, log = load_weights(weights), Console(quiet=True)
    (usual,) = validation_complexes(config, model, log)
    (found,) = validation_complexes(replace(config, pocket="point-of-ligand:8", conformer="rdkit"), model, log)
    assert (usual.pocket.spec.split(",")[0], found.pocket.spec.split(" ")[0]) == ("ligand", "point")
    assert usual.reference is not None and found.reference is not None
    assert (usual.reference == found.reference).all()
    assert (usual.ligand.positions == usual.reference).all()
    assert not (found.ligand.positions == found.reference).all()


def test_intervals_over_clusters_know_that_complexes_are_alike(weights: Path) -> None:
    """Two clusters, one all right and one all wrong: either could be drawn twice, however many poses they have."""

    def half(flow: DockingFlow, start: Poses, noise: Noise, on_step: OnStep) -> Poses:
        bound = bound_poses(flow.batch, start.complex_row).positions
        wrong = torch.tensor([name in ("1s3v", "1uou") for name in flow.batch.names])[start.complex_row]
        return Poses(start.complex_row, bound + 10.0 * wrong[:, None, None])

    docked = dock(load_weights(weights), complexes(), Sampler(half, "half", 1), samples=20)
    apart, together = (summarise("x", docked, 0, c) for c in (None, Clusters([("1ia1", "1of6"), ("1s3v", "1uou")])))
    assert apart.success_2A == together.success_2A == 0.5
    assert together.success_2A_interval == (0.0, 1.0)
    single = summarise("x", docked, 0, Clusters([("1ia1", "1of6", "1s3v", "1uou")])).success_2A_interval
    assert 0.3 < single[0] < single[1] < 0.7, "one cluster says how sure its poses are, and nothing of others"
