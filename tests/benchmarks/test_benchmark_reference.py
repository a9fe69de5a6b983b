"""The reference case from the repository's own data: the published code's figures, budgets, the plain loop."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.experiments.reference_case.__main__ import main
from benchmarks.experiments.reference_case.case import DATA, load_case
from benchmarks.experiments.reference_case.fits import SHARE, Options, fit_case, limit
from benchmarks.experiments.reference_case.rows import HEADINGS, CaseRow, cells
from benchmarks.experiments.study import defaults
from ld3 import HAND_MADE, SOLVERS, Grid, get_solver, integrate
from ld3.grids.gits import gits
from ld3.solvers import Coefficients

BEGIN, END = "<!-- table: reference case -->", "<!-- end of table: reference case -->"
STARTS = 48  # of the test set
SOLVERS_FITTED = ("unipc_bh1_3", "ipndm_3")


def command(out: Path, *more: str) -> list[str]:
    """Two seeds at 4 NFE, from few pairs and few gradients."""
    few = {"own": 32, "few": 8, "few-steps": 4, "many": 16, "choose": 8}
    pairs = [word for name, n in few.items() for word in (f"--pairs.{name}", str(n))]
    pairs += ["--everything.few", "8", "--everything.few-steps", "2", "--everything.steps", "120"]
    quick = ["--fit.steps", "12", "--test-starts", str(STARTS), "--fd-samples", "80"]
    return ["--nfe", "4", "--seeds", "0", "1", "--out", str(out), *pairs, *quick, *more]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    page = folder / "page.md"
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    assert main(command(folder, "--page", str(page))) == 0
    return folder


@pytest.fixture(scope="module")
def results(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "results.json").read_text())
    return found


@pytest.fixture(scope="module")
def test_set() -> dict[str, torch.Tensor]:
    with np.load(DATA / "test_set.npz") as file:
        return {name: torch.from_numpy(file[name][:STARTS]) for name in file.files}


def rows_of(results: dict[str, Any]) -> list[dict[str, Any]]:
    return [*results["reference_case"], *results["with_coefficients"], *results["everything"]]


def test_every_setting_solver_and_seed_has_a_row(results: dict[str, Any]) -> None:
    assert results["complete"]
    assert (results["schema"], results["config"]["seeds"]) == ("ld3.reference_case.results", [0, 1])
    keys = [(row["setting"], row["solver"], row["nfe"], row["seed"]) for row in results["reference_case"]]
    assert keys == [*product(("same_pairs", "own_pairs"), SOLVERS_FITTED, (4,), (0, 1))]
    more = [(row["setting"], row["solver"], row["nfe"], row["seed"]) for row in results["with_coefficients"]]
    assert more == [*product(("with_coefficients",), SOLVERS_FITTED, (4,), (0, 1))]
    most = [(row["setting"], row["solver"], row["nfe"], row["seed"]) for row in results["everything"]]
    assert most == [*product(("everything",), SOLVERS_FITTED, (4,), (0, 1))]


def test_figures_of_the_published_code_are_those_of_the_data(results: dict[str, Any]) -> None:
    published = json.loads((DATA / "published.json").read_text())
    for row in rows_of(results):
        own = [fit for fit in published["fits"] if (fit["solver"], fit["nfe"]) == (row["solver"], 4)]
        assert len(own) == (3 if row["solver"] == "unipc_bh1_3" else 1)
        for figure, name in (("mse", "mse"), ("fd_feat", "fd_feat"), ("cpu_seconds", "cpu_seconds")):
            assert row[f"reference_{name}"] == pytest.approx(fmean(fit[figure] for fit in own))
        assert row["reference_mse_best"] == min(fit["mse"] for fit in own)
    listed = [row for row in published["hand_made"] if row["nfe"] == 4]
    assert all(row in results["hand_made"] for row in listed)


def test_budgets_are_kept(results: dict[str, Any]) -> None:
    """The published code's network evaluations in all, and a fifth of them on its own pairs."""
    for row in rows_of(results):
        allowed = row["reference_network_evaluations"] // (SHARE if row["setting"] == "same_pairs" else 1)
        assert 0 < row["network_evaluations"] <= allowed


def test_mse_is_that_of_the_grid_on_the_test_starts(results: dict[str, Any], test_set: dict[str, torch.Tensor]) -> None:
    flow = load_case().flow
    for row in rows_of(results):
        grid, solver = Grid.from_json(json.dumps(row["grid"])), get_solver(row["solver"])
        if row["setting"] in ("with_coefficients", "everything"):
            solver = replace(solver, coefficients=Coefficients.from_dict(row["coefficients"]))
        assert (row["data_mean"] is not None) == (row["setting"] == "everything")
        if row["data_mean"] is not None:
            solver = replace(solver, data_mean={"x": torch.tensor(row["data_mean"])})
        with torch.no_grad():
            end = integrate(flow, 80 * test_set["start"], grid, solver)
        assert row["mse"] == pytest.approx(float((end - test_set["end"]).square().mean()), rel=1e-5)
        assert (row["teacher_disagreement"] is None) == (row["setting"] == "same_pairs")
    learned = {row["seed"]: row["mse"] for row in results["reference_case"] if row["setting"] == "same_pairs"}
    assert len(set(learned.values())) == 2


