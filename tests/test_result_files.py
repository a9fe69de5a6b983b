"""Files of fits: what comes back, and what a file with other values in it is told."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from fits import SD, learned_weights, saved_fit

from domains.command import main
from domains.images.export import TARGETS
from ld3 import VE
from ld3.learn import FitResult, Point

FIT = saved_fit(SD, "unipc_bh2_2", own_levels=True, coefficients=learned_weights(4, True))


def test_infinite_losses_are_null_in_the_file(tmp_path: Path) -> None:
    curve = (
        Point("start", 0, None, math.inf, 8, 0.1),
        Point("times", 5, math.inf, 0.3, 80, 0.5),
        Point("times", 10, 0.2, 0.1, 160, 0.9),
    )
    lost = dataclasses.replace(
        saved_fit(SD, "ddim"), hand={"edm": math.inf, "uniform_t": 0.5}, loss_start=math.inf, curve=curve
    )
    lost.save(tmp_path / "fit.json")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads((tmp_path / "fit.json").read_text(), parse_constant=refuse)
    assert content["hand"] == {"edm": None, "uniform_t": 0.5}
    loaded = FitResult.load(tmp_path / "fit.json")
    assert loaded.hand == lost.hand
    assert (loaded.loss_start, loaded.loss_learned) == (math.inf, lost.loss_learned)
    assert loaded.curve == curve


def written(path: Path, where: str, value: object) -> Path:
    """The file of a fit in which one value is another, or is gone where that is ...; `where` is dotted."""
    FIT.save(path)
    content = json.loads(path.read_text())
    part: Any = content
    *outer, last = (int(word) if word.isdigit() else word for word in where.split("."))
    for word in outer:
        part = part[word]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    path.write_text(json.dumps(content))
    return path


WRONG: list[tuple[str, object, str]] = [
    ("hand", None, "hand must be an object"),
    ("hand", [], "hand must be an object"),
    ("hand", {}, "hand must hold"),
    ("hand.edm", "low", "hand['edm'] must be a finite number, got 'low'"),
    ("loss_learned", "low", "loss_learned must be a finite number"),
    ("loss_hand", [1], "loss_hand must be"),
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
    ("curve", [3], "curve[0] must be an object"),
    ("curve", [{"phase": "times"}], "step is missing"),
    ("config", None, "config must be an object"),
    ("seconds", None, "seconds must be a finite number"),
    ("sharpness", 0, "sharpness must be > 0"),
    ("failed", True, "failed must be a whole number"),
    ("flow", 3, "flow must be text"),
    ("grid", [], "grid must be an object"),
    ("grid.name", [], "grid.name must be text"),
    ("grid.factors", None, "not a complete grid"),
    ("extra", 1, "extra is no part of a fit"),
    ("version", 2, "another schema or version"),
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


@pytest.mark.parametrize("where", ["loss_learned", "loss_hand", "loss_start", "hand.edm"])
def test_losses_that_are_null_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str) -> None:
    path = written(tmp_path / "fit.json", where, None)
    for arguments in (["show", str(path)], ["export", str(path), "--to", "json"]):
        assert main(arguments) == 0
    assert capsys.readouterr().err == ""


def test_every_kind_of_fit_comes_back(tmp_path: Path) -> None:
    for fit in (FIT, saved_fit(SD, "heun"), saved_fit(VE(0.1, 5.0), "ddim", factors=("a", "b"), sharpness=2.0)):
        fit.save(tmp_path / "fit.json")
        loaded = FitResult.load(tmp_path / "fit.json")
        assert loaded.grid.to_json() == fit.grid.to_json()
        assert dataclasses.replace(loaded, grid=fit.grid, coefficients=fit.coefficients) == fit
        weights = [None if f.coefficients is None else f.coefficients.to_dict() for f in (loaded, fit)]
        assert weights[0] == weights[1]
