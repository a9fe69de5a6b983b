"""`benchmarks.docking` on a DiffDock release, tiny and random in the real one's form; and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import data
from language_models import write_release
from small_receptors import around_ligand

from benchmarks.docking.__main__ import main
from domains.docking.poses.low_temperature_sde import PUBLISHED

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def targets(tmp_path: Path) -> Path:
    """6o5u, and the same with a bond that DiffDock's features have no place for."""
    for name in ("6o5u", "odd"):
        place = tmp_path / "targets" / name
        place.mkdir(parents=True)
        shutil.copy(data("6o5u_protein.pdb"), place / "protein.pdb")
        shutil.copy(data("6o5u_ligand.sdf"), place / "ligands.sdf")
    return tmp_path / "targets"


def words(weights: Path, targets: Path, out: Path) -> list[str]:
    quick = ["--nfe", "2", "--samples", "1", "--teacher-nfe", "2", "--posebusters", "0"]
    return ["--weights", str(weights), "--complexes", str(targets), "--out", str(out), *quick]


@pytest.mark.slow
def test_all_samplers_dock_with_a_release_and_a_bond_without_a_place_is_named(
    diffdock_release: Path, targets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = targets / "odd" / "ligands.sdf"
    lines = file.read_text().splitlines()
    bond = 4 + int(lines[3][:3])
    lines[bond] = f"{lines[bond][:6]}  9{lines[bond][9:]}"  # dative
    file.write_text("\n".join(lines) + "\n")
    assert main(words(diffdock_release, targets, tmp_path / "out")) == 0
    assert "odd" in capsys.readouterr().err
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["complete"] and found["score_scale"] == 1
    assert list(found["seeds"]["complexes"]) == ["6o5u/6o5u_ligand"]
    rows = {(row["method"], row["nfe"]): row for row in found["rows"]}
    published = ("diffdock_sde", PUBLISHED.run)
    assert {published, ("plain_sde", 20), ("diffdock_ode", 20), ("edm", 2)} <= rows.keys()
    for row in rows.values():
        assert row["failed"] == 0 and row["n_poses"] == 1
        assert row["success_2A"] == 0  # random weights


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("nothing there", "there is no such weights file"),
        ("no release", "this is no release of DiffDock"),
        ("no yaml", "model_parameters.yml: there is no such file"),
        ("other sizes", "it does not fit model_parameters.yml"),
        ("option", "options that are not supported: smooth_edges = True"),
    ],
)
def test_what_is_no_release_ends_with_one_line(
    change: str, said: str, targets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "nowhere"
    if change == "no release":
        weights.mkdir()
    elif change == "no yaml":
        weights = write_release(tmp_path)
        (weights / "score_model" / "model_parameters.yml").unlink()
    elif change == "other sizes":
        weights = write_release(tmp_path, ns=40)
    elif change == "option":
        weights = write_release(tmp_path, smooth_edges=True)
    assert main(words(weights, targets, tmp_path / "out")) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ") and said in line
    assert not list((tmp_path / "out").glob("*.json"))


def test_without_the_language_model_nothing_is_computed(
    targets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    assert main(words(write_release(tmp_path), targets, tmp_path / "out")) == 2
    assert "ESM-2 650M, which is not on this machine" in capsys.readouterr().err


@pytest.mark.slow
def test_a_protein_too_long_for_memory_is_named_and_the_others_go_on(
    diffdock_release: Path,
    targets: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a machine with 10 MB left: 268 residues do not fit, those around the ligand do; alone, status 2."""
    left = tmp_path / "meminfo"
    left.write_text("MemAvailable: 10000 kB\n")
    monkeypatch.setattr("domains.memory._MEMINFO", left)
    protein = targets / "odd" / "protein.pdb"
    protein.write_text(around_ligand(protein, targets / "odd" / "ligands.sdf", 4.0))
    assert main(words(diffdock_release, targets, tmp_path / "out")) == 0
    assert "a pose in 268 residues takes about" in capsys.readouterr().err
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(found["seeds"]["complexes"]) == ["odd/6o5u_ligand"]
    shutil.rmtree(targets / "odd")
    assert main(words(diffdock_release, targets, tmp_path / "alone")) == 2
    said = capsys.readouterr().err
    assert "--pocket point:X,Y,Z,RADIUS" in said and not list((tmp_path / "alone").glob("*.json"))
