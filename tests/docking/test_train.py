"""Training: it learns, an interrupted run ends where an uninterrupted one does, mistakes get one line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from docking_models import SMALL, complexes
from safetensors.torch import load_file

from domains.docking.engine import dock
from domains.docking.networks.shipped import SHIPPED
from domains.docking.networks.weights import load_weights
from domains.docking.samplers import hand_made_sampler
from domains.docking.structures.batch import collate
from domains.docking.structures.complexes import Complex
from domains.docking.structures.records import POSEBUSTERS_NAMES
from domains.docking.structures.residues import ATOM_NAME_VOCABULARY
from domains.docking.structures.text_files import read_names
from domains.docking.train import cli, load_data, main
from domains.docking.training.clusters import Clusters
from domains.docking.training.config import TrainConfig
from domains.docking.training.data import BatchSampler, cluster_weights, split
from domains.docking.training.examples import Example, noisy_example
from domains.docking.training.pockets import PocketVariation
from domains.docking.training.run import learning_rate, losses_of, new_run, train_step
from domains.errors import InputError
from domains.training import read_settings
from domains.yaml_options import read_options

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The four complexes of the posebusters package in the layout of a data folder."""
    folder = tmp_path / "data"
    for complex_ in complexes():
        place = folder / complex_.name
        place.mkdir(parents=True)
        (place / "protein.pdb").symlink_to(complex_.protein.path)
        (place / "ligands.sdf").symlink_to(complex_.protein.path.with_name(f"{complex_.name}_ligand.sdf"))
    return folder


@pytest.fixture
def config(data: Path, tmp_path: Path) -> TrainConfig:
    """Six steps of a small network; 1of6 is a held-out target, 1ia1's ligand is held out."""
    targets, ligands = tmp_path / "targets.txt", tmp_path / "ligands.txt"
    targets.write_text("# held out\n1of6\n")
    title = next(line for line in (data / "1ia1" / "ligands.sdf").read_text().splitlines())
    ligands.write_text(f"1ia1/{title.strip()}  # a comment\n")
    return TrainConfig(
        (data,),
        tmp_path / "run",
        steps=6,
        complexes=2,
        poses=2,
        validate_every=2,
        dock_every=100,
        validation_ligands=ligands,
        validation_targets=targets,
        threads=torch.get_num_threads(),
        pocket=SMALL,
    )


def never() -> bool:
    return False


def after(steps: int) -> Callable[[], bool]:
    """Stop once that many steps are done: `train` asks before each one."""
    left = iter([*[False] * steps, True])
    return lambda: next(left)


def noisy(config: TrainConfig, own: Sequence[Complex], seed: int = 0) -> Example:
    return noisy_example(collate(own), config.poses, config.noise, torch.Generator().manual_seed(seed))


def log(config: TrainConfig) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in ("seconds", "train")} for row in rows]


def same_weights(a: TrainConfig, b: TrainConfig) -> bool:
    """Bit by bit: of the network in training, and of the average that is shipped."""
    states = [torch.load(run.out / "state.pt", weights_only=True)["network"] for run in (a, b)]
    averages = [load_file(run.out / "weights.safetensors") for run in (a, b)]
    return all(torch.equal(x[name], y[name]) for x, y in (states, averages) for name in x)


def test_a_continued_run_ends_bit_by_bit_where_an_uninterrupted_one_does(config: TrainConfig, tmp_path: Path) -> None:
    """Stopped after 3 of 6 steps, dropout and all; and killed later than its last save, with rows in the log since."""
    main(config, never)
    stopped = replace(config, out=tmp_path / "stopped")
    main(stopped, after(3))
    assert torch.load(stopped.out / "state.pt", weights_only=True)["step"] == 3
    killed = replace(config, out=tmp_path / "killed")
    shutil.copytree(stopped.out, killed.out)
    with (killed.out / "log.jsonl").open("a") as file:
        print(json.dumps({"step": 4, "seconds": 0.0, "train": {}}), file=file)
    for run in (stopped, killed):
        assert not same_weights(run, config)
        main(run, never)
        assert same_weights(run, config)
        assert log(run) == log(config)
    assert [row["step"] for row in log(config)] == [2, 4, 6]
    factors = [f"{name}/{f}" for name in ("ligands", "targets") for f in ("tr", "rot", "tor")]
    assert [key for key in log(config)[0] if key != "step"] == factors
    assert {"ligands/success_2A", "targets/success_2A"} <= log(config)[-1].keys()


