"""The comparison of score scale values: figures, intervals, what is stored, mistakes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from docking_models import SMALL, complexes, network
from safetensors import safe_open

from domains.docking.networks.weights import load_weights, save_weights
from domains.docking.poses.diffusion import NoiseRange
from domains.docking.poses.flow import DockingFlow
from domains.docking.poses.pose import Poses, bound_poses
from domains.docking.score_scale import cli, summarise
from domains.docking.training.evaluate import Redocking, ode_sampler, redock


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    state = {name: value.float() for name, value in network().state_dict().items()}
    save_weights(path, state, SMALL, NoiseRange(), 1.0)
    return path


def test_redocking_measures_the_distance_to_the_bound_pose(weights: Path) -> None:
    """A sampler that knows the answer, moved by a known distance; one pose of one complex broken by a NaN."""
    shift = torch.tensor([3.0, 0.0, 4.0])

    def cheat(flow: DockingFlow, start: Poses, generator: torch.Generator) -> Poses:
        bound = bound_poses(flow.batch, start.complex_row).positions
        bound[1::2] += shift
        if "1s3v" in flow.batch.names:
            bound[2 * flow.batch.names.index("1s3v")] = math.nan
        return Poses(start.complex_row, bound)

    result = redock(load_weights(weights), complexes(), cheat, 2, 0, 1.0)
    assert result.names == tuple(c.name for c in complexes())
    row = result.names.index("1s3v")
    assert np.isnan(result.rmsd[row, 0])
    exact = np.delete(result.rmsd[:, 0], row)
    np.testing.assert_allclose(exact, 0, atol=1e-4)
    assert (result.rmsd[:, 1] <= 5.0 + 1e-4).all()  # symmetry can only lower it
    assert result.rmsd[0, 1] == pytest.approx(5.0, abs=1e-4)
    line = summarise("cheat", 1.0, result, 0)
    assert (line.success_2A, line.failed) == (3 / 8, 1)
    assert line.success_5A == pytest.approx((result.rmsd < 5).mean())


def test_start_poses_depend_on_the_seed_alone(weights: Path) -> None:
    starts: list[torch.Tensor] = []

    def remember(flow: DockingFlow, start: Poses, generator: torch.Generator) -> Poses:
        starts.append(start.positions)
        return start

    model = load_weights(weights)
    for seed, c in ((0, 1.0), (0, 4.0), (1, 1.0)):
        redock(model, complexes(), remember, 2, seed, c)
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


def test_all_poses_failed() -> None:
    line = summarise("broken", 1.0, Redocking(("a",), np.full((1, 3), math.nan), 0.1), 0)
    assert (line.success_2A, line.success_5A, line.failed, line.median_rmsd) == (0.0, 0.0, 3, math.inf)


def test_the_best_value_is_stored_with_seed_and_table(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written unless it is asked for; then the value with the most poses within 2 Å, and its table."""
    title = complexes()[1].protein_path.with_name("1of6_ligand.sdf").read_text().splitlines()[0].strip()
    (tmp_path / "ligands.txt").write_text(f"1of6/{title}\n")
    (tmp_path / "targets.txt").write_text("none\n")
    place = tmp_path / "data" / "1of6"
    place.mkdir(parents=True)
    (place / "protein.pdb").symlink_to(complexes()[1].protein_path)
    (place / "ligands.sdf").symlink_to(complexes()[1].protein_path.with_name("1of6_ligand.sdf"))
    arguments = ["--weights", str(weights), "--data", str(tmp_path / "data"), "--seed", "5", "--steps", "3"]
    arguments += ["--values", "1", "3", "--validation-ligands", str(tmp_path / "ligands.txt")]
    arguments += ["--validation-targets", str(tmp_path / "targets.txt")]
    cli(arguments)
    table = capsys.readouterr().out
    assert "diffdock_sde" in table
    assert "held-out ligands: 1 complexes" in table
    assert load_weights(weights).score_scale == 1.0
    cli([*arguments, "--store"])
    with safe_open(weights, framework="pt") as file:
        choice = json.loads(file.metadata()["score_scale_choice"])
    assert (choice["split"], choice["seed"], choice["complexes"]) == ("ligands", 5, 1)
    assert [(row["sampler"], row["score_scale"]) for row in choice["rows"]] == [
        ("diffdock_sde", 1.0),
        ("dpmpp_2m edm", 1.0),
        ("dpmpp_2m edm", 3.0),
    ]
    best = max(choice["rows"][1:], key=lambda row: (row["success_2A"], -row["median_rmsd"]))
    assert load_weights(weights).score_scale == best["score_scale"]


def test_ode_sampler_refuses_unknown_names() -> None:
    with pytest.raises(ValueError, match="grid must be one of"):
        ode_sampler("ddim", 3, "cubic")
    with pytest.raises(ValueError, match="name must be one of"):
        ode_sampler("rk4", 3, "edm")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--data", "nowhere"], "nowhere: it is not a folder"),
        ([], "--data: not given"),
        (["--split", "embedded", "--store"], "score scale is chosen on --split ligands"),
        (["--split", "embedded", "--poses", "0"], "--poses: got 0"),
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
