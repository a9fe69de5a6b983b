"""The comparison of learned coefficients: its figures by another way, its statistics by hand, stopped and resumed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tyro
from image_models import write_small

from benchmarks.experiments.coefficients import (
    BASELINE,
    JOINT,
    Fitted,
    Options,
    block,
    fit_config,
    main,
    summarise,
    verdict,
)
from benchmarks.experiments.study import defaults
from domains.images.models.load import load
from domains.images.settings import TEACHER
from domains.seeds import seed_of
from ld3 import HAND_MADE, Grid, get_solver, integrate
from ld3.grids.gits import gits

Run = Callable[..., int]
LICENSE = Path(__file__).parents[2] / "LICENSE"
QUICK = (
    "--solver",
    "dpmpp_2m",
    "--nfe",
    "4",
    "--pairs",
    "5",
    "3",
    "--samples",
    "6",
    "--steps",
    "4",
    "--teacher.nfe",
    "8",
)
OPTIONS = defaults(Options, "coefficients")
VARIANTS = [variant.name for variant in OPTIONS.variants]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Small runs, with an untrained small model and a short teacher."""
    weights = write_small(tmp_path / "small.safetensors")

    def go(*arguments: str, out: str = "out") -> int:
        return main([*QUICK, "--model", str(weights), *arguments, "--out", str(tmp_path / out)])

    return go


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