def test_every_solver_is_tried_on_every_grid_that_nobody_learned(
    results: dict[str, Any], test_set: dict[str, torch.Tensor]
) -> None:
    """GITS among them, from trajectories; Heun at half as many steps. Learned grids are nearer to the teacher."""
    ours = {(row["solver"], row["grid"]): row["mse"] for row in results["hand_made"][: len(SOLVERS) * 6]}
    assert set(ours) == set(product(SOLVERS, (*HAND_MADE, "gits")))
    flow = load_case().flow
    start = flow.prior(256, torch.Generator().manual_seed(0))
    for name, steps in (("heun", 2), ("unipc_bh1_3", 4)):
        with torch.no_grad():
            end = integrate(flow, 80 * test_set["start"], gits(flow, start, steps), get_solver(name))
        assert ours[name, "gits"] == pytest.approx(float((end - test_set["end"]).square().mean()), rel=1e-4)
    for row in results["reference_case"]:
        assert row["mse"] < min(mse for (solver, _), mse in ours.items() if solver == row["solver"])


def test_a_finished_fit_is_not_made_again(out: Path, results: dict[str, Any]) -> None:
    """CPU seconds tell: they would differ."""
    assert main(command(out)) == 0
    again = json.loads((out / "results.json").read_text())
    assert rows_of(again) == rows_of(results)


def test_the_page_has_the_figures_and_their_command(out: Path, results: dict[str, Any]) -> None:
    text = (out / "page.md").read_text()
    assert text.startswith(f"before\n{BEGIN}\n\nMade by `python -m benchmarks.experiments.reference_case ")
    assert text.endswith(f"{END}\nafter\n")
    for row in (results["reference_case"][0], results["with_coefficients"][0], results["everything"][0]):
        mses = [r["mse"] for r in rows_of(results) if (r["setting"], r["solver"]) == (row["setting"], row["solver"])]
        shown = f"{fmean(mses):.5f} ({min(mses):.5f} - {max(mses):.5f}) | {row['reference_mse']:.5f}"
        assert (
            f"| {row['setting']} | {row['solver']} | 4 | {shown} | {fmean(mses) / row['reference_mse']:.2f} |" in text
        )
    best = min(row["mse"] for row in results["hand_made"] if row["mse"] is not None)
    assert f"best hand-made {best:.5f} (" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--nfe", "7"), "--nfe: the published code was not run with 7 evaluations; choose of [4, 5, 6, 8, 10]"),
        (("--solvers", "ddim"), "--solvers: the published code was not run with ddim; choose of unipc_bh1_3, ipndm_3"),
        (("--fd-samples", "1"), "--fd-samples: got 1; give 0 for no Fréchet distance, or at least 2"),
        (("--nfe", "4", "4"), "--nfe: got 4 4; give at least 1, each once"),
        (("--seeds",), "--seeds: got none"),
        (("--seeds", "-1"), "--seeds: got -1"),
        (("--page", "missing.md"), "--page: missing.md cannot take the table"),
        (("--out", "/dev/null/out"), "--out: cannot write"),
    ],
)
def test_mistakes_get_one_line(
    arguments: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line


def test_evaluations_that_suffice_for_no_fit_are_refused() -> None:
    case = load_case(8)
    runs = [replace(run, network_evaluations=500) for run in case.fits["unipc_bh1_3", 4]]
    poor = replace(case, fits={("unipc_bh1_3", 4): runs})
    with pytest.raises(ValueError, match="500 evaluations at 4 NFE do not suffice"):
        fit_case(poor, defaults(Options, "reference_case"), "own_pairs", "unipc_bh1_3", 4, 0)


def test_the_denoiser_does_what_its_case_says() -> None:
    """Our solvers reach the end points of the published code's teacher, and the mse of its EDM grid."""
    case = load_case()
    solver, some = get_solver("unipc_bh1_3"), slice(0, 64)
    teacher = case.sample(case.test_start[some], HAND_MADE["edm"](case.flow.clock, 50), solver)
    torch.testing.assert_close(teacher, case.test_end[some], rtol=0, atol=1e-5)
    (row,) = [h for h in case.hand_made if (h.solver, h.nfe, h.grid) == ("unipc_bh1_3", 4, "edm")]
    assert case.mse(HAND_MADE["edm"](case.flow.clock, 4), solver) == pytest.approx(row.mse, rel=1e-4)
    assert [len(case.fits["unipc_bh1_3", nfe]) for nfe in (4, 5, 6, 8, 10)] == [3] * 5


def test_without_frechet_distances_there_are_none_in_the_table(results: dict[str, Any]) -> None:
    rows = [CaseRow(**{**row, "fd_pixel": None, "fd_feat": None}) for row in results["everything"]]
    for line, group in zip(cells(rows), (rows[:2], rows[2:]), strict=True):
        assert line[HEADINGS.index("FD feat.")] == "-"
        shown = float(line[HEADINGS.index("mse")].split(" (")[0])
        assert shown == pytest.approx(fmean([row.mse or 0.0 for row in group]), abs=5.1e-6)


@pytest.mark.slow
def test_everything_is_nearer_than_any_other_setting_within_the_published_evaluations() -> None:
    case, options = load_case(), defaults(Options, "reference_case")
    fitted = fit_case(case, options, "everything", "ipndm_3", 4, 0)
    assert fitted.network_evaluations <= limit(case, "ipndm_3", 4)
    assert case.mse(fitted.result.grid, fitted.result.student()) < 0.0010  # 0.0014 was the best without it
    assert fitted.pairs is not None
    assert fitted.pairs > 400


@pytest.mark.slow
def test_same_pairs_are_nearer_than_the_published_code_at_a_fifth_of_its_evaluations() -> None:
    case = load_case()
    published = case.fits["unipc_bh1_3", 5]
    fitted = fit_case(case, defaults(Options, "reference_case"), "same_pairs", "unipc_bh1_3", 5, 0)
    assert case.mse(fitted.result.grid, fitted.result.student()) < min(run.mse for run in published)
    assert SHARE * fitted.network_evaluations <= min(run.network_evaluations for run in published)
