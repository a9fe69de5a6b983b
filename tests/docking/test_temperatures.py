"""Choosing the temperatures of DiffDock's sampler: what is tried, what is stored, mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from docking_models import SMALL, complexes, network
from safetensors import safe_open

from domains.docking.networks.weights import load_weights, save_weights
from domains.docking.poses.diffusion import NoiseRange
from domains.docking.poses.low_temperature_sde import PUBLISHED
from domains.docking.temperatures import TemperatureConfig, candidates, cli


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    state = {name: value.float() for name, value in network().state_dict().items()}
    save_weights(path, state, SMALL, NoiseRange(), 1.0)
    return path


def test_what_is_tried_depends_on_the_seed_alone(weights: Path) -> None:
    found = candidates(TemperatureConfig(weights, draws=5, seed=3, steps=10, run=9))
    assert list(found)[:2] == ["plain SDE", "published"]
    assert found["published"].temperatures == PUBLISHED.temperatures
    assert {(own.steps, own.run) for own in found.values()} == {(10, 9)}
    assert len({own.temperatures["tr"].sampling for own in found.values()}) == 7
    assert found == candidates(TemperatureConfig(weights, draws=5, seed=3, steps=10, run=9))
    assert found["draw 1"] != candidates(TemperatureConfig(weights, draws=5, seed=4))["draw 1"]


def test_the_best_of_the_second_round_is_stored_with_its_table(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    title = complexes()[1].protein.path.with_name("1of6_ligand.sdf").read_text().splitlines()[0].strip()
    (tmp_path / "ligands.txt").write_text(f"1of6/{title}\n")
    (tmp_path / "targets.txt").write_text("none\n")
    place = tmp_path / "data" / "1of6"
    place.mkdir(parents=True)
    (place / "protein.pdb").symlink_to(complexes()[1].protein.path)
    (place / "ligands.sdf").symlink_to(complexes()[1].protein.path.with_name("1of6_ligand.sdf"))
    arguments = ["--weights", str(weights), "--data", str(tmp_path / "data"), "--steps", "3", "--run", "3"]
    arguments += ["--draws", "3", "--finalists", "2", "--final-poses", "2"]
    arguments += [f"--validation-{part}={tmp_path / f'{part}.txt'}" for part in ("ligands", "targets")]
    cli(arguments)
    assert "second round, validation ligands: 1 complexes x 2 poses, 3 of 3 steps" in capsys.readouterr().out
    assert load_weights(weights).low_temperature is None
    cli([*arguments, "--store"])
    with safe_open(weights, framework="pt") as file:
        choice = json.loads(file.metadata()["low_temperature_choice"])
    rows = choice["rows"]
    assert [row["sampler"] for row in rows][:2] == ["plain SDE", "published"] and len(rows) == 4
    best = max(rows, key=lambda row: (row["success_2A"], -row["median_rmsd"]))
    assert choice["chosen"] == best["sampler"]
    wanted = candidates(TemperatureConfig(weights, draws=3, steps=3, run=3))[best["sampler"]]
    assert load_weights(weights).low_temperature == wanted


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--data", "nowhere"], "nowhere: it is not a folder"),
        (["--split", "embedded", "--store"], "temperatures are chosen on --split ligands"),
        (["--split", "embedded", "--run", "30"], "--run: got 30 of 20 steps"),
        (["--split", "embedded", "--final-poses", "0"], "--final-poses: got 0"),
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
