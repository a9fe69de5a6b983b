"""Weights files: what is written is read back, and each bad file gets one line that says what is wrong with it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from docking_models import SMALL, SMALL_DIFFDOCK, batch, diffdock, network
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from domains.docking.networks.diffdock import DiffDock
from domains.docking.networks.pocket_net import PocketNet
from domains.docking.networks.shipped import SHIPPED, find_weights
from domains.docking.networks.weights import load_model, load_weights, save_weights, store_score_scale
from domains.docking.poses.diffusion import NoiseRange
from domains.docking.poses.pose import bound_poses
from domains.errors import InputError

NOISE = NoiseRange(tr=(0.2, 6.0))


def tensors() -> dict[str, Tensor]:
    return {name: value.float() for name, value in network().state_dict().items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "weights.safetensors"
    save_weights(file, tensors(), SMALL, NOISE, 3.5)
    return file


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        found: dict[str, str] = file.metadata()
        return found


def test_round_trip(path: Path) -> None:
    """Configuration, noise range, score scale, every parameter and buffer; large ones to half precision."""
    model = load_weights(path)
    assert (model.network.config, model.noise_range, model.score_scale) == (SMALL, NOISE, 3.5)
    assert not model.network.training
    assert not any(parameter.requires_grad for parameter in model.network.parameters())
    found = model.network.state_dict()
    assert found.keys() == tensors().keys()
    small = {name for name, value in tensors().items() if value.numel() < 1024}
    assert 0 < len(small) < len(found)
    assert all(torch.equal(found[name], value) for name, value in tensors().items() if name in small)
    for name, value in tensors().items():
        torch.testing.assert_close(found[name], value, rtol=2.0**-11, atol=2.0**-24)
    fresh = PocketNet(SMALL).eval()
    fresh.load_state_dict(tensors())
    sigma = {f: torch.tensor(0.5) for f in ("tr", "rot", "tor")}
    row = torch.arange(4)
    data = batch().to("cpu")
    x = bound_poses(data, row).positions
    scores = [net.double().score(net.encode(data), row, x, sigma) for net in (model.network, fresh)]
    for stored, original in zip(*scores, strict=True):
        assert (stored - original).abs().max() < 2e-3 * original.abs().max()


def test_the_file_says_which_network_it_is_for(tmp_path: Path) -> None:
    """And one that does not, as the demo's, is for the first one there was."""
    file = tmp_path / "diffdock.safetensors"
    config = replace(SMALL_DIFFDOCK, noise=NOISE)
    save_weights(file, diffdock(config).state_dict(), config, NOISE, 2.0)
    found = load_weights(file)
    assert isinstance(found.network, DiffDock)
    assert (found.network.config, found.score_scale) == (config, 2.0)
    data, row = batch(), torch.arange(4)
    sigma = {f: torch.tensor(0.5) for f in ("tr", "rot", "tor")}
    x = bound_poses(data, row).positions
    scores = [net.double().score(net.encode(data), row, x, sigma) for net in (found.network, diffdock(config))]
    for stored, original in zip(*scores, strict=True):
        assert (stored - original).abs().max() < 2e-3 * original.abs().max()
    assert "architecture" not in json.loads(metadata(SHIPPED["demo"])["model"])
    assert isinstance(load_weights(SHIPPED["demo"]).network, PocketNet)


