"""The study of top-1 by total budget, at toy size, and its table."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from benchmark_runs import write_complexes, write_weights

from benchmarks.experiments.budget import KNOWN, UNSEEN, main
from domains.docking.structures.text_files import read_names
from domains.docking.training.data import SPLITS


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """1of6 under the name of a held-out ligand, 1uou under that of a protein of the unseen clusters."""
    written = write_complexes(tmp_path / "written", "1of6", "1uou")
    series, ligand = sorted(read_names(SPLITS / "validation_ligands.txt"))[0].split("/")
    protein = sorted(read_names(SPLITS / "validation_clusters.txt"))[0]
    data = tmp_path / "data"
    shutil.copytree(written / "1of6", data / series)
    shutil.copytree(written / "1uou", data / protein)
    sdf = data / series / "ligands.sdf"
    sdf.write_text("\n".join([ligand, *sdf.read_text().split("\n")[1:]]))
    weights = write_weights(tmp_path / "model.safetensors")
    words = ["--complexes", str(data), "--weights", str(weights), "--out", str(tmp_path / "out")]
    numbers = ["--budgets", "20", "40", "--nfe", "2", "4", "--long-nfe", "25", "--refinement-steps", "1"]
    return [*words, *numbers, "--score-scales", "1"]


@pytest.mark.slow
def test_a_budget_pays_for_many_short_or_few_long_runs(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    first = json.loads((tmp_path / "out/results.json").read_text())
    assert first["complete"]
    samples = {(r["of"], r["name"], r["score_scale"], r["nfe"], r["budget"]): r["samples"] for r in first["rows"]}
    for of in (KNOWN, UNSEEN):
        assert samples[of, "edm", 2.0, 2, 40] == 20
        assert samples[of, "edm", 1.0, 4, 20] == 5
        assert samples[of, "edm", 2.0, 25, 40] == 1
        assert (of, "edm", 2.0, 25, 20) not in samples  # it does not pay for one
        assert samples[of, "diffdock_sde", 1.0, 19, 40] == 2
    assert not [key for key in samples if key[1] == "learned"]  # no grid lies beside these weights
    table = capsys.readouterr().out
    assert "| edm | 2 | 25 | - | " in table
    for row in first["rows"]:
        assert row["first"][0] <= row["best"][0]
        if row["samples"] == 1:
            assert row["mean"] == row["by_consensus"]
    assert main(arguments) == 0  # goes on where all is done
    again = json.loads((tmp_path / "out/results.json").read_text())
    assert again["rows"] == first["rows"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (["--budgets", "3"], "--budgets: got 3"),
        (["--pocket", "there"], "--pocket: pocket is 'there'"),
        (["--nfe", "0"], "--nfe"),
    ],
)
def test_mistakes_get_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str], change: list[str], expected: str
) -> None:
    assert main([*arguments, *change]) == 2
    assert expected in capsys.readouterr().err
