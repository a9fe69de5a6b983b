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

from benchmarks.experiments.networks import (
    Options,
    block,
    compare,
    config_of,
    curve,
    difference_of,
    main,
    milliseconds,
    planned_steps,
    sampler_of,
    train_for,
)
from benchmarks.experiments.study import defaults
from domains.docking.networks.pocket_net import PocketNet
from domains.docking.poses.diffusion import NoiseRange
from domains.docking.score_scale import Row, best_of
from domains.docking.train import ValidationSet
from domains.docking.training.config import TrainConfig
from domains.docking.training.data import Split
from domains.docking.training.run import Run, learning_rate, new_run
from domains.progress import WorkProgress

BEGIN, END = "<!-- table: networks -->", "<!-- end of table: networks -->"


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """The four complexes of the posebusters package as a data folder; 1ia1's and 1of6's ligands are held out."""
    names = []
    for complex_ in complexes():
        place = tmp_path / "data" / complex_.name
        place.mkdir(parents=True)
        ligand = complex_.protein.path.with_name(f"{complex_.name}_ligand.sdf")
        (place / "protein.pdb").symlink_to(complex_.protein.path)
        (place / "ligands.sdf").symlink_to(ligand)
        names.append(f"{complex_.name}/{ligand.read_text().splitlines()[0].strip()}")
    (tmp_path / "ligands.txt").write_text("\n".join(names[:2]))
    (tmp_path / "targets.txt").write_text("1uou\n")
    return replace(
        defaults(Options, "networks"),
        data=tmp_path / "data",
        out=tmp_path / "out",
        pocket=SMALL,
        diffdock=SMALL_DIFFDOCK,
        step_complexes=1,
        step_poses=1,
        minutes=0.01,
        score_scale=(1.0, 3.0),
        chosen_on=1,
        poses=2,
        nfe=3,
        validation_ligands=tmp_path / "ligands.txt",
        validation_targets=tmp_path / "targets.txt",
        page=tmp_path / "page.md",
    )


def ticking() -> Callable[[], float]:
    """A CPU clock that is one second on each time that it is read."""
    ticks = itertools.count()
    return lambda: float(next(ticks))


def never() -> bool:
    return False


def after(steps: int) -> Callable[[], bool]:
    left: Iterator[bool] = itertools.chain([False] * steps, itertools.repeat(True))
    return lambda: next(left)


def quiet() -> Console:
    return Console(file=io.StringIO())


def train(config: TrainConfig, budget: float, stop: Callable[[], bool] = never) -> Run:
    """Every step takes a second."""
    parts = Split(complexes()[:3], (), ())
    validation = {"ligands": ValidationSet.of(complexes()[3:])}
    sampler, bar = sampler_of(parts, [], config), WorkProgress(quiet(), {})
    return train_for(budget, config, sampler, validation, stop, quiet(), bar, ticking())


def test_training_ends_with_its_budget_however_often_it_is_stopped(options: Options) -> None:
    """Ten steps of a second each, in one sitting and in three; losses of validation complexes at every quarter."""
    config = config_of(options, "pocket")
    run = train(config, 10.0)
    assert (run.step, run.seconds) == (10, 10.0)
    steps = [row["step"] for row in curve(config)]
    assert steps == [3, 5, 8, 10]
    again = replace(config, out=config.out.with_name("again"))
    for stop in (after(4), after(3)):
        with pytest.raises(KeyboardInterrupt):
            train(again, 10.0, stop)
    assert train(again, 10.0).step == 10
    assert [row["step"] for row in curve(again)] == steps
    states = [load_file(c.out / "weights.safetensors") for c in (config, again)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_learning_rate_falls_by_the_share_of_the_budget_that_is_left(options: Options) -> None:
    config = config_of(options, "pocket")
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


def test_a_comparison_that_is_interrupted_goes_on(options: Options) -> None:
    """Stopped in the second training; what the first has learned stays, and the third call computes nothing again."""
    assert options.page is not None
    options.page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    first = config_of(options, "pocket")
    with pytest.raises(KeyboardInterrupt):
        compare(options, quiet(), lambda: (first.out / "weights.safetensors").exists())
    before = load_file(first.out / "weights.safetensors")
    assert not (options.out / "results.json").exists()
    assert compare(options, quiet()) == 0
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
    assert options.page.read_text() == f"before\n{BEGIN}\n\n{block(options, results)}\n\n{END}\nafter\n"
    # Wall times of docking tell that nothing was docked again, and CPU seconds that nothing was trained again.
    assert compare(options, quiet()) == 0
    again = json.loads((options.out / "results.json").read_text())
    for figure in ("best", "plain", "choice", "training_seconds", "steps", "losses"):
        assert [r[figure] for r in again["rows"]] == [r[figure] for r in results["rows"]]
    after_all = load_file(first.out / "weights.safetensors")
    assert all(torch.equal(before[name], after_all[name]) for name in before)
    with pytest.raises(KeyboardInterrupt):  # docking stops as well
        compare(replace(options, nfe=4), quiet(), lambda: True)


def test_times_are_per_pose_and_per_complex() -> None:
    """A second between two readings of the clock: one for four encodings, one for eight evaluations."""
    validation = ValidationSet.of(complexes())
    found = milliseconds(PocketNet(SMALL).eval(), validation, NoiseRange(), 0, ticking())
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


def test_the_difference_is_paired() -> None:
    """Each of ten ligands is docked in 3 of 4 poses by one and in 1 of 4 by the other: no spread between ligands."""
    a = {str(i): np.array([1.0, 1.0, 1.0, 9.0]) for i in range(10)}
    b = {str(i): np.array([1.0, 9.0, np.nan, 9.0]) for i in range(10)}
    found = difference_of(a, b, 0)
    assert found.estimate == 0.5
    assert 0.3 < found.low < 0.5 < found.high < 0.7


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
    return {
        "rows": [row, row | {"network": "diffdock", "chosen": 5.0}],
        "differences": [{"first": "pocket", "second": "diffdock", "points": 0.125, "interval": [-0.05, 0.3]}],
        "chosen_on": ["a", "b"],
        "reported": ["c", "d", "e"],
    }


def test_the_page_has_the_figures_and_their_command() -> None:
    usual = replace(defaults(Options, "networks"), data=Path("d"), minutes=8.0, score_scale=(1.0, 3.0))
    text = block(usual, results())
    lines = text.splitlines()
    for expected in (
        "|  | pocket | diffdock |",
        "| parameters | 1,234,567 | 1,234,567 |",
        "| training, CPU seconds | 480 | 480 |",
        "| ms per evaluation and pose | 4.1 | 4.1 |",
        "| denoising loss, validation ligands: tr | 0.250 | 0.250 |",
        "| denoising loss, unseen targets: tor | 1.500 | 1.500 |",
        "| score scale chosen | 3 | 5 |",
        "| within 2 Å | 50% (40-60) | 50% (40-60) |",
        "| best of 2 within 2 Å | 60% (50-70) | 60% (50-70) |",
        "| distinct poses of 2 (1 Å) | 2.5 | 2.5 |",
        "| within 2 Å at score scale 1 | 25% (15-35) | 25% (15-35) |",
        "| poses within 2 Å per CPU hour of docking | 22,167 | 22,167 |",
        "Within 2 Å, pocket minus diffdock, paired, points: +12.5 [-5.0, +30.0].",
    ):
        assert expected in lines
    assert "`python -m benchmarks.experiments.networks --data d --minutes 8.0 --score-scale 1.0 3.0`" in text
    assert "3 validation ligands x 2 poses" in text


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
    assert main([*arguments, *change]) == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]
