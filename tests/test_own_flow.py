"""`ld3 fit --flow`: a flow that a user has written, in a folder with packages of the names that ours have."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from domains.command import main
from ld3.learn import FitResult

ROOT = Path(__file__).parents[1]

MIXTURE = """
import torch

from helpers import centres
from ld3 import EuclideanFlow, VPLinear


class Mixture(EuclideanFlow):
    sign = 1

    def __init__(self):
        super().__init__(VPLinear(), shape=(2,), dtype=torch.float64)
        self.centres = centres()

    def noise(self, x_t, t):
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        gap, variance = x_t[:, None] - alpha * self.centres, (0.3 * alpha) ** 2 + sigma**2
        share = torch.softmax(-gap.square().sum(-1) / (2 * variance), dim=1)
        return self.sign * sigma / variance * (share[..., None] * gap).sum(1)


class Backwards(Mixture):
    sign = -1


def broken():
    raise RuntimeError("no weights here")


flow = Mixture()
number = 3
"""
CENTRES = """
import torch


def centres():
    return torch.tensor([[2.0, 0.0], [-1.0, 1.5], [-1.0, -1.5]], dtype=torch.float64)
"""
THEIRS = "raise RuntimeError('a package of the same name was imported')\n"
SMALL = ("--pairs", "60", "--steps", "5", "--teacher-nfe", "24", "--nfe", "3")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's folder, with `domains` and `benchmarks` of its own."""
    (tmp_path / "my_flow.py").write_text(MIXTURE)
    (tmp_path / "helpers.py").write_text(CENTRES)
    for name in ("domains", "benchmarks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(THEIRS)
    return tmp_path


def ld3(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command in the user's folder, which is first on the path as well."""
    environment = {**os.environ, "PYTHONPATH": f"{project}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "ld3_command", *words],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["my_flow:Mixture", "my_flow.py:flow"])
def test_a_flow_is_fitted_where_its_folder_has_packages_of_our_names(project: Path, name: str) -> None:
    ran = ld3(project, "fit", "--flow", name, "--out", "fit.json", *SMALL)
    assert ran.returncode == 0, ran.stderr
    assert "laws hold" in ran.stderr
    assert "network evaluations of 60 pairs" in ran.stderr
    distances = dict(re.findall(r"^(teacher|this fit|edm|\w+).* calls +(\S+) to", ran.stdout, flags=re.MULTILINE))
    assert float(distances["teacher"]) < float(distances["this fit"])
    assert "final test" in ran.stdout
    fit = FitResult.load(project / "fit.json")
    assert fit.about["model"] == name
    assert fit.nfe == 3
    again = ld3(project, "fit", "--flow", name, "--out", "fit.json", *SMALL)
    assert again.returncode == 0
    assert FitResult.load(project / "fit.json").seconds == fit.seconds  # read back, not computed again


REFUSED = [
    ("my_flow:Backwards", "displacement denoises: the noise has the wrong sign"),
    ("my_flow:broken", "broken() fails: RuntimeError: no weights here"),
    ("my_flow:number", "number is a int, no flow"),
    ("my_flow:Missing", "the classes of flows in it are: Backwards, Mixture"),
    ("nowhere:Mixture", "there is no module nowhere"),
    ("nowhere.py:Mixture", "there is no file nowhere.py"),
    ("my_flow", "give my_module:MyFlow"),
    ("torn.py:flow", "torn.py cannot be imported: ZeroDivisionError: division by zero"),
    ("theirs.py:flow", "domains is a package of ld3: give yours another name"),
]


@pytest.mark.parametrize(("name", "why"), REFUSED, ids=[name for name, _ in REFUSED])
def test_what_is_no_flow_is_refused_in_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, why: str
) -> None:
    (project / "torn.py").write_text("1 / 0\n")
    (project / "theirs.py").write_text("from domains.their_flows import flow\n")
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    try:
        assert main(["fit", "--flow", name, "--out", "fit.json", *SMALL]) == 2
    finally:
        for module in set(sys.modules) - before:
            if module in ("my_flow", "helpers", "torn", "theirs"):
                del sys.modules[module]
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert why in line
    assert not (project / "fit.json").exists()


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--nfe", "1", "--solver", "heun"], "nfe"),
        (["--solver", "rk4"], "--solver: name must be one of"),
        (["--out", "fit.txt"], "--out: got fit.txt"),
        (["--pairs", "10"], "--pairs: got 10"),
        (["--minutes", "1e-9"], "--minutes must be at least"),
    ],
)
def test_options_are_refused_before_anything_is_computed(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: list[str], why: str
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["fit", "--flow", "my_flow.py:flow", "--out", "fit.json", *SMALL, *more]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert why in line
    assert not (project / "fit.json").exists()