def test_weights_that_come_with_the_toolkit_have_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name comes before a folder of that name; another one is refused with those that there are."""
    assert SHIPPED.keys() == {"general", "demo"}
    monkeypatch.chdir(tmp_path)
    for name, file in SHIPPED.items():
        (tmp_path / name).mkdir()
        assert find_weights(name) == find_weights(file) == file
        assert load_model(name).path == file
        assert find_weights(tmp_path / name) == tmp_path / name
    assert load_model().path == SHIPPED["general"]
    (tmp_path / "mine").mkdir()
    assert find_weights("mine") == Path("mine")
    with pytest.raises(InputError, match=r"genral: there are no weights of that name.*; give general, demo, or "):
        load_weights(Path("genral"))
    assert sum(file.stat().st_size for file in SHIPPED.values()) < 20e6


def test_other_people_may_read_what_is_written(path: Path) -> None:
    plain = path.with_name("plain")
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode
    assert sorted(p.name for p in path.parent.iterdir()) == ["plain", "weights.safetensors"]


def test_chosen_score_scale_is_stored_with_its_record(path: Path) -> None:
    before = load_weights(path)
    choice = {"split": "ligands", "seed": 7, "rows": [{"score_scale": 4.0, "success_2A": 0.5}]}
    store_score_scale(path, 4.0, choice)
    after = load_weights(path)
    assert (after.score_scale, after.noise_range, after.network.config) == (4.0, NOISE, SMALL)
    assert json.loads(metadata(path)["score_scale_choice"]) == choice
    assert all(torch.equal(after.network.state_dict()[k], v) for k, v in before.network.state_dict().items())


def test_a_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = path.read_bytes()

    def full(self: Path, data: bytes) -> int:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="disk full"):
        store_score_scale(path, 4.0, {})
    assert path.read_bytes() == old


def rewrite(path: Path, change: Callable[[dict[str, Tensor], dict[str, str]], object]) -> None:
    values, header = load_file(path), metadata(path)
    change(values, header)
    save_file(values, path, header)


def remodel(path: Path, **change: object) -> None:
    rewrite(path, lambda _, m: m.update(model=json.dumps(json.loads(m["model"]) | change)))


def poison(values: dict[str, Tensor], name: str, value: float) -> None:
    values[name][0] = value


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


FIRST = "emit.0.weight"
BREAK: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda p: p.unlink(), "there is no such weights file"),
    "folder": (make_folder, "this is no release of DiffDock"),
    "empty": (lambda p: p.write_bytes(b""), "this is no safetensors file"),
    "text": (lambda p: p.write_text("weights\n" * 9), "this is no safetensors file"),
    "cut off": (lambda p: p.write_bytes(p.read_bytes()[:-100]), "this is no safetensors file"),
    "pickle": (lambda p: p.write_bytes(pickle.dumps({"a": 1})), "this is a pickle (it could run code"),
    "torch.save": (lambda p: torch.save(tensors(), p), "this is a pickle (it could run code"),
    "other model": (lambda p: save_file({"a": torch.zeros(2)}, p), "these are weights of another model"),
    "no description": (lambda p: rewrite(p, lambda _, m: m.pop("model")), "description of the model"),
    "bad description": (lambda p: rewrite(p, lambda _, m: m.update(model="{")), "description of the model"),
    "unknown option": (lambda p: remodel(p, network=asdict(SMALL) | {"heads": 3}), "heads"),
    "unknown network": (lambda p: remodel(p, architecture="transformer"), "must be one of pocket, diffdock"),
    "other network": (lambda p: remodel(p, architecture="diffdock"), "description of the model"),
    "no noise": (lambda p: remodel(p, noise={"tr": 1.0}), "description of the model"),
    "missing key": (
        lambda p: rewrite(p, lambda v, _: v.pop(FIRST)),
        f"it lacks 1 tensors, first of all {FIRST}",
    ),
    "foreign key": (lambda p: rewrite(p, lambda v, _: v.update(extra=torch.ones(1))), "first of all extra"),
    "wrong shape": (lambda p: rewrite(p, lambda v, _: v.update({FIRST: torch.ones(3)})), "has shape (3,)"),
    "other size": (lambda p: remodel(p, network=asdict(SMALL) | {"scalars": 8}), "has shape"),
    "NaN": (lambda p: rewrite(p, lambda v, _: poison(v, FIRST, float("nan"))), f"{FIRST} holds NaN"),
    "infinite": (lambda p: rewrite(p, lambda v, _: poison(v, FIRST, float("inf"))), f"{FIRST} holds NaN or inf"),
}


@pytest.mark.parametrize("kind", BREAK)
def test_a_bad_file_gets_one_clear_line(path: Path, kind: str) -> None:
    damage, expected = BREAK[kind]
    damage(path)
    for attempt in (lambda: load_weights(path), lambda: store_score_scale(path, 2.0, {})):
        with pytest.raises(InputError) as caught:
            attempt()
        line = str(caught.value)
        assert expected in line
        assert line.startswith(f"{path}: ")
        assert "\n" not in line
        assert caught.value.problem.remedy
