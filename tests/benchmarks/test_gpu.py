"""The measurement on a GPU: without one it says so; its parts run on a CPU at toy size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.__main__ import NO_GPU, Options, main, parts, table, write
from domains import docking
from domains.images.edm.denoiser import DenoiserConfig
from domains.images.edm.network import NetworkConfig

SMALL = NetworkConfig(resolution=8, width=8, multipliers=(1, 1), blocks=1, attention=(4,), augmentations=0)
TOY = DenoiserConfig(SMALL)


def test_without_a_gpu_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["--out", str(tmp_path / "gpu.json")]) == NO_GPU
    (line,) = capsys.readouterr().err.splitlines()
    assert "nothing was measured" in line
    assert not (tmp_path / "gpu.json").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the teacher is .* from twice its steps")
def test_every_part_runs_at_toy_size(tmp_path: Path) -> None:
    options = Options(minutes=0.1, nfe=(4,), pairs=10, batch=4, poses=(1,))
    complexes, _ = docking.read(None)
    rows = []
    for _, work in parts(options, "cpu", TOY, complexes[:1]):
        rows += work()
    found = {row.what: row for row in rows}
    assert set(found) == {
        "docking network pocket",
        "docking network diffdock",
        "docking training",
        "image training",
        "image network",
        "fit at 4 evaluations",
    }
    assert all(row.value > 0 for row in rows)
    assert "10 pairs" in found["fit at 4 evaluations"].detail
    assert len(table(rows).splitlines()) == 2 + len(rows)
    write(tmp_path / "a" / "gpu.json", "a card", options, rows, ["more"])
    content = json.loads((tmp_path / "a" / "gpu.json").read_text())
    assert (content["card"], len(content["rows"]), content["left_out"]) == ("a card", len(rows), ["more"])
