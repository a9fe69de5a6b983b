"""The reference case: a small one built here from end to end, and the real one where it is at hand."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import shared
from reference_cases import EVALUATIONS, REFERENCE, SECONDS, write_case
from rich.console import Console

from benchmarks.experiments.reference_case import __main__ as images_reference
from benchmarks.experiments.reference_case import fits as images_reference_fits
from benchmarks.experiments.reference_case import hand as images_reference_hand
from benchmarks.experiments.reference_case.case import load_case
from benchmarks.experiments.reference_case.fits import SHARE, PairCounts
from benchmarks.experiments.reference_case.page import block
from benchmarks.experiments.reference_case.page import main as page_main
from benchmarks.images import __main__ as images
from ld3 import HAND_MADE, Grid, get_solver, integrate
from ld3.grids import gits
from ld3.solvers import SOLVERS, Coefficients


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_case(tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="module")
def out(case: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two seeds at 4 NFE, from few pairs."""
    folder = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        for module in (images_reference, images_reference_fits):
            patch.setattr(module, "PAIRS", PairCounts(choose=8, own=24, few=8, few_steps=5, many=12))
        images_reference.run_reference_case(case, folder, [4], [0, 1], Console(stderr=True, quiet=True))
    return folder


@pytest.fixture(scope="module")
def results(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "results.json").read_text())
    return found


def test_every_setting_solver_and_seed_has_a_row(results: dict[str, Any]) -> None:
    rows = results["reference_case"]
    assert results["complete"]
    keys = {(row["setting"], row["solver"], row["nfe"], row["seed"]) for row in rows}
    solvers = ("unipc_bh1_3", "ipndm_3")
    assert keys == {(s, solver, 4, seed) for s in ("same_pairs", "own_pairs") for solver in solvers for seed in (0, 1)}
    assert len(rows) == 8
    assert {(row["setting"], row["solver"], row["seed"]) for row in results["with_coefficients"]} == {
        ("with_coefficients", solver, seed) for solver in solvers for seed in (0, 1)
    }


def test_reference_figures_are_those_of_the_folder(results: dict[str, Any]) -> None:
    for row in results["reference_case"]:
        assert row["reference_mse"] == pytest.approx(sum(REFERENCE[4]) / 3)
        assert row["reference_mse_best"] == 0.25
        assert row["reference_network_evaluations"] == EVALUATIONS
        assert row["reference_cpu_seconds"] == SECONDS


def test_budgets_are_kept(results: dict[str, Any]) -> None:
    for row in results["reference_case"]:
        allowed = EVALUATIONS // SHARE if row["setting"] == "same_pairs" else EVALUATIONS
        assert 0.5 * allowed < row["network_evaluations"] <= allowed
        assert row["cpu_seconds"] > 0


def test_mse_is_that_of_the_grid_on_the_test_starts(case: Path, results: dict[str, Any]) -> None:
    loaded, test = load_case(case), np.load(case / "test_set.npz")
    for row in (*results["reference_case"], *results["with_coefficients"]):
        grid, solver = Grid.from_json(json.dumps(row["grid"])), get_solver(row["solver"])
        if row["setting"] == "with_coefficients":
            solver = replace(solver, coefficients=Coefficients.from_dict(row["coefficients"]))
        with torch.no_grad():
            end = integrate(loaded.flow, 80 * torch.from_numpy(test["latent"]), grid, solver)
        assert row["mse"] == pytest.approx(float(np.mean((end.numpy() - test["teacher"]) ** 2)), rel=1e-5)
        ours = [h for h in results["hand_made"] if "published" not in h["grid"]]
        hand = [h["mse"] for h in ours if h["solver"] == row["solver"]]
        assert row["mse"] < min(hand)
        assert (row["teacher_disagreement"] is None) == (row["setting"] == "same_pairs")


def test_seeds_differ(results: dict[str, Any]) -> None:
    rows = [row for row in results["reference_case"] if row["solver"] == "unipc_bh1_3"]
    assert len({row["mse"] for row in rows}) == len(rows)


def test_a_finished_fit_is_not_made_again(
    case: Path, out: Path, results: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object) -> None:
        raise AssertionError(given)

    monkeypatch.setattr(images_reference, "PAIRS", PairCounts(choose=8, own=24, few=8, few_steps=5, many=12))
    monkeypatch.setattr(images_reference, "fit_case", refuse)
    monkeypatch.setattr(images_reference_hand, "mse_to_teacher", refuse)
    images_reference.run_reference_case(case, out, [4], [0, 1], Console(stderr=True, quiet=True))
    assert json.loads((out / "results.json").read_text())["reference_case"] == results["reference_case"]


