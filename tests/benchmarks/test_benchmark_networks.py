"""The comparison of networks: equal CPU time, interruptions, figures, the page."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from docking_models import SMALL, SMALL_DIFFDOCK, complexes
from rich.console import Console
from safetensors.torch import load_file

from benchmarks.common.store import Store
from benchmarks.experiments import networks as docking_networks
from benchmarks.experiments import networks_page as network_page
from benchmarks.experiments import networks_rows as network_rows
from benchmarks.experiments import networks_training as network_training
from benchmarks.experiments.networks import CANNOT_RUN, compare, main
from benchmarks.experiments.networks_options import Options, config_of, sampler_of
from benchmarks.experiments.networks_page import block, put_table
from benchmarks.experiments.networks_rows import difference, milliseconds, redock
from benchmarks.experiments.networks_training import planned_steps, train_for
from domains.docking.engine import dock, hand_made_sampler
from domains.docking.networks.pocket_net import PocketNet
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.diffusion import NoiseRange
from domains.docking.score_scale import Row, best_of
from domains.docking.train import ValidationSet
from domains.docking.training.config import TrainConfig
from domains.docking.training.data import Split
from domains.docking.training.run import Run, learning_rate, new_run

BEGIN, END = "<!-- table: networks -->", "<!-- end of table: networks -->"


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """The four complexes of the posebusters package as a data folder; 1ia1's and 1of6's ligands are held out."""
    names = []
    for complex_ in complexes():
        place = tmp_path / "data" / complex_.name
        place.mkdir(parents=True)
        ligand = complex_.protein_path.with_name(f"{complex_.name}_ligand.sdf")
        (place / "protein.pdb").symlink_to(complex_.protein_path)
        (place / "ligands.sdf").symlink_to(ligand)
        names.append(f"{complex_.name}/{ligand.read_text().splitlines()[0].strip()}")
    (tmp_path / "ligands.txt").write_text("\n".join(names[:2]))
    (tmp_path / "targets.txt").write_text("1uou\n")
    return Options(
        tmp_path / "data",
        tmp_path / "out",
        minutes=0.01,
        score_scale=(1.0, 3.0),
        chosen_on=1,
        poses=2,
        nfe=3,
        validation_ligands=tmp_path / "ligands.txt",
        validation_targets=tmp_path / "targets.txt",
        page=tmp_path / "page.md",
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU clock that is one second on each time that it is read."""
    ticks = itertools.count()
    monkeypatch.setattr(network_training.time, "process_time", lambda: float(next(ticks)))


def small(config: TrainConfig) -> TrainConfig:
    return replace(config, pocket=SMALL, diffdock=SMALL_DIFFDOCK, complexes=1, poses=1)


@pytest.fixture
def _small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docking_networks, "config_of", lambda *given: small(config_of(*given)))


def never() -> bool:
    return False


def after(steps: int) -> Callable[[], bool]:
    left: Iterator[bool] = itertools.chain([False] * steps, itertools.repeat(True))
    return lambda: next(left)


def quiet() -> Console:
    return Console(file=io.StringIO())


def train(config: TrainConfig, budget: float, stop: Callable[[], bool] = never) -> Run:
    parts = Split(complexes()[:3], (), ())
    held = {"ligands": ValidationSet.of(complexes()[3:])}
    return train_for(budget, config, sampler_of(parts, [], config), held, stop, quiet())


