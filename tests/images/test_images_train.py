"""Training of the digits model: it learns, an interrupted run ends where an uninterrupted one does, mistakes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from image_models import SMALL
from safetensors.torch import load_file

from domains.errors import InputError
from domains.images.models import digits
from domains.images.models.digits import Digits
from domains.images.models.unet import UNetConfig
from domains.images.models.weights import DIGITS_WEIGHTS, load_weights
from domains.images.train import cli, main
from domains.images.training.config import TrainConfig
from domains.images.training.run import denoising_loss, learning_rate, new_run, train_step
from domains.yaml_options import read_options

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """Six steps of a small network."""
    return TrainConfig(
        tmp_path / "run",
        steps=6,
        batch=8,
        warm_up=2,
        validate_every=2,
        threads=torch.get_num_threads(),
        network=replace(SMALL, dropout=0.2),
    )


def never() -> bool:
    return False


def after(steps: int) -> Callable[[], bool]:
    """Stop once that many steps are done: `train` asks before each one."""
    left = iter([*[False] * steps, True])
    return lambda: next(left)


def log(config: TrainConfig) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in ("seconds", "train")} for row in rows]


def same_weights(a: TrainConfig, b: TrainConfig) -> bool:
    """Bit by bit: of the network in training, of its average, and of the average that is kept."""
    states = [torch.load(run.out / "state.pt", weights_only=True) for run in (a, b)]
    kept = [load_file(run.out / "weights.safetensors") for run in (a, b)]
    pairs = [[state[part] for state in states] for part in ("denoiser", "average")] + [kept]
    return all(torch.equal(x[name], y[name]) for x, y in pairs for name in x)


def test_a_continued_run_ends_bit_by_bit_where_an_uninterrupted_one_does(config: TrainConfig, tmp_path: Path) -> None:
    """Stopped after 3 of 6 steps, dropout and all; and killed later than its last save, with rows in the log since."""
    main(config, never)
    stopped = replace(config, out=tmp_path / "stopped")
    main(stopped, after(3))
    assert torch.load(stopped.out / "state.pt", weights_only=True)["step"] == 3
    killed = replace(config, out=tmp_path / "killed")
    shutil.copytree(stopped.out, killed.out)
    with (killed.out / "log.jsonl").open("a") as file:
        print(json.dumps({"step": 4, "seconds": 0.0, "train": 1.0}), file=file)
    for run in (stopped, killed):
        assert not same_weights(run, config)
        main(run, never)
        assert same_weights(run, config)
        assert log(run) == log(config)
    assert [row["step"] for row in log(config)] == [2, 4, 6]


def test_the_average_with_the_lowest_validation_loss_is_kept(config: TrainConfig) -> None:
    """Of losses 3, 1, 2 the second's."""
    config.out.mkdir()
    run = new_run(config, 0.75)
    for loss in (3.0, 1.0, 2.0):
        run.keep_if_best(loss, config)
        with torch.no_grad():
            run.average.network.last.weight += 1
    kept = load_weights(config.out / "weights.safetensors").network.last.weight
    assert torch.equal(kept, torch.ones_like(kept))  # it started at zero
    assert run.best_loss == 1.0


def test_weights_are_the_moving_average(config: TrainConfig) -> None:
    """w̄ <- k w̄ + (1 - k) w, k = min(ema, (1 + n)/(10 + n)) after n steps."""
    config = replace(config, ema=0.25, learning_rate=0.05)
    data, _ = digits.load()
    run = new_run(config, 0.75)
    expected = [value.clone() for value in run.average.parameters()]
    for n in range(1, 5):
        train_step(run, data, config)
        k = min(0.25, (1 + n) / (10 + n))
        expected = [
            k * mean + (1 - k) * w.detach() for mean, w in zip(expected, run.denoiser.parameters(), strict=True)
        ]
    for mean, value in zip(run.average.parameters(), expected, strict=True):
        torch.testing.assert_close(mean, value)


def test_learning_rate_warms_up_and_decays(config: TrainConfig) -> None:
    long = replace(config, steps=10_000, warm_up=500, decay=0.3, learning_rate=2.0)
    rates = [learning_rate(step, long) for step in (0, 249, 499, 5000, 7000, 8500, 10_000)]
    assert rates == pytest.approx([2 / 500, 1.0, 2.0, 2.0, 2.0, 1.0, 0.0])


