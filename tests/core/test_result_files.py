"""Files of fits: what comes back, and how a file with other values in it is refused."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from fits import SD, learned_weights, saved_fit

from domains.command import main
from domains.images.export import TARGETS
from ld3 import EDM, VE, Clock
from ld3.grids import uniform_log_snr
from ld3.learn import Comparison, FinalTest, FitResult, Point, Warp, WarpFit

FIT = dataclasses.replace(
    saved_fit(SD, "unipc_bh2_2", own_levels=True, coefficients=learned_weights(4, True)),
    test=FinalTest(25, "edm", "better", Comparison(0.1, 0.2, -0.1, -0.12, -0.08)),
)


def test_infinite_losses_are_null_in_the_file(tmp_path: Path) -> None:
    curve = (
        Point("start", 0, None, math.inf, 8, 0.1),
        Point("times", 5, math.inf, 0.3, 80, 0.5),
        Point("times", 10, 0.2, 0.1, 160, 0.9),
    )
    lost = dataclasses.replace(
        saved_fit(SD, "ddim"), hand_made={"edm": math.inf, "uniform_t": 0.5}, loss_initial=math.inf, curve=curve
    )
    lost.save(tmp_path / "fit.json")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads((tmp_path / "fit.json").read_text(), parse_constant=refuse)
    assert content["hand_made"] == {"edm": None, "uniform_t": 0.5}
    loaded = FitResult.load(tmp_path / "fit.json")
    assert loaded.hand_made == lost.hand_made
    assert (loaded.loss_initial, loaded.loss_learned) == (math.inf, lost.loss_learned)
    assert loaded.curve == curve


def test_a_path_may_be_text(tmp_path: Path) -> None:
    FIT.save(str(tmp_path / "fit.json"))
    assert FitResult.load(str(tmp_path / "fit.json")).grid == FIT.grid


def written(path: Path, where: str, value: object) -> Path:
    """The file of a fit in which one value is another."""
    FIT.save(path)
    return change(path, where, value)


def change(path: Path, where: str, value: object) -> Path:
    """Write another value into a JSON file, or take it out where that is ...; `where` is dotted."""
    content = json.loads(path.read_text())
    part: Any = content
    words = [word.replace("\\.", ".") for word in re.split(r"(?<!\\)\.", where)]
    *outer, last = (int(word) if word.isdigit() else word for word in words)
    for word in outer:
        part = part[word]
    if isinstance(part, dict):
        last = str(last)
    if value is ...:
        del part[last]
    else:
        part[last] = value
    path.write_text(json.dumps(content))
    return path


WRONG: list[tuple[str, object, str]] = [
    ("hand_made", None, "hand_made must be an object"),
    ("hand_made", [], "hand_made must be an object"),
    ("hand_made", {}, "hand_made must hold"),
    ("hand_made.edm", "low", "hand_made['edm'] must be a finite number, got 'low'"),
    ("loss_learned", "low", "loss_learned must be a finite number"),
    ("loss_hand_made", [1], "loss_hand_made must be"),
    ("loss_learned", ..., "loss_learned is missing"),
    ("solver", "magic", "must be one of ddim"),
    ("solver", None, "solver must be text"),
    ("solver", "dpmpp_2m", "coefficients.corrector"),
    ("nfe", 7, "nfe must fit the grid's 4 steps of unipc_bh2_2, got 7"),
    ("nfe", 4.0, "nfe must be a whole number"),
    ("nfe", -4, "nfe must be a whole number"),
    ("path", {}, "path must have the grid's factors ['x'], got []"),
    ("path", None, "path must be an object"),
    ("path.x.schedule", 3, "schedule must be text"),
    ("path.x.solver.alpha.1", 0, "alpha must be positive, got 0"),
    ("path.x.network.sigma.0", -1.0, "sigma must be positive, got -1"),
    ("path.x.solver.t", [1.0], "one length"),
    ("path.x.solver.t", None, "not iterable"),
    ("path.x.network", {"t": [], "alpha": [], "sigma": []}, "a point for each level"),
    ("path.x.solver.t.0", 10**400, "too large"),
    ("coefficients", [], "coefficients must be an object"),
    ("coefficients.predictor", None, "predictor must be an object"),
    ("coefficients.predictor.x", [["a"]], "no fit saved"),
    ("coefficients.predictor.x", [[0.0, 0.0]], "must have shape"),
    ("curve", {}, "curve must be a list"),
    ("test", [], "test must be an object"),
    (
        "test.verdict",
        "good",
        "test.verdict must be one of better, not better, nothing learned, too few pairs, got 'good'",
    ),
    ("test.figures", None, "test.figures must go with the verdict 'better', got None"),
    ("test.figures.low", "x", "low must be a finite number"),
    ("test.units", -1, "units must be a whole number"),
    ("test.against", "mine", "test.against must be one of hand_made ['edm'], got 'mine'"),
    ("curve", [3], "curve[0] must be an object"),
    ("curve", [{"phase": "times"}], "step is missing"),
    ("config", None, "config must be an object"),
    ("seconds", None, "seconds must be a finite number"),
    ("grid.score_scale", 0, "score_scale must be > 0"),
    ("dropped", None, "dropped must be a whole number"),
    ("failed", True, "failed must be a whole number"),
    ("flow", 3, "flow must be text"),
    ("grid", [], "grid must be an object"),
    ("grid.name", [], "name must be text"),
    ("grid.network", None, "network must be an object"),
    ("grid.solver.x.0", "low", "solver['x'][0] must be a finite number, got 'low'"),
    ("extra", 1, "extra is no part of a fit"),
    ("version", 3, "it is of schema 'ld3.fit', version 3, not 'ld3.fit'"),
]


@pytest.mark.parametrize(("where", "value", "why"), WRONG, ids=[f"{i}-{where}" for i, (where, *_) in enumerate(WRONG)])
def test_values_of_another_kind_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str, value: object, why: str
) -> None:
    path = written(tmp_path / "fit.json", where, value)
    for arguments in (["show", str(path)], *(["export", str(path), "--to", target] for target in TARGETS)):
        assert main(arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        (line,) = err.strip().split("\n")
        assert line.startswith(f"error: {path} is no fit saved by ld3: ")
        assert why in line


@pytest.mark.parametrize("where", ["loss_learned", "loss_hand_made", "loss_initial", "hand_made.edm"])
def test_losses_that_are_null_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str) -> None:
    path = written(tmp_path / "fit.json", where, None)
    for arguments in (["show", str(path)], ["export", str(path), "--to", "json"]):
        assert main(arguments) == 0
    assert capsys.readouterr().err == ""


WARP = WarpFit(
    warp=Warp(uniform_log_snr(Clock({"x": EDM()}), 3), 4),
    coefficients=None,
    data_mean=None,
    solver="ddim",
    nfe=(4, 6),
    initial_grid="uniform_log_snr",
    loss_initial={4: 0.5, 6: math.inf},
    loss_learned={4: 0.25, 6: 0.125},
    test=FinalTest(25, "uniform_log_snr", "better", Comparison(0.5, 1.0, -0.5, -0.6, -0.4)),
    iterations=3,
    network_evaluations=100,
    gradient_evaluations=50,
    failed=0,
    dropped=0,
    seconds=1.5,
    config={"knots": 3},
    flow="abc",
)

WRONG_WARPS: list[tuple[str, object, str]] = [
    ("loss_learned.4", "low", "loss_learned['4'] must be a finite number, got 'low'"),
    ("loss_learned.6", ..., "loss_learned must hold the loss at each of nfe [4, 6], got ['4']"),
    ("loss_initial", None, "loss_initial must be an object"),
    ("nfe", 4, "nfe must be a list"),
    ("nfe", [], "nfe must be a list of at least one number"),
    ("nfe.0", 4.5, "nfe[0] must be a whole number >= 0, got 4.5"),
    ("nfe.0", 0, "nfe must be a positive multiple of 1 for ddim, got 0"),
    ("solver", "magic", "must be one of ddim"),
    ("iterations", -1, "iterations must be a whole number"),
    ("seconds", None, "seconds must be a finite number"),
    ("flow", ..., "flow is missing"),
    ("extra", 1, "extra is no part of a warp"),
    ("version", 7, "it is of schema 'ld3.warp_fit', version 7, not"),
    ("warp", [], "warp must be an object"),
    ("warp.version", 7, "got ('ld3.warp', 7)"),
    ("warp.fewest", "4", "fewest must be a whole number"),
    ("warp.fewest", 0, "fewest must be at least 1 step"),
    ("warp.shared", 1, "shared must be true or false, got 1"),
    ("warp.init.solver.x.0", 99.0, "increase strictly"),
    ("warp.parameters", None, "parameters must be an object"),
    ("warp.parameters.first_offset\\.0", [math.nan], "first_offset.0[0] must be a finite number, got nan"),
    ("warp.parameters.first_offset\\.0", ["a"], "first_offset.0[0] must be a finite number, got 'a'"),
    ("warp.parameters.first_offset\\.0", [], "parameters must be of lengths"),
    ("warp.parameters.first_offset\\.0", ..., "parameters must be of lengths"),
]


def test_infinite_losses_of_a_warp_are_null_in_the_file(tmp_path: Path) -> None:
    WARP.save(tmp_path / "warp.json")
    assert json.loads((tmp_path / "warp.json").read_text())["loss_initial"] == {"4": 0.5, "6": None}
    loaded = WarpFit.load(tmp_path / "warp.json")
    assert loaded.warp.to_dict() == WARP.warp.to_dict()
    assert dataclasses.replace(loaded, warp=WARP.warp) == WARP


@pytest.mark.parametrize(("where", "value", "why"), WRONG_WARPS)
def test_values_of_a_warp_of_another_kind_are_named(tmp_path: Path, where: str, value: object, why: str) -> None:
    path = tmp_path / "warp.json"
    WARP.save(path)
    change(path, where, value)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))} is no warp saved by ld3: ") as info:
        WarpFit.load(path)
    assert why in str(info.value)
    assert "\n" not in str(info.value)


def test_files_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Missing, a folder, cut off, of another kind: each is one line that names it."""
    FIT.save(tmp_path / "fit.json")
    (tmp_path / "cut.json").write_text((tmp_path / "fit.json").read_text()[:300])
    (tmp_path / "weights.safetensors").write_bytes(b"\xd8\x00\x01")
    WARP.save(tmp_path / "warp.json")
    said = {
        "missing.json": "No such file or directory",
        ".": "Is a directory",
        "cut.json": "line ",
        "weights.safetensors": "can't decode",
        "warp.json": "it is of schema 'ld3.warp_fit', version 4, not 'ld3.fit'",
    }
    for name, why in said.items():
        for arguments in (["show", str(tmp_path / name)], ["export", str(tmp_path / name), "--to", "json"]):
            assert main(arguments) == 2
            out, err = capsys.readouterr()
            assert out == ""
            (line,) = err.strip().split("\n")
            assert line.startswith(f"error: {tmp_path / name} is no fit saved by ld3: ")
            assert why in line
            assert "[Errno" not in line


