"""The studies of losses and of few evaluations: distances by hand, and a small run of each that fills its page."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from benchmarks.experiments import few_evaluations, losses
from benchmarks.experiments.reference_case.case import load_case
from domains.images.metrics.distances import combined, energy_distance, feature_distance

SMALL = ("--pairs", "12", "--fit.steps", "4", "--seeds", "0", "1", "--fd-samples", "80", "--teacher.nfe", "12")


def images(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, 1, 2, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_energy_distance_is_that_of_all_pairs_of_points() -> None:
    """2 E|x - y| - E|x - x'| - E|y - y'|, by two loops; zero for a set and itself in another order."""
    a, b = images(5, 0), images(5, 1)
    measure = energy_distance(lambda x: x.flatten(1)).measure

    def mean_length(p: torch.Tensor, q: torch.Tensor) -> float:
        return sum(float((x - y).norm()) for x in p for y in q) / 25

    expected = 2 * mean_length(a, b) - mean_length(a, a) - mean_length(b, b)
    assert float(measure(a, b).mean()) == pytest.approx(expected)
    assert abs(float(measure(a, a.flip(0)).mean())) < 1e-12


def test_its_gradient_is_that_of_finite_differences() -> None:
    a, b = images(4, 0), images(4, 1)
    measure = energy_distance(lambda x: x.flatten(1)).measure
    assert torch.autograd.gradcheck(lambda x: measure(x, b).mean(), (a.requires_grad_(),))


def test_sums_and_features() -> None:
    a, b = images(3, 0), images(3, 1)
    doubled, plain = feature_distance(lambda x: 2 * x), feature_distance(lambda x: x)
    torch.testing.assert_close(doubled.measure(a, b), 4 * (a - b).square().flatten(1).mean(1))
    total = combined({plain: 1.0, doubled: 0.5})
    assert total.name == "1 features + 0.5 features"
    torch.testing.assert_close(total.measure(a, b), 3 * plain.measure(a, b))


def test_each_loss_is_the_distance_of_its_flow() -> None:
    case = load_case(6)
    for name, loss in losses.losses(case, losses.study.defaults(losses.Options, "losses")).items():
        flow = losses.MeasuredFlow(case.flow, loss)
        found = flow.distance(case.test_start, case.test_end)
        torch.testing.assert_close(found, loss.measure(case.test_start, case.test_end))
        assert flow.distance(case.test_end, case.test_end).mean().abs() < 1e-5, name


@pytest.mark.parametrize(
    ("main", "block", "more"),
    [
        (losses.main, losses.BLOCK, ("--nfe", "3")),
        (few_evaluations.main, few_evaluations.BLOCK, ("--nfe", "1", "2")),
    ],
)
def test_a_small_study_fills_its_page(
    main: Callable[[Sequence[str]], int], block: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"<!-- table: {block} -->\n<!-- end of table: {block} -->\n")
    assert main([*SMALL, *more, "--out", str(tmp_path / "out"), "--page", str(page)]) == 0
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    text = page.read_text()
    for row in rows:
        name = row.get("loss", row.get("student"))
        assert f"| {row['nfe']} | {name} | " in text
        assert all(value is not None and value >= -1e-6 for key, value in row.items() if isinstance(value, float))
    if main is few_evaluations.main:
        mse = {(row["student"], row["nfe"], row["seed"]): row["mse"] for row in rows}
        for nfe in (1, 2):
            assert mse["general student", nfe, 0] < mse["best hand-made grid", nfe, 0]
