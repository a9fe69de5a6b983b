"""What was read with a remark reaches the complexes, the screen and the result files."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from benchmark_runs import write_complexes, write_weights
from rich.console import Console

from benchmarks.docking.__main__ import main
from domains import docking
from domains.docking.samplers import hand_made_sampler
from domains.docking.structures.complexes import Complex
from domains.docking.structures.remarks import print_reading, remark_lines
from domains.errors import InputProblem


@pytest.fixture(scope="module")
def packaged() -> list[Complex]:
    return docking.read()[0]


def test_a_complex_carries_what_was_kept_and_dropped(packaged: list[Complex]) -> None:
    (reductase,) = (c for c in packaged if c.name == "1ia1")
    (line,) = reductase.remarks
    assert line.startswith("1ia1_protein_one_lig_removed.pdb: kept TQ3, 2 NDP")


def test_each_remark_is_a_line_that_names_its_complexes(packaged: list[Complex]) -> None:
    names = {"a/1": ("one",), "a/2": ("one", "two"), "b": (), "c": ("one",), "d": ("one",), "e": ("one",)}
    complexes = [replace(packaged[0], name=name, remarks=remarks) for name, remarks in names.items()]
    assert remark_lines(complexes) == ["a/1, a/2, c and 2 more: one", "a/2: two"]
    out = io.StringIO()
    problem = InputProblem("x.pdb", "line 3", "it is [odd]", "mend it")
    print_reading(complexes, [problem], Console(file=out, width=20))
    assert out.getvalue().splitlines() == [
        "warning: x.pdb, line 3: it is [odd]; mend it",
        "note: a/1, a/2, c and 2 more: one",
        "note: a/2: two",
    ]


def test_of_many_remarks_a_file_has_all_and_the_screen_the_first(packaged: list[Complex], tmp_path: Path) -> None:
    many = [replace(packaged[0], name=f"c{i}", remarks=(f"remark {i}",)) for i in range(15)]
    problem = InputProblem("x.pdb", "line 3", "it is odd", "mend it")
    out, kept = io.StringIO(), tmp_path / "remarks.txt"
    print_reading(many, [problem], Console(file=out, width=20), keep=kept)
    shown = out.getvalue().splitlines()
    assert kept.read_text().splitlines() == [
        "warning: x.pdb, line 3: it is odd; mend it",
        *(f"note: c{i}: remark {i}" for i in range(15)),
    ]
    assert shown[:11] == kept.read_text().splitlines()[:11]
    assert shown[11:] == [f"note: 5 more remarks on what was read are in {kept}"]


def test_result_files_hold_the_remarks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_complexes(tmp_path / "set", "1ia1")
    weights = write_weights(tmp_path / "model.safetensors")
    (found,), _ = docking.read(tmp_path / "set")
    assert "2 NDP" in found.remarks[0]
    docking.dock(docking.load_model(weights), [found], hand_made_sampler("edm", "dpmpp_2m", 2), samples=1).write(
        tmp_path / "out"
    )
    content = json.loads((tmp_path / "out" / "poses.json").read_text())
    assert content["complexes"]["1ia1/1ia1"]["remarks"] == list(found.remarks)
    options = ["--nfe", "2", "--teacher-nfe", "4", "--samples", "1", "--posebusters", "0", "--out", str(tmp_path / "b")]
    assert main([*options, "--weights", str(weights), "--complexes", str(tmp_path / "set")]) == 0
    assert f"note: 1ia1/1ia1: {found.remarks[0]}" in capsys.readouterr().err
    (entry,) = json.loads((tmp_path / "b" / "results.json").read_text())["complexes"]
    assert entry["remarks"] == list(found.remarks)