def test_processes_that_draw_ahead_change_no_step(config: TrainConfig, tmp_path: Path) -> None:
    main(config, never)
    helped = replace(config, out=tmp_path / "helped", workers=2)
    main(helped, after(3))
    main(helped, never)
    assert same_weights(helped, config)
    assert log(helped) == log(config)


def test_a_finished_run_is_left_as_it_is(config: TrainConfig) -> None:
    main(config, never)
    before = replace(config, out=config.out.with_name("before"))
    shutil.copytree(config.out, before.out)
    main(config, never)
    assert same_weights(config, before)
    assert log(config) == log(before)


def test_weights_are_the_moving_average(config: TrainConfig) -> None:
    """w̄ <- k w̄ + (1 - k) w, k = min(ema, (1 + n)/(10 + n)) after n steps."""
    config = replace(config, ema=0.3, learning_rate=5.0)  # 0.01 to 0.04 in these steps of the warm-up
    run, example = new_run(config), noisy(config, complexes()[:2])
    expected = [value.clone() for value in run.average.parameters()]
    for n in range(1, 5):
        train_step(run, example, config)
        k = min(0.3, (1 + n) / (10 + n))
        expected = [k * mean + (1 - k) * w.detach() for mean, w in zip(expected, run.network.parameters(), strict=True)]
    for mean, value in zip(run.average.parameters(), expected, strict=True):
        torch.testing.assert_close(mean, value)


def test_learning_rate_warms_up_and_decays(config: TrainConfig) -> None:
    long = replace(config, steps=10_000, warm_up=500, decay=0.3, learning_rate=2.0)
    rates = [learning_rate(step, long) for step in (0, 249, 499, 5000, 7000, 8500, 10_000)]
    assert rates == pytest.approx([2 / 500, 1.0, 2.0, 2.0, 2.0, 1.0, 0.0])


def test_it_overfits_one_complex(config: TrainConfig) -> None:
    """Losses of fresh noise start at 1, the cost of knowing nothing, and fall well below."""
    fast = replace(config, learning_rate=2e-2, steps=10_000, poses=24, pocket=replace(SMALL, dropout=0.0), ema=0.9)
    run, own = new_run(fast), complexes()[1:2]

    def losses() -> dict[str, float]:
        with torch.no_grad():
            found = losses_of(run.average, noisy(replace(fast, poses=400), own, seed=1000))
        return {factor: value.item() for factor, value in found.items()}

    before = losses()
    for seed in range(150):
        train_step(run, noisy(fast, own, seed), fast)
    now = losses()
    assert min(before.values()) > 0.9
    assert now["tr"] < 0.5
    assert now["rot"] < before["rot"]


def test_half_precision_takes_nearly_the_same_steps(config: TrainConfig) -> None:
    """bfloat16 keeps eight bits: losses agree to some per cent, and are not the same."""
    config = replace(config, learning_rate=0.05, pocket=replace(SMALL, dropout=0.0))
    drawn = [noisy(config, complexes()[:2], seed) for seed in range(6)]
    losses = {}
    for precision in ("float32", "bf16"):
        own = replace(config, precision=precision)
        run = new_run(own)
        losses[precision] = torch.tensor([list(train_step(run, example, own).values()) for example in drawn])
        assert all(parameter.dtype == torch.float32 for parameter in run.network.parameters())
    assert not torch.equal(losses["float32"], losses["bf16"])
    torch.testing.assert_close(losses["bf16"], losses["float32"], rtol=0.05, atol=0.05)


