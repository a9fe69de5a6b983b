"""What docking costs: parts add up, ratios are of the files' figures, mistakes get one line."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from benchmarks.speed.__main__ import cli, comparison, read_published
from benchmarks.speed.measure import Cost
from benchmarks.speed.precision import cli as precision_cli
from benchmarks.speed.stopwatch import Stopwatch


def work(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


class Both:
    """A part inside of another."""

    @staticmethod
    def outer() -> str:
        work(0.05)
        Both.inner()
        return "done"

    @staticmethod
    def inner() -> None:
        work(0.15)


def test_a_part_inside_of_another_counts_once() -> None:
    watch = Stopwatch()
    with watch.watching({"outer": [(Both, "outer")], "inner": [(Both, "inner")]}):
        assert Both.outer() == "done"
    assert watch.seconds["outer"] == pytest.approx(0.05, abs=0.02)
    assert watch.seconds["inner"] == pytest.approx(0.15, abs=0.02)
    Both.inner()
    assert watch.seconds["inner"] < 0.2  # it is watched no more


def test_ratios_are_of_ten_poses_at_the_same_time(tmp_path: Path) -> None:
    rows = [{"t": 0.5, "receptor_cached_cpu_s_min": 40.0, "cross_edges_one_direction": 900}]
    content = {"diffdock_l": {"network_eval": rows, "sampling_no_crop": {"est_cpu_full_schedule": 1000.0}}}
    (tmp_path / "timing.json").write_text(json.dumps(content))
    published = read_published(tmp_path / "timing.json")
    costs = [
        Cost(network, kind, poses, t, {"rest": 8.0}, 8.0, 9.0, 800, 1.0)
        for network, kind, poses, t in [
            ("diffdock", "poses", 10, 0.5),
            ("diffdock", "poses", 10, 1.0),
            ("diffdock", "poses", 40, 0.5),
            ("diffdock", "ligands", 10, 0.5),
            ("pocket", "poses", 10, 0.5),
        ]
    ]
    line, whole = comparison(costs, (250.0, 260.0), 20, published)
    assert line == "t = 0.5: 40.0 CPU s published (900 edges), 8.0 here (800 edges): 5.0 times less"
    assert whole == "20 steps: 1000 CPU s published, 250 here: 4.0 times less"
    assert comparison(costs, (250.0, 260.0), 5, published) == [line]


def test_a_run_of_the_small_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "speed.json"
    assert cli(["--networks", "pocket", "--poses", "1", "2", "--times", "0.5", "--out", str(out)]) == 0
    costs = json.loads(out.read_text())["costs"]
    assert [(cost["workload"], cost["poses"]) for cost in costs] == [("poses", 1), ("poses", 2), ("ligands", 2)]
    for cost in costs:
        step = sum(seconds for part, seconds in cost["parts"].items() if part != "encoding")
        assert step == pytest.approx(cost["step_cpu"])
        assert cost["parts"]["kinematics"] > 0
    assert "peak MiB" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--poses", "0"], "--poses: got (0,)"),
        (["--times", "0"], "--times: got (0.0,)"),
        (["--ligand", "nowhere.sdf"], "there is no file nowhere.sdf"),
        (["--against", "nowhere.json"], "nowhere.json: it holds no times of the published code"),
    ],
)
def test_mistakes_get_one_line(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ") and expected in line


def test_what_half_precision_changes(capsys: pytest.CaptureFixture[str]) -> None:
    assert precision_cli(["--nfe", "4", "--samples", "1", "--poses", "0"]) == 0
    lines = {words[1]: words for line in capsys.readouterr().out.splitlines() if len(words := line.split()) > 7}
    assert lines["float32"][3] == "0.0000" and 0 < float(lines["bfloat16"][3]) < 0.5
    assert precision_cli(["--samples", "0"]) == 2
    assert "--samples" in capsys.readouterr().err
