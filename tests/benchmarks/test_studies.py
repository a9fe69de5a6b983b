"""What all studies share: options from YAML files, what is kept, commands that make figures again, how a study ends."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import pytest
import torch
import tyro
from flows import GaussianFlow
from rich.console import Console

from benchmarks.common.store import Store
from benchmarks.experiments import ball, coefficients, losses, warp
from benchmarks.experiments.reference_case import fits as reference_case
from benchmarks.experiments.reference_case import same_pairs
from benchmarks.experiments.study import Kept, command_line, defaults, gits_jumps, run_study, write_results
from domains.progress import WorkProgress
from ld3 import VPLinear

STUDIES: dict[str, Any] = {
    "ball": ball.Options,
    "coefficients": coefficients.Options,
    "few_evaluations": same_pairs.SamePairs,
    "losses": losses.Options,
    "reference_case": reference_case.Options,
    "warp": warp.Options,
}


@pytest.mark.parametrize("name", STUDIES)
def test_a_command_makes_the_options_again(name: str) -> None:
    """Defaults are left out, and so is where figures are written."""
    usual = defaults(STUDIES[name], name)
    module = f"benchmarks.experiments.{name}"
    assert command_line(name, replace(usual, out=Path("elsewhere"))) == f"python -m {module}"
    changed = replace(usual, nfe=(3, 9), seeds=(7, 8), fit=replace(usual.fit, learning_rate=0.25, checkpoint=True))
    line = command_line(name, changed)
    assert line.startswith(f"python -m {module} ")
    assert tyro.cli(STUDIES[name], args=shlex.split(line)[3:], default=usual) == changed


def test_kept_figures_belong_to_all_that_they_depend_on(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> int:
        made.append(len(made))
        return made[-1]

    for _ in range(2):
        for common in ("a", "b"):
            kept = Kept(Store(tmp_path), common)
            assert [kept("x", inputs, make) for inputs in (1, 2)] == ([0, 1] if common == "a" else [2, 3])
        assert kept("y", 1, make) == 4
    assert made == [0, 1, 2, 3, 4]


@dataclass(frozen=True)
class Options:
    out: Path
    nfe: tuple[int, ...] = (5,)


def test_results_say_what_they_were_made_with(tmp_path: Path) -> None:
    write_results(tmp_path, "some.study", Options(tmp_path), ("torch",), complete=True, rows=[{"mse": inf}])
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["config"] == {"out": str(tmp_path), "nfe": [5]}
    assert found["versions"]["torch"] == torch.__version__
    assert (found["schema"], found["rows"], found["complete"]) == ("some.study", [{"mse": None}], True)
    assert found["machine"]["threads"] == torch.get_num_threads()


def raising(error: BaseException) -> Callable[[ball.Options, Console], int]:
    def work(options: ball.Options, log: Console) -> int:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "stopped; the same command goes on from here ({out})"),
        (
            torch.OutOfMemoryError("CUDA out of memory"),
            2,
            "error: memory ran out; learn less; what was computed so far is kept in {out}",
        ),
        (ValueError("samples must\nstay finite"), 2, "error: samples must stay finite"),
        (OSError(28, "No space", "x.json"), 2, "error: [Errno 28] No space: 'x.json'"),
    ],
)
def test_a_study_that_cannot_go_on_says_so_in_one_line(
    error: BaseException, status: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--out", str(tmp_path)]
    assert run_study("ball", ball.Options, raising(error), None, arguments, "learn less") == status
    assert capsys.readouterr().err.splitlines() == [said.format(out=tmp_path)]


def test_a_mistake_of_ours_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a mistake"):
        run_study("ball", ball.Options, raising(RuntimeError("a mistake")), None, ["--out", str(tmp_path)])


def test_gits_has_as_many_fine_steps_as_its_grids_need() -> None:
    """The paper's 60, and more for grids that would not be found among them."""
    flow = GaussianFlow(VPLinear())
    start = flow.prior(2, torch.Generator().manual_seed(0))
    with WorkProgress(Console(file=io.StringIO()), {"gits": 1.0}, {}) as bar:
        assert gits_jumps(flow, start, 5, bar).fine.n_steps == 60
        assert gits_jumps(flow, start, 61, bar).grid(61).n_steps == 61