def test_targets_that_cannot_take_a_fit_say_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A grid of several factors, as in docking, and a target that there is not."""
    path = tmp_path / "fit.json"
    saved_fit(VE(0.1, 5.0), "ddim", factors=("tr", "rot", "tor"), score_scale=7.0).save(path)
    for target in set(TARGETS) - {"json"}:
        assert main(["export", str(path), "--to", target]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "samples one array, this fit has the factors tr, rot, tor" in err
        assert err.count("\n") == 1
    with pytest.raises(SystemExit) as refused:
        main(["export", str(path), "--to", "banana"])
    assert refused.value.code == 2
    assert "banana" in (err := capsys.readouterr().err)
    assert "comfyui" in err


def test_every_kind_of_fit_comes_back(tmp_path: Path) -> None:
    for fit in (FIT, saved_fit(SD, "heun"), saved_fit(VE(0.1, 5.0), "ddim", factors=("a", "b"), score_scale=2.0)):
        fit.save(tmp_path / "fit.json")
        loaded = FitResult.load(tmp_path / "fit.json")
        assert loaded.grid.to_json() == fit.grid.to_json()
        assert dataclasses.replace(loaded, grid=fit.grid, coefficients=fit.coefficients) == fit
        weights = [None if f.coefficients is None else f.coefficients.to_dict() for f in (loaded, fit)]
        assert weights[0] == weights[1]