def test_page_says_what_is_reached_and_what_is_missed(results: dict[str, Any], out: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: reference case -->\n<!-- end of table: reference case -->\nafter\n")
    assert page_main([str(out), "--page", str(page)]) == 0
    assert "| same_pairs | unipc_bh1_3 | 4 |" in page.read_text()
    rows = [row for row in results["reference_case"] if row["setting"] == "same_pairs"]
    rows = [{**row, "mse": 0.3, "cpu_seconds": 1.0} for row in rows if row["solver"] == "unipc_bh1_3"]
    text = block({**results, "with_coefficients": [], "reference_case": rows})
    assert "- same_pairs, 4 NFE: missed: no seed above the published code's best" in text
    text = block({**results, "with_coefficients": [], "reference_case": [{**row, "mse": 0.2} for row in rows]})
    assert "- same_pairs, 4 NFE: all targets reached" in text
    assert "- 4 NFE: missed: best learned 0.20000 (0.20000 - 0.20000) (unipc_bh1_3, same_pairs), " in text
    assert "best hand-made 0.00000 (ipndm_3, dmn of the published code)" in text
    hand = [{**row, "mse": None if row["nfe"] == 4 else 1.0} for row in results["hand_made"]]
    text = block(
        {**results, "with_coefficients": [], "reference_case": [{**row, "mse": 0.2} for row in rows], "hand_made": hand}
    )
    assert "- 4 NFE: reached: best learned 0.20000" in text


def test_page_says_what_coefficients_add(results: dict[str, Any]) -> None:
    rows = [{**row, "mse": 0.4} for row in results["reference_case"]]
    more = [{**row, "mse": 0.1} for row in results["with_coefficients"]]
    text = block({**results, "reference_case": rows, "with_coefficients": more})
    assert "- unipc_bh1_3, 4 NFE: 0.10000 (0.10000 - 0.10000) with coefficients, 0.25 of without" in text


def test_every_solver_is_tried_on_every_grid_that_nobody_learned(case: Path, results: dict[str, Any]) -> None:
    """GITS among them, from trajectories; Heun at half as many steps."""
    ours = [row for row in results["hand_made"] if "published" not in row["grid"]]
    assert {(row["solver"], row["grid"]) for row in ours} == set(product(SOLVERS, (*HAND_MADE, "gits")))
    loaded, test = load_case(case), np.load(case / "test_set.npz")
    start = loaded.flow.prior(256, torch.Generator().manual_seed(0))
    for name, steps in (("heun", 2), ("unipc_bh1_3", 4)):
        (mse,) = [row["mse"] for row in ours if (row["solver"], row["grid"]) == (name, "gits")]
        with torch.no_grad():
            grid = gits(loaded.flow, start, steps)
            end = integrate(loaded.flow, 80 * torch.from_numpy(test["latent"]), grid, get_solver(name))
        assert mse == pytest.approx(float(np.mean((end.numpy() - test["teacher"]) ** 2)), rel=1e-4)


def test_a_case_with_other_quality_is_another_case(case: Path) -> None:
    loaded = load_case(case)
    other = replace(loaded, real_pixels=loaded.real_features._replace(mean=loaded.real_pixels.mean + 1))
    assert other.fingerprint() != loaded.fingerprint() == load_case(case).fingerprint()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("denoiser/digits_denoiser.pt", b"no weights", "holds no denoiser"),
        ("fd/classifier.pt", b"", "holds no classifier"),
        ("teacher_data.npz", b"", "must hold the arrays latent, img"),
        ("ld3_results.json", b"{}", "must hold the results"),
    ],
)
def test_a_bad_folder_is_one_line(
    name: str, content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_case(tmp_path / "case")
    (folder / name).write_bytes(content)
    assert images.main(["--reference-case", str(folder)]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert line.startswith("error: ") and Path(name).name in line and message in line


@pytest.mark.parametrize(
    ("nfe", "seeds", "message"),
    [([7], [0], r"--nfe: .*\[4, 5\]"), ([4, 4], [0], "--nfe: .*each once"), ([4], [], "--seeds"), ([4], [-1], ">= 0")],
)
def test_bad_numbers_are_named(case: Path, nfe: list[int], seeds: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        images_reference.run_reference_case(case, None, nfe, seeds, Console(quiet=True))


def test_evaluations_that_suffice_for_no_fit_are_refused(case: Path) -> None:
    with pytest.raises(ValueError, match="500 evaluations at 4 NFE do not suffice"):
        images_reference_fits.fit_case(load_case(case), "own_pairs", "unipc_bh1_3", 4, 0, 500)


def test_the_real_denoiser_does_what_its_case_says() -> None:
    folder = shared("oracles/ld3")
    loaded = load_case(folder)
    solver, clock = get_solver("unipc_bh1_3"), loaded.flow.clock
    some = slice(0, 64)
    with torch.no_grad():
        teacher = integrate(loaded.flow, loaded.test_start[some], HAND_MADE["edm"](clock, 50), solver)
        edm = integrate(loaded.flow, loaded.test_start, HAND_MADE["edm"](clock, 4), solver)
    torch.testing.assert_close(teacher, loaded.test_end[some], rtol=0, atol=1e-5)
    listed = json.loads((folder / "ld3_results.json").read_text())["hand"]
    (row,) = [h for h in listed if (h["solver"], h["order"], h["N"], h["skip"]) == ("uni_pc", 3, 4, "edm")]
    assert float(loaded.flow.distance(edm, loaded.test_end).mean()) == pytest.approx(row["mse"], rel=1e-4)
    assert [len(loaded.runs["unipc_bh1_3", nfe]) for nfe in (4, 5, 6, 8, 10)] == [3] * 5


@pytest.mark.slow
def test_same_pairs_beat_the_published_code() -> None:
    loaded = load_case(shared("oracles/ld3"))
    solver, runs = "unipc_bh1_3", loaded.runs["unipc_bh1_3", 5]
    limit = min(run.network_evaluations for run in runs)
    fitted = images_reference_fits.fit_case(loaded, "same_pairs", solver, 5, 0, limit)
    with torch.no_grad():
        end = integrate(loaded.flow, loaded.test_start, fitted.result.grid, get_solver(solver))
    mse = float(loaded.flow.distance(end, loaded.test_end).mean())
    assert mse <= 0.8 * sum(run.mse for run in runs) / len(runs)
    assert mse <= min(run.mse for run in runs)
    assert SHARE * fitted.network_evaluations <= limit