def test_a_gradient_that_is_not_finite_stops_the_run_and_keeps_the_weights(config: TrainConfig) -> None:
    run, (batch, poses) = new_run(config), noisy(config, complexes()[:2])
    before = [value.clone() for value in run.network.parameters()]
    broken = Example(replace(batch, pocket_positions=batch.pocket_positions * float("nan")), poses)
    with pytest.raises(FloatingPointError, match="step 0 is not finite, with 1ia1, 1of6"):
        train_step(run, broken, config)
    assert all(torch.equal(a, b) for a, b in zip(before, run.network.parameters(), strict=True))


def test_split_keeps_held_out_complexes_out_of_training(config: TrainConfig) -> None:
    parts, embedded, _ = load_data(config)
    assert [c.name.split("/")[0] for c in parts.train] == ["1s3v", "1uou"]
    assert [c.name.split("/")[0] for c in parts.ligands] == ["1ia1"]
    assert [c.name.split("/")[0] for c in parts.targets] == ["1of6"]
    assert [c.name for c in embedded] == list(POSEBUSTERS_NAMES)
    both = split(complexes(), {"1ia1"}, {"1ia1"})  # a ligand of a held-out target counts with its target
    assert [c.name for c in both.targets] == ["1ia1"]
    assert not both.ligands


def test_committed_splits_do_not_overlap() -> None:
    splits = ROOT / "domains" / "docking" / "splits"
    ligands, targets = (read_names(splits / f"validation_{part}.txt") for part in ("ligands", "targets"))
    assert len(ligands) > 50
    assert not {name.split("/")[0] for name in ligands} & targets


def test_batches_are_drawn_by_weight_with_pockets_that_vary() -> None:
    """Frequencies of the first complex of a batch; the largest radius sees more atoms than the smallest."""
    weights = (1.0, 0.0, 3.0, 4.0)
    sampler = BatchSampler(complexes(), weights, 1, PocketVariation((5.0, 9.0), shake=0.0))
    generator = torch.Generator().manual_seed(0)
    drawn = [sampler.draw(generator) for _ in range(400)]
    for complex_, weight in zip(complexes(), weights, strict=True):
        share = sum(batch.names == (complex_.name,) for batch in drawn) / len(drawn)
        assert share == pytest.approx(weight / sum(weights), abs=5 * 0.5 / 400**0.5)
    sizes = [int(batch.pocket_mask.sum()) for batch in drawn if batch.names == ("1uou",)]
    assert min(sizes) < len(complexes()[3].pocket.positions) < max(sizes)
    again = BatchSampler(complexes(), weights, 3, PocketVariation((6.0, 6.0), shake=0.25))
    shaken = [again.draw(torch.Generator().manual_seed(s)).pocket_positions for s in (1, 1, 2)]
    assert torch.equal(shaken[0], shaken[1])
    assert shaken[0].shape != shaken[2].shape or not torch.equal(shaken[0], shaken[2])


def test_clusters_are_drawn_in_proportion_to_a_power_of_their_size() -> None:
    """Three complexes alike and one alone: 3:1, 3^½:1 or 1:1."""
    clusters = Clusters([("1ia1", "1of6", "1s3v")])
    for balance in (0.0, 0.5, 1.0):
        *alike, alone = cluster_weights(complexes(), clusters, balance)
        assert sum(alike) / alone == pytest.approx(3.0**balance)
        assert alike == pytest.approx([alike[0]] * 3)


