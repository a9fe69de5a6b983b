"""`ld3 grids`: what a folder of fits says, and which of them are refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from fits import SD, saved_fit

from domains.command import main
from domains.schedule_record import schedule_hash, schedule_record
from ld3 import EDM, Clock, RectifiedFlow, VPSteps
from ld3.learn import FitResult
from ld3.schedules import Schedule

PROMPTED: dict[str, Any] = {
    "prompts": 2,
    "prompts_hash": "abc",
    "guidance": 5.0,
    "negative_prompt": None,
    "resolution": 512,
}


def grid(folder: Path, name: str, schedule: Schedule = SD, **about: object) -> FitResult:
    words = {"model": "runs/sd", "network": "0123456789abcdef", "network_calls": 4}
    fit = saved_fit(schedule, "ddim")
    fit = dataclasses.replace(fit, about={**words, **schedule_record(Clock({"x": schedule})), **about})
    fit.save(folder / name)
    return fit


def test_the_list_is_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit = grid(tmp_path, "a.json", **PROMPTED)
    grid(tmp_path, "b.json", RectifiedFlow(), network_calls=5)
    assert main(["grids", "list", str(tmp_path)]) == 0
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.split()[:2] == ["file", "model"]
    assert first.startswith("a.json")
    for word in (
        "runs/sd (0123456789abcdef)",
        "ddim",
        "2 (abc)",
        "512",
        str(fit.about["schedule_hash"]),
        "0.2 by hand",
    ):
        assert word in first
    assert second.split()[:5] == ["b.json", "runs/sd", "(0123456789abcdef)", "ddim", "5"]


def spoilt(path: Path, **about: object) -> None:
    content = json.loads(path.read_text())
    content["about"].update(about)
    path.write_text(json.dumps(content))


def test_what_is_not_what_it_says_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid(tmp_path, "good.json", **PROMPTED)
    grid(tmp_path, "hash.json")
    spoilt(tmp_path / "hash.json", schedule_hash=schedule_hash({"x": VPSteps("linear")}))
    grid(tmp_path, "levels.json")
    spoilt(tmp_path / "levels.json", **schedule_record(Clock({"x": VPSteps("linear")})))
    grid(tmp_path, "silent.json", **{name: value for name, value in PROMPTED.items() if name != "guidance"})
    saved_fit(SD, "ddim").save(tmp_path / "bare.json")
    (tmp_path / "torn.json").write_text('{"schema": "ld3.fit"')
    assert main(["grids", "check", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"{tmp_path / 'good.json'}: ok"]
    said = {Path(line.split(":")[1].split(" is ")[0].strip()).name: line for line in err.splitlines()}
    assert "is not that of its schedule" in said["hash.json"]
    assert "its levels do not lie on its schedule" in said["levels.json"]
    assert "does not say its guidance" in said["silent.json"]
    assert "does not say its model, network, network_calls" in said["bare.json"]
    assert "is no fit saved by ld3" in said["torn.json"]
    assert all(line.startswith("refused: ") for line in err.splitlines())


def test_a_grid_for_another_schedule_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = pytest.importorskip("diffusers_models")
    model = tiny.save_stable_diffusion(tmp_path / "sd")
    folder = tmp_path / "grids"
    folder.mkdir()
    grid(folder, "sd.json")
    assert main(["grids", "check", str(folder), "--model", str(model)]) == 0
    for weights in model.rglob("*.safetensors"):
        weights.unlink()  # only the scheduler's config is read
    grid(folder, "other.json", VPSteps("linear"))
    grid(folder, "edm.json", EDM())
    assert main(["grids", "check", str(folder), "--model", str(model)]) == 2
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == f"{folder / 'sd.json'}: ok"
    lines = [line for line in err.splitlines() if line.startswith("refused")]
    assert [Path(line.split(":")[1].strip()).name for line in lines] == ["edm.json", "other.json"]
    assert all("it is for another model" in line for line in lines)
    assert main(["grids", "check", str(folder), "--model", "digits"]) == 2


@pytest.mark.parametrize("words", [["list"], ["check"]])
def test_an_empty_folder_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    for folder, why in ((tmp_path, "holds no grid"), (tmp_path / "none", "is no folder of grids")):
        assert main(["grids", *words, str(folder)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert why in line
    assert main(["grids", "check", str(tmp_path), "--model", "nothing"]) == 2


def test_schedules_of_all_kinds_are_recorded() -> None:
    """JSON holds them, equal ones have equal hashes, and other ones others."""
    for schedule in (SD, EDM(), RectifiedFlow(), VPSteps("linear")):
        record = json.loads(json.dumps(schedule_record(Clock({"x": schedule}))))
        assert record == schedule_record(Clock({"x": schedule}))
    hashes = {schedule_hash({"x": schedule}) for schedule in (SD, EDM(), EDM(0.01, 80.0), RectifiedFlow())}
    assert len(hashes) == 4
