"""The confidence head: what it sees does not turn with the complex, it learns, and its command goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmark_runs import write_complexes, write_weights
from docking_models import complexes
from scipy.spatial.transform import Rotation

from domains.docking.networks.weights import load_weights
from domains.docking.ranking.confidence import (
    ConfidenceHead,
    HeadConfig,
    load_confidence,
    pose_features,
    save_head,
)
from domains.docking.ranking.stored_weights import stored_weights
from domains.docking.structures.complexes import Complex
from domains.docking.train_confidence import cli
from domains.docking.training.confidence_head import HeadTraining, fit_head
from domains.docking.training.confidence_poses import LabelledPoses
from domains.errors import InputError


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "model.safetensors")


def turned(complex_: Complex, rotation: Rotation) -> Complex:
    """The pocket and the ligand, turned about the origin of the frame."""

    def turn(x: np.ndarray) -> np.ndarray:
        return rotation.apply(x).astype(np.float32)

    pocket = replace(
        complex_.pocket, positions=turn(complex_.pocket.positions), origin=turn(complex_.pocket.origin[None])[0]
    )
    return replace(complex_, pocket=pocket)


def test_features_do_not_turn_with_the_complex(weights: Path) -> None:
    model, found = load_weights(weights), complexes()[0]
    shift = np.random.default_rng(0).normal(size=(3, 1, 3)).astype(np.float32)
    poses = found.ligand.positions + shift
    first = pose_features(model, found, poses)
    assert first.shape == (3, found.ligand.n_atoms, 2 * (16 + 4))  # two noise levels, scalars and lengths of vectors
    rotation = Rotation.random(random_state=1)
    again = pose_features(
        model, turned(found, rotation), rotation.apply(poses.reshape(-1, 3)).reshape(poses.shape).astype(np.float32)
    )
    torch.testing.assert_close(again, first, atol=2e-3, rtol=1e-3)
    assert (first[0] - first[1]).abs().max() > 1e-2, "they do depend on the pose"


def test_features_of_a_batch_are_those_of_each_alone(weights: Path) -> None:
    """Padding atoms have none, and the smaller ligand's do not feel the larger one."""
    model = load_weights(weights)
    found = complexes()[0]
    poses = np.stack([found.ligand.positions, found.ligand.positions + 1.0])
    both, (one,) = pose_features(model, found, poses), pose_features(model, found, poses[1:])
    torch.testing.assert_close(both[1], one, atol=1e-4, rtol=1e-4)


def labelled(rng: np.random.Generator, count: int) -> list[LabelledPoses]:
    """The first feature, averaged over atoms, says whether a pose is near; the others are noise."""
    found = []
    for i in range(count):
        near = torch.from_numpy(rng.random(8) < 0.5)
        features = torch.from_numpy(rng.normal(size=(8, 5, 6))).float()
        features[..., 0] += 2.0 * near[:, None]
        found.append(LabelledPoses(f"p{i}/x", features, near))
    return found


def test_a_head_learns_which_poses_are_near() -> None:
    rng = np.random.default_rng(0)
    train, test = labelled(rng, 40), labelled(rng, 40)
    head, record = fit_head(train, [own.name for own in train], HeadTraining(epochs=30), seed=0)
    mask = torch.ones(8, 5)
    right = torch.cat([(head(own.features, mask) > 0) == own.near for own in test])
    assert right.float().mean() > 0.85
    assert record["complexes"] == 40 and record["held_back"] == 8
    again, _ = fit_head(train, [own.name for own in train], HeadTraining(epochs=30), seed=0)
    assert all(torch.equal(a, b) for a, b in zip(head.parameters(), again.parameters(), strict=True))


def test_a_head_needs_both_kinds_and_two_clusters() -> None:
    train = labelled(np.random.default_rng(0), 4)
    with pytest.raises(ValueError, match="0 are within 2 Å: both kinds are needed"):
        fit_head([replace(own, near=own.near & False) for own in train], ["a", "b", "c", "d"], HeadTraining(), 0)
    with pytest.raises(ValueError, match="at least 2 are needed to hold one back"):
        fit_head(train, ["a"] * 4, HeadTraining(), 0)


def test_a_head_belongs_to_its_network(weights: Path, tmp_path: Path) -> None:
    model, found = load_weights(weights), complexes()[0]
    torch.manual_seed(0)
    head = ConfidenceHead(HeadConfig(40)).eval()
    save_head(tmp_path / "head.safetensors", head, model, "{}")
    ranker = load_confidence(tmp_path / "head.safetensors", model)
    poses = np.stack([found.ligand.positions, found.ligand.positions + 3.0])
    scores = ranker.rank(found, poses)
    with torch.no_grad():
        expected = head(pose_features(model, found, poses), torch.ones(2, found.ligand.n_atoms))
    np.testing.assert_allclose(scores.score, expected.numpy(), atol=2e-3)
    assert set(scores.parts) == {"confidence"}
    other = load_weights(weights)
    with torch.no_grad():
        next(other.network.parameters()).add_(1.0)
    with pytest.raises(InputError, match="it was trained on another network"):
        load_confidence(tmp_path / "head.safetensors", other)
    with pytest.raises(InputError, match="these are weights of another model"):
        load_confidence(weights, model)


@pytest.fixture
def arguments(tmp_path: Path, weights: Path) -> list[str]:
    data = write_complexes(tmp_path / "data", "1ia1", "1of6", "1s3v", "1uou")
    (tmp_path / "ligands.txt").write_text("1uou/1uou\n")
    (tmp_path / "targets.txt").write_text("1ia1\n")
    words = ["--data", str(data), "--weights", str(weights), "--out", str(tmp_path / "out"), "--complexes", "5"]
    lists = [
        "--validation-ligands",
        str(tmp_path / "ligands.txt"),
        "--validation-targets",
        str(tmp_path / "targets.txt"),
    ]
    return [*words, *lists, "--poses", "2", "--samples", "2", "--head.epochs", "2"]


def test_an_untrained_network_has_nothing_to_learn_from(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its poses are all of one kind, which is said in one line; what was docked is kept."""
    with pytest.raises(SystemExit) as stop:
        cli(arguments)
    assert stop.value.code == 2
    assert "error: of 12 poses, 0 are within 2 Å" in capsys.readouterr().err
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/poses").glob("*.safetensors")}
    assert len(kept) == 2  # the two that are in neither list
    with pytest.raises(SystemExit):
        cli(arguments)
    assert kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "out/poses").glob("*.safetensors")}


@pytest.mark.slow
def test_the_command_tests_its_head_on_held_out_complexes(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the demo's network, which knows 1of6 and 1s3v: rows for both splits, the shipped ranking among them."""
    at = arguments.index("--weights")
    del arguments[at : at + 2]
    cli(arguments)
    content = json.loads((tmp_path / "out/results.json").read_text())
    rows = {(row["split"], row["ranker"]): row for row in content["rows"]}
    shipped = " + ".join(stored_weights(Path(content["config"]["weights"])).weights)
    for split in ("held-out ligands of known targets", "unseen targets"):
        assert rows[split, "confidence"]["complexes"] == 1
        assert rows[split, f"{shipped}, refined"]["minus_shipped"] == [0.0, 0.0, 0.0]
        assert rows[split, "confidence"]["first"][0] <= rows[split, "the best of all"]["first"][0]
    assert f"{shipped}, refined" in capsys.readouterr().out