def test_batches_of_pseudo_ligands_come_as_often_as_asked() -> None:
    """Named after the residues they were cut out of; their pockets do not hold them; the same draws from one seed."""
    sampler = BatchSampler(complexes(), [1.0] * 4, 2, PocketVariation(point_share=0.5), pseudo_share=0.3)
    generator, known = torch.Generator().manual_seed(0), {c.name for c in complexes()}
    drawn = [sampler.draw(generator) for _ in range(120)]
    pseudo = [batch for batch in drawn if not set(batch.names) & known]
    assert all(set(batch.names) <= known for batch in drawn if batch not in pseudo)
    assert len(pseudo) / len(drawn) == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 120) ** 0.5)
    for batch in pseudo:
        apart = torch.cdist(batch.conformer, batch.pocket_positions)
        real = batch.atom_mask[:, :, None] & batch.pocket_mask[:, None]
        assert apart[real].min() > 1.5  # 2 Å, and the pocket is shaken
        assert len({name.split("/")[1].split(" ")[0].count("-") for name in batch.names}) == 1
    again = sampler.draw(torch.Generator().manual_seed(0))
    assert again.names == drawn[0].names
    assert torch.equal(again.pocket_positions, drawn[0].pocket_positions)


def test_matched_conformers_are_drawn_as_often_as_asked() -> None:
    own = complexes()[0]
    match = own.ligand.positions + np.float32(0.5)
    pockets = PocketVariation((6.0, 6.0), shake=0.0)
    sampler = BatchSampler([own], [1.0], 1, pockets, conformers={own.name: match}, conformer_share=0.4)
    generator = torch.Generator().manual_seed(0)
    inputs = [batch.conformer[0] + batch.origin[0] for batch in (sampler.draw(generator) for _ in range(300))]
    is_match = [bool((x - torch.from_numpy(match)).abs().max() < 1e-3) for x in inputs]
    is_own = [bool((x - torch.from_numpy(own.ligand.positions)).abs().max() < 1e-3) for x in inputs]
    assert all(a != b for a, b in zip(is_match, is_own, strict=True))
    assert sum(is_match) / 300 == pytest.approx(0.4, abs=4 * (0.24 / 300) ** 0.5)


def test_conformers_are_made_before_training(config: TrainConfig) -> None:
    main(replace(config, steps=1, conformer_share=0.5), never)
    assert (config.out / "conformers.safetensors").exists()


def test_pockets_around_points_do_not_tell_where_the_ligand_is() -> None:
    """The point strays from the centroid by the jitter, and the pocket reaches beyond the ligand on all sides."""
    complex_ = complexes()[1]
    x = complex_.ligand.positions
    cut = PocketVariation(point_share=1.0, point_jitter=2.0, point_radii=(6.0, 9.0)).cut
    rng = np.random.default_rng(0)
    pockets = [cut(complex_.protein, x, rng) for _ in range(200)]
    words = [pocket.spec.split(", ") for pocket in pockets]
    points = np.array([[float(word.removeprefix("point ")) for word in row[:3]] for row in words])
    radii = np.array([float(row[3].split(" ")[0]) for row in words])
    stray = (points - x.mean(0)).std()
    assert stray == pytest.approx(2.0, rel=0.1)
    farthest = np.linalg.norm(points[:, None] - x, axis=-1).max(1)
    assert (radii >= np.maximum(6.0, farthest + 4.0) - 1e-3).all()
    assert radii.max() > 9.0, "only a ligand that needs it gets more than the largest radius"


def test_side_chains_shake_more_than_the_backbone() -> None:
    still = collate(complexes())
    shaken = PocketVariation(shake=0.1, side_chain_shake=0.6).shaken
    moved = torch.stack([shaken(still, torch.Generator().manual_seed(k)).pocket_positions for k in range(200)])
    spread = (moved - still.pocket_positions).square().mean((0, -1)).sqrt()
    backbone = torch.isin(still.pocket_atom_name, torch.tensor([ATOM_NAME_VOCABULARY.index(a) for a in ("N", "CA")]))
    assert spread[backbone & still.pocket_mask].mean().item() == pytest.approx(0.1, rel=0.03)
    others = torch.isin(still.pocket_atom_name, torch.tensor([ATOM_NAME_VOCABULARY.index(a) for a in ("CB", "CG")]))
    # The mean square of a uniform draw from 0 to 0.6, a product of 0.1 and it, and 0.01.
    expected = (0.6**2 / 3 + 0.1 * 0.6 + 0.01) ** 0.5
    assert spread[others & still.pocket_mask].mean().item() == pytest.approx(expected, rel=0.03)