def test_labels_are_dropped_as_often_as_asked(config: TrainConfig) -> None:
    seen: list[torch.Tensor] = []
    wide = replace(config, batch=2000, class_dropout=0.25)
    data, _ = digits.load()
    run = new_run(wide, 0.75)
    run.denoiser.register_forward_pre_hook(lambda denoiser, inputs: seen.append(inputs[2]))
    train_step(run, data, wide)
    (label,) = seen
    assert (label == digits.CLASSES).double().mean().item() == pytest.approx(0.25, abs=0.05)
    shares = torch.bincount(label, minlength=11)[:10] / 2000
    assert shares.tolist() == pytest.approx((0.75 * torch.bincount(data.label) / len(data)).tolist(), abs=0.03)


def test_it_learns(config: TrainConfig) -> None:
    """From 1, the cost of knowing nothing but the mean, to well below, on fresh noise."""
    fast = replace(config, steps=10_000, batch=64, learning_rate=5e-3, ema=0.9, network=replace(SMALL, dropout=0.0))
    data, valid = digits.load()
    run = new_run(fast, 0.75)

    def loss() -> float:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            return denoising_loss(run.average, valid.pixels(generator), valid.label, fast.noise, generator).item()

    before = loss()
    for _ in range(60):
        train_step(run, data, fast)
    assert before > 0.9
    assert loss() < 0.65


def test_a_gradient_that_is_not_finite_stops_the_run_and_keeps_the_weights(config: TrainConfig) -> None:
    run = new_run(config, 0.75)
    before = [value.clone() for value in run.denoiser.parameters()]
    broken = Digits(torch.full((4, 1, 8, 8), float("nan")), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(FloatingPointError, match="step 0 is not finite"):
        train_step(run, broken, config)
    assert all(torch.equal(a, b) for a, b in zip(before, run.denoiser.parameters(), strict=True))


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        cli(arguments)
    assert stop.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: ")
    return lines[-1]


def test_mistakes_are_said_before_anything_is_computed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert "cannot write there" in mistake(capsys, "--out", str(tmp_path / "file" / "run"))
    (tmp_path / "odd.yaml").write_text("bach: 8")
    out = tmp_path / "run"
    assert "odd.yaml: bach is unknown" in mistake(capsys, "--out", str(out), "--config", str(tmp_path / "odd.yaml"))
    for option, value, why in (
        ("batch", "0", "batch must be at least 1, got 0"),
        ("ema", "1", "ema must be in [0, 1), got 1.0"),
        ("noise.std", "0", "std must be positive and finite, got 0.0"),
        ("network.resolution", "7", "resolution 7 cannot be halved 1 times"),
        ("network.resolution", "16", "network must be for images (1, 8, 8) of 10 classes"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli(["--out", str(out), f"--{option}", value])
        assert stop.value.code == 2
        assert why in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not out.exists()


def test_settings_come_from_a_file_and_options_override_them(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(
        "steps: 3\nbatch: 4\nvalidate_every: 2\nlearning_rate: 1e-4\n"
        "network: {channels: 8, multipliers: [1, 2], blocks: 1, embedding: 16}\n"
    )
    out = tmp_path / "run"
    cli(["--config", str(tmp_path / "small.yaml"), "--out", str(out), "--steps", "2", "--network.heads", "4"])
    written = yaml.safe_load((out / "config.yaml").read_text())
    assert (written["steps"], written["batch"], written["learning_rate"]) == (2, 4, 1e-4)
    assert torch.load(out / "state.pt", weights_only=True)["step"] == 2
    config = load_weights(out / "weights.safetensors").network.config
    assert config == UNetConfig(channels=8, blocks=1, embedding=16, heads=4)


def test_the_shipped_settings_are_those_of_the_shipped_weights() -> None:
    config = read_options(TrainConfig, DIGITS_WEIGHTS.with_suffix(".yaml"), Path())
    assert config.network == load_weights(DIGITS_WEIGHTS).network.config


def test_a_run_of_another_network_is_not_continued(config: TrainConfig) -> None:
    main(config, never)
    before = (config.out / "config.yaml").read_text()
    with pytest.raises(InputError, match="cannot be continued"):
        main(replace(config, network=replace(SMALL, channels=16)), never)
    (config.out / "state.pt").write_text("damaged")
    with pytest.raises(InputError, match="cannot be continued"):
        main(config, never)
    assert (config.out / "config.yaml").read_text() == before


@pytest.mark.slow
def test_sigterm_saves(tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = {"out": out, "steps": 10**6, "validate-every": 5, "batch": 4, "threads": 1, "network.channels": 8}
    arguments = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    command = [sys.executable, "-m", "domains.images.train", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=environment) as process:
        deadline = time.monotonic() + 120
        while not (out / "log.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "the same command goes on from here" in said
    assert torch.load(out / "state.pt", weights_only=True)["step"] >= 5
    load_weights(out / "weights.safetensors")