def test_figures_are_those_of_the_plain_loop(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the page has them, with the command that makes them again."""
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: coefficients -->\n<!-- end of table: coefficients -->\nafter\n")
    assert run("--page", str(page)) == 0
    found = results(tmp_path / "out")
    assert found["complete"]
    assert len(found["fits"]) == 2 * (1 + len(VARIANTS))
    flow = load(tmp_path / "small.safetensors")
    solver = get_solver("dpmpp_2m")
    goal = HAND_MADE[TEACHER.grid](flow.clock, 8)

    @torch.no_grad()
    def mse(start: Any, grid: Grid) -> float:  # noqa: ANN401
        ends = integrate(flow, start, grid, solver), integrate(flow, start, goal, get_solver(TEACHER.solver))
        return flow.distance(*ends).mean().item()

    expected: dict[int, list[float]] = {4: []}
    for seed, nfe in product((0, 1), expected):
        x = flow.prior(14, torch.Generator().manual_seed(seed_of(seed, "coefficients")))
        train, valid, test = (type(x)(*(part[rows] for part in x)) for rows in (slice(5), slice(5, 8), slice(8, None)))
        grids = {name: make(flow.clock, nfe) for name, make in HAND_MADE.items()} | {"gits": gits(flow, train, nfe)}
        missed = {name: mse(valid, grid) for name, grid in grids.items()}
        best = min(missed, key=missed.__getitem__)
        expected[nfe].append(mse(test, grids[best]))
        case = (nfe, seed, BASELINE)
        (own,) = (fit for fit in found["fits"] if (fit["nfe"], fit["seed"], fit["variant"]) == case)
        assert own["start"] == best
        assert own["mse"] == pytest.approx(expected[nfe][-1], rel=1e-4)
    for row in (row for row in found["rows"] if row["variant"] == BASELINE):
        plain = np.mean(expected[row["nfe"]])
        joint = [fit["mse"] for fit in found["fits"] if (fit["nfe"], fit["variant"]) == (row["nfe"], JOINT)]
        assert row["mse"][0] == pytest.approx(plain, rel=1e-4)
        assert row["minus_joint"][0] == pytest.approx(plain - np.mean(joint), rel=1e-3)
        assert row["quotients"] == pytest.approx(np.array(expected[row["nfe"]]) / joint, rel=1e-4)
        assert f"| {1000 * row['mse'][0]:.3g} |" in page.read_text()
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n")
    line = text.partition("Made by `")[2].partition("`")[0]
    again = tyro.cli(Options, args=shlex.split(line)[3:], default=OPTIONS)
    assert (again.solver, again.nfe, again.pairs, again.steps) == (("dpmpp_2m",), (4,), (5, 3), 4)
    assert "no fit (" in capsys.readouterr().out


def test_every_variant_learns_what_it_says(run: Run, tmp_path: Path) -> None:
    """Fits of more than one phase share the gradients; none gets more of them than another."""
    configs = [fit_config(replace(OPTIONS, steps=80), variant, 0) for variant in OPTIONS.variants]
    assert {config.steps * len(config.phases) for config in configs} == {80}
    assert run("--seeds", "3", "--steps", "12") == 0
    means = {fit["variant"]: fit["mse"] for fit in results(tmp_path / "out")["fits"]}
    assert len(set(means.values())) >= len(VARIANTS)


def test_a_comparison_goes_on_where_it_was(run: Run, tmp_path: Path) -> None:
    """Wall times tell whether a fit was made again."""
    assert run("--seeds", "0") == 0
    first = results(tmp_path / "out")["fits"]
    assert run("--seeds", "0", "1") == 0
    both = results(tmp_path / "out")["fits"]
    assert [fit for fit in both if fit["seed"] == 0] == first
    assert len(both) == 2 * len(first)
    assert run("--seeds", "0", "--pairs", "6", "3") == 0
    again = results(tmp_path / "out")["fits"]
    assert not [fit for fit in again if fit["variant"] != BASELINE and fit in first]


def fitted(variant: str, seed: int, *distances: float) -> Fitted:
    return Fitted("ipndm_3", 5, seed, variant, "edm", np.array(distances), 100, 1.0)


def test_differences_are_paired_image_by_image() -> None:
    """A constant gap has an interval of no width, however the images differ; a quotient is that of one seed."""
    names = [BASELINE, *VARIANTS]
    gaps = dict(zip(names, (3.0, 1.0, 0.0, 2.0, -0.5), strict=True))
    found = [
        fitted(name, seed, *(np.array(base) + gaps[name]))
        for seed, base in ((0, (2.0, 9.0, 4.0)), (1, (30.0, 5.0, 10.0)))
        for name in names
    ]
    rows = summarise(found)
    assert [row.variant for row in rows] == names
    for row in rows:
        assert row.mse.estimate == pytest.approx(10 + gaps[row.variant])
        assert row.quotients == pytest.approx([1 + gaps[row.variant] / 5, 1 + gaps[row.variant] / 15])
        if row.variant == JOINT:
            assert row.minus_joint is None
        else:
            assert row.minus_joint == pytest.approx(3 * [gaps[row.variant]])
    assert rows[0].median == pytest.approx(7.0 + 3.0)
    text = block(replace(OPTIONS, samples=3), rows)
    assert "| ipndm_3 | 5 | no fit (edm) | 1.3e+04 |" in text
    assert "| all | 9.5e+03 |" in text
    assert "| 0.90, 0.97 | -500 [-500, -500] | 100 |" in text


def test_intervals_are_of_the_images_within_each_seed() -> None:
    """Where all images of a seed are alike there is nothing to resample, however the seeds differ."""
    names = [BASELINE, *VARIANTS]
    far = {name: float(k) for k, name in enumerate(names)}
    rows = summarise([fitted(name, seed, *[1 + far[name] * seed] * 3) for seed in (0, 1) for name in names])
    (joint,) = (row for row in rows if row.variant == JOINT)
    for row in rows:
        assert row.mse == pytest.approx(3 * [1 + far[row.variant] / 2])
        if row is not joint:
            assert row.minus_joint == pytest.approx(3 * [(far[row.variant] - far[JOINT]) / 2])


def test_the_verdict_counts_cases_in_which_the_seeds_agree() -> None:
    plain = summarise([fitted(name, 0, 1.0, 2.0) for name in (BASELINE, *VARIANTS)])
    (last,) = (row for row in plain if row.variant == "all")
    cases = [replace(last, quotients=quotients) for quotients in ((0.5, 0.9), (0.1, 0.2), (1.1, 3.0), (0.2, 1.1))]
    assert verdict(VARIANTS, cases) == (
        f"- *all* against *{JOINT}*: in 2 of 4 cases all seeds are nearer to the teacher, in 1 all are farther, "
        "in 1 seeds differ"
    )
    for quotient in (np.inf, np.nan):
        said = verdict(VARIANTS, [replace(last, quotients=(0.5, quotient))])
        assert "in 0 of 1 cases all seeds are nearer to the teacher, in 0 all are farther, in 0 seeds differ" in said
        assert said.endswith("differ, in 1 images are not finite")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--solver", "magic"), "--solver: "),
        (("--solver", "heun"), "--solver: heun remembers no earlier step; give multistep solvers"),
        (("--solver", "dpmpp_2m", "dpmpp_2m"), "--solver: got dpmpp_2m dpmpp_2m"),
        (("--nfe", "0"), "--nfe: "),
        (("--seeds",), "--seeds: got none"),
        (("--seeds", "1", "1"), "--seeds: got 1 1"),
        (("--pairs", "0", "3"), "--pairs: got 0"),
        (("--samples", "1"), "--samples: got 1"),
        (("--steps", "1"), "--steps: got 1"),
        (("--page", "missing.md"), "--page: missing.md cannot take the table"),
        (("--page", str(LICENSE)), "page must have one line"),
    ],
)
def test_mistakes_get_one_line(
    run: Run, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert run(*arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert said in line