def test_what_is_alike_is_held_out_together(data: Path, config: TrainConfig, tmp_path: Path) -> None:
    """1of6 is held out by name, and 1uou with it, as they are in one cluster; the report counts all."""
    clusters = tmp_path / "clusters.txt"
    clusters.write_text("# alike\nsomewhere/1uou\tcomplexes/1of6\n1s3v\n")
    parts, *_ = load_data(replace(config, clusters=clusters))
    assert [c.name.split("/")[0] for c in parts.targets] == ["1of6", "1uou"]
    assert [c.name.split("/")[0] for c in parts.train] == ["1s3v"]
    one = "1 poses of 1 ligands in 1 clusters"
    assert str(parts) == (
        f"training: {one}; held-out ligands: {one}; unseen targets: 2 poses of 2 ligands in 1 clusters"
    )
    clusters.write_text("1uou\t1of6\n1of6\n")
    with pytest.raises(InputError, match="1of6 is in two clusters"):
        load_data(replace(config, clusters=clusters))


def test_several_folders_are_one_set(data: Path, config: TrainConfig, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.move(data / "1uou", other / "1uou")
    shutil.copytree(data / "1s3v", other / "1s3v", symlinks=True)
    parts, _, problems = load_data(replace(config, data=(data, other)))
    assert [c.name.split("/")[0] for c in parts.train] == ["1s3v", "1uou"]
    assert ["is used in another folder of --data too" in str(problem) for problem in problems] == [True]


def test_the_embedded_complexes_are_left_out_unless_asked_for(
    config: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    main(replace(config, steps=1), never)
    assert "trained on as well" not in capsys.readouterr().err
    main(replace(config, steps=1, embedded_weight=1.0, out=config.out.with_name("with")), never)
    assert "trained on as well: 1ia1, 1of6, 1s3v, 1uou" in capsys.readouterr().err


def test_a_run_can_start_from_a_weights_file(config: TrainConfig, tmp_path: Path) -> None:
    """Half precision of the file apart, it starts where the other one's average ended, and goes on from there."""
    main(config, never)
    weights = config.out / "weights.safetensors"
    tuned = replace(config, out=tmp_path / "tuned", start=weights, steps=2, learning_rate=1e-9)
    main(tuned, never)
    before, after_ = (load_file(run.out / "weights.safetensors") for run in (config, tuned))
    for name, value in before.items():
        torch.testing.assert_close(after_[name], value, rtol=2e-3, atol=1e-6)
    with pytest.raises(InputError, match="network of other sizes"):
        main(replace(tuned, out=tmp_path / "no", pocket=replace(SMALL, scalars=8)), never)
    assert not (tmp_path / "no").exists()
    options = {"data": config.data[0], "out": tmp_path / "said", "from": weights}
    assert read_settings(TrainConfig, "x", None, [w for k, v in options.items() for w in (f"--{k}", str(v))]).start


def test_a_trained_model_can_be_evaluated(config: TrainConfig) -> None:
    main(config, never)
    model = load_weights(config.out / "weights.safetensors")
    sampler = hand_made_sampler("edm", "ddim", 3, 3.0)
    docked, same = (dock(model, complexes(), sampler, samples=2).positions for _ in range(2))
    assert docked.keys() == set(POSEBUSTERS_NAMES)
    for name, poses in docked.items():
        assert len(poses) == 2
        np.testing.assert_array_equal(poses, same[name])


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        cli(arguments)
    assert stop.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: ")
    return lines[-1]


def test_mistakes_get_one_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    missing = mistake(capsys, "--data", str(tmp_path / "nowhere"), "--out", out)
    assert "nowhere: it is not a folder" in missing
    (tmp_path / "file").write_text("not a folder")
    assert "cannot write there" in mistake(capsys, "--data", str(data), "--out", str(tmp_path / "file" / "run"))
    lists = ("--validation-targets", str(tmp_path / "no list"))
    assert "no list: cannot be read" in mistake(capsys, "--data", str(data), "--out", out, *lists)
    (tmp_path / "all").write_text("\n".join(POSEBUSTERS_NAMES))
    nothing = mistake(capsys, "--data", str(data), "--out", out, "--validation-targets", str(tmp_path / "all"))
    assert "every complex in it belongs to the validation split" in nothing
    for option, values, said in (
        ("steps", ["0"], "steps must be at least 1, got 0"),
        ("learning-rate", ["nan"], "learning_rate must be positive and finite, got nan"),
        ("ema", ["1"], "ema must be in [0, 1), got 1.0"),
        ("embedded-weight", ["-1"], "embedded_weight must be at least 0"),
        ("pseudo-share", ["1.5"], "pseudo_share must be in [0, 1]"),
        ("pockets.point-share", ["2"], "point_share must be in [0, 1]"),
        ("pockets.radii", ["7", "5"], "radii must be two lengths"),
        ("device", ["abacus"], "device is 'abacus', which cannot be used here"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli(["--data", str(data), "--out", out, f"--{option}", *values])
        assert stop.value.code == 2
        assert said in capsys.readouterr().err
    (tmp_path / "typo.yaml").write_text("stepz: 3\n")
    typo = mistake(capsys, "--data", str(data), "--out", out, "--config", str(tmp_path / "typo.yaml"))
    assert "typo.yaml: stepz is unknown" in typo
    assert not Path(out).exists()


def test_settings_come_from_a_yaml_file_and_the_command_line_comes_first(config: TrainConfig, tmp_path: Path) -> None:
    main(replace(config, steps=1), never)
    arguments = ["--config", str(config.out / "config.yaml"), "--out", str(tmp_path / "other"), "--steps", "2"]
    cli([*arguments, "--pocket.dropout", "0.2"])
    expected = replace(config, out=tmp_path / "other", steps=2, pocket=replace(SMALL, dropout=0.2))
    assert read_options(TrainConfig, tmp_path / "other" / "config.yaml") == expected


def test_the_demo_models_settings_can_be_trained_with(tmp_path: Path) -> None:
    """As the model card has them."""
    needed = ["--data", str(tmp_path), "--out", str(tmp_path)]
    found = read_settings(TrainConfig, "x", None, ["--config", str(SHIPPED["demo"].with_name("demo.yaml")), *needed])
    model = load_weights(SHIPPED["demo"])
    assert (found.steps, found.embedded_weight, found.seed) == (14_800, 6.0, 0)
    assert (found.pocket, found.noise) == (model.network.config, model.noise_range)


def test_a_run_of_another_network_is_not_continued(config: TrainConfig) -> None:
    main(config, never)
    before = (config.out / "config.yaml").read_text()
    with pytest.raises(InputError, match="cannot be continued"):
        main(replace(config, pocket=replace(SMALL, scalars=8)), never)
    (config.out / "state.pt").write_text("damaged")
    with pytest.raises(InputError, match="cannot be continued"):
        main(config, never)
    assert (config.out / "config.yaml").read_text() == before


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_saves(data: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Those that draw ahead included, as schedulers send it."""
    out = tmp_path / "run"
    options = {"data": data, "out": out, "steps": 10**6, "validate-every": 5, "complexes": 1, "poses": 1, "threads": 1}
    options["workers"] = 2
    arguments = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    command = [sys.executable, "-m", "domains.docking.train", *arguments, "--pocket.scalars", "16"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 120
        while not (out / "log.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(process.pid, number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "the same command goes on from here" in said
    assert torch.load(out / "state.pt", weights_only=True)["step"] >= 5
    load_weights(out / "weights.safetensors")