@pytest.mark.usefixtures("clock")
def test_training_ends_with_its_budget_however_often_it_is_stopped(options: Options) -> None:
    """Ten steps of a second each, in one sitting and in three; losses of held-out complexes at every quarter."""
    config = small(config_of(options, "pocket"))
    run = train(config, 10.0)
    assert (run.step, run.seconds) == (10, 10.0)
    steps = [row["step"] for row in network_training.curve(config)]
    assert steps == [3, 5, 8, 10]
    again = replace(config, out=config.out.with_name("again"))
    for stop in (after(4), after(3), never):
        run = train(again, 10.0, stop)
    assert run.step == 10
    assert [row["step"] for row in network_training.curve(again)] == steps
    states = [load_file(c.out / "weights.safetensors") for c in (config, again)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_learning_rate_falls_by_the_share_of_the_budget_that_is_left(options: Options) -> None:
    config = small(config_of(options, "pocket"))
    run = new_run(config)
    assert planned_steps(run, 60.0) > 10**6
    run.step, run.seconds = 300, 30.0
    assert planned_steps(run, 60.0) == 600
    run.step, run.seconds = 900, 54.0  # it has become faster
    planned = planned_steps(run, 60.0)
    assert planned == 1000
    assert learning_rate(run.step, replace(config, steps=planned)) == pytest.approx(config.learning_rate * 0.1 / 0.3)
    run.seconds = 59.99
    assert planned_steps(run, 60.0) == 901


def test_folders_are_named_by_what_the_training_depends_on(options: Options) -> None:
    changes: list[dict[str, Any]] = [{}, {"minutes": 1.0}, {"seed": 1}, {"warm_up": 7}, {"data": Path("elsewhere")}]
    folders = [config_of(replace(options, **change), name).out for change in changes for name in ("pocket", "diffdock")]
    assert len(set(folders)) == 10
    assert config_of(replace(options, nfe=9, poses=1), "pocket").out == folders[0]


@pytest.mark.usefixtures("_small_networks")
def test_a_comparison_that_is_interrupted_goes_on(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the second training; what the first has learned stays, and the third call computes nothing again."""
    assert options.page is not None
    options.page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    first = small(config_of(options, "pocket"))
    assert not compare(options, lambda: (first.out / "weights.safetensors").exists(), quiet())
    before = load_file(first.out / "weights.safetensors")
    assert not (options.out / "results.json").exists()
    assert compare(options, never, quiet())
    results = json.loads((options.out / "results.json").read_text())
    assert [row["network"] for row in results["rows"]] == ["pocket", "diffdock"]
    assert all(row["training_seconds"] >= 0.6 for row in results["rows"])
    assert (len(results["chosen_on"]), len(results["reported"])) == (1, 1)
    assert results["chosen_on"] != results["reported"]
    assert set(results["rows"][0]["losses"]) == {
        f"{s}/{f}" for s in ("ligands", "targets") for f in ("tr", "rot", "tor")
    }
    row = results["rows"][1]
    assert row["best"]["score_scale"] == row["chosen"] == best_of([Row(**r) for r in row["choice"]]).score_scale
    assert row["hits_per_cpu_hour"] == pytest.approx(row["best"]["success_2A"] / (3 * row["ms_per_evaluation"] / 3.6e6))
    assert options.page.read_text() == f"before\n{BEGIN}\n\n{block(results)}\n\n{END}\nafter\n"

    def refuse(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(network_rows, "redock", refuse)
    monkeypatch.setattr(network_training, "train_step", refuse)
    assert compare(options, never, quiet())
    again = json.loads((options.out / "results.json").read_text())
    assert [r["best"]["success_2A"] for r in again["rows"]] == [r["best"]["success_2A"] for r in results["rows"]]
    after_all = load_file(first.out / "weights.safetensors")
    assert all(torch.equal(before[name], after_all[name]) for name in before)


def test_redocking_is_kept_with_what_it_depends_on(tmp_path: Path) -> None:
    model = DockingModel(PocketNet(SMALL).eval(), NoiseRange(), 1.0)
    found = [redock(model, complexes()[:2], c, 3, 2, 5, Store(tmp_path)) for c in (1.0, 4.0, 1.0)]
    sampler = hand_made_sampler("edm", "dpmpp_2m", 3, 4.0)
    for name, poses in dock(model, complexes()[:2], sampler, samples=2, seed=5).positions.items():
        np.testing.assert_array_equal(found[1].positions[name], poses)
    assert found[0].ms_per_pose == found[2].ms_per_pose != found[1].ms_per_pose
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.usefixtures("clock")
def test_times_are_per_pose_and_per_complex() -> None:
    """A second between two readings of the clock: one for four encodings, one for eight evaluations."""
    held = ValidationSet.of(complexes())
    found = milliseconds(PocketNet(SMALL).eval(), held, NoiseRange(), 0)
    assert found == (1000 / 8, 1000 / 4)


def line(c: float, rate: float, median: float = 3.0) -> dict[str, Any]:
    return {
        "sampler": "edm",
        "score_scale": c,
        "success_2A": rate,
        "success_2A_interval": [rate - 0.1, rate + 0.1],
        "best_2A": rate + 0.1,
        "best_2A_interval": [rate, rate + 0.2],
        "distinct": 2.5,
        "success_5A": rate + 0.2,
        "success_5A_interval": [rate, rate + 0.3],
        "median_rmsd": median,
        "failed": 0,
        "ms_per_pose": 100.0,
    }


def test_the_best_score_scale_has_the_most_hits_and_then_the_lowest_median() -> None:
    rows = [Row(**line(*given)) for given in ((1.0, 0.3, 1.0), (3.0, 0.4, 3.0), (5.0, 0.4, 2.0))]
    assert best_of(rows).score_scale == 5.0


def test_the_difference_is_paired() -> None:
    """Each of ten ligands is docked in 3 of 4 poses by one and in 1 of 4 by the other: no spread between ligands."""
    a = {str(i): np.array([1.0, 1.0, 1.0, 9.0]) for i in range(10)}
    b = {str(i): np.array([1.0, 9.0, np.nan, 9.0]) for i in range(10)}
    found = difference("a", a, "b", b, 0)
    assert (found.first, found.second, found.points) == ("a", "b", 0.5)
    assert 0.3 < found.interval[0] < 0.5 < found.interval[1] < 0.7


def results() -> dict[str, Any]:
    """As far as the page needs it, of made-up figures."""
    row = {
        "network": "pocket",
        "parameters": 1234567,
        "steps": 1700,
        "training_seconds": 480.4,
        "ms_per_evaluation": 4.06,
        "ms_per_encoding": 9.0,
        "losses": {"ligands/tr": 0.25, "targets/tor": 1.5},
        "chosen": 3.0,
        "best": line(3.0, 0.5),
        "plain": line(1.0, 0.25),
        "hits_per_cpu_hour": 22167.4,
    }
    config = {"data": "d", "minutes": 8.0, "nfe": 20, "poses": 2, "seed": 0, "out": "o", "page": "p.md"}
    return {
        "config": {**config, "score_scale": [1.0, 3.0]},
        "rows": [row, row | {"network": "diffdock", "chosen": 5.0}],
        "differences": [{"first": "pocket", "second": "diffdock", "points": 0.125, "interval": [-0.05, 0.3]}],
        "chosen_on": ["a", "b"],
        "reported": ["c", "d", "e"],
    }


def test_the_page_has_the_figures_and_their_command(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\nold\n{END}\nprose\n")
    put_table(page, results())
    text = page.read_text()
    assert text.endswith(f"{END}\nprose\n")
    assert "old" not in text
    lines = text.splitlines()
    for expected in (
        "|  | pocket | diffdock |",
        "| parameters | 1,234,567 | 1,234,567 |",
        "| training, CPU seconds | 480 | 480 |",
        "| ms per evaluation and pose | 4.1 | 4.1 |",
        "| denoising loss, held-out ligands: tr | 0.250 | 0.250 |",
        "| denoising loss, unseen targets: tor | 1.500 | 1.500 |",
        "| score scale chosen | 3 | 5 |",
        "| within 2 Å | 50% (40-60) | 50% (40-60) |",
        "| within 2 Å at score scale 1 | 25% (15-35) | 25% (15-35) |",
        "| poses within 2 Å per CPU hour of docking | 22,167 | 22,167 |",
        "Within 2 Å, pocket minus diffdock, paired: +12.5 points [-5.0, +30.0].",
    ):
        assert expected in lines
    options = "--data d --minutes 8.0 --nfe 20 --poses 2 --seed 0 --out o --page p.md"
    command = f"`python -m benchmarks.experiments.networks {options}`"
    assert f"Made by {command}" in text
    assert "3 held-out ligands x 2 poses" in text


def test_the_committed_page_has_the_markers() -> None:
    text = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()
    assert text.count(BEGIN) == text.count(END) == 1
    assert network_page.BLOCK in BEGIN


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (["--minutes", "0"], "--minutes: got 0"),
        (["--chosen-on", "2"], "--chosen-on: got 2, and 2 ligands are held out"),
        (["--score-scale", "-1"], "--score-scale: got (-1.0,)"),
        (["--networks", "pocket", "pocket"], "--networks: got pocket pocket"),
        (["--data", "nowhere"], "nowhere: it is not a folder"),
    ],
)
def test_mistakes_get_one_line(
    options: Options, capsys: pytest.CaptureFixture[str], change: list[str], complaint: str
) -> None:
    given = {"data": options.data, "out": options.out, "validation-ligands": options.validation_ligands}
    given |= {"validation-targets": options.validation_targets}
    arguments = [word for key, value in given.items() for word in (f"--{key}", str(value))]
    assert main([*arguments, *change]) == CANNOT_RUN
    assert complaint in capsys.readouterr().err.splitlines()[-1]
