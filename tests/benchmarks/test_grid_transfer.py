"""The study of grids on other complexes: the parts of a grid, which proteins are unseen, and its tables."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import tyro

from benchmarks.experiments.grid_transfer import HAND, SHIPPED, UNSEEN, Options, Row, block, parts_of, unseen_folders
from benchmarks.experiments.study import command_line, defaults
from domains.bootstrap import Interval
from domains.docking.general_grids import general_fit
from domains.docking.networks.weights import load_model
from ld3 import Grid
from ld3.grids.hand_made import hand_made

USUAL: Options = replace(defaults(Options, "grid_transfer"), complexes=Path("known"), others=Path("others"))


@pytest.fixture(scope="module")
def parts() -> dict[str, Grid]:
    model = load_model("demo")
    fit = general_fit(model, 10)
    assert fit is not None
    by_hand = hand_made(model.noise_range.clock(model.score_scale), 10)
    return {name: grid for name, (_, grid) in parts_of(by_hand, fit.grid).items()}


def test_parts_of_a_grid_are_what_they_say(parts: dict[str, Grid]) -> None:
    hand, learned = parts[HAND], parts[SHIPPED]
    for f in hand.solver:
        assert torch.equal(parts["times alone"].solver[f], learned.solver[f])
        assert torch.equal(parts["times alone"].network[f], learned.solver[f][:-1])
        assert torch.equal(parts["network levels alone"].solver[f], hand.solver[f])
        middle = parts["50% of it"]
        torch.testing.assert_close(2 * middle.solver[f], hand.solver[f] + learned.solver[f])
        torch.testing.assert_close(2 * middle.network[f], hand.network[f] + learned.network[f])
        for name in ("early", "late"):
            torch.testing.assert_close(parts[name].solver[f][[0, -1]], hand.solver[f][[0, -1]])
        for factor in hand.solver:
            expected = learned if f == factor else hand
            assert torch.equal(parts[f"{factor} alone"].solver[f], expected.solver[f])
            assert torch.equal(parts[f"{factor} alone"].network[f], expected.network[f])
    shares = [(v - v[0]) / (v[-1] - v[0]) for v in parts["one clock"].solver.values()]
    for share in shares[1:]:
        torch.testing.assert_close(share, shares[0])


def test_the_network_lags_as_many_steps_as_in_the_learned_grid(parts: dict[str, Grid]) -> None:
    """A level half-way between two nodes of the learned grid is half-way between the same nodes of the other."""
    hand, learned, lag = (parts[name] for name in (HAND, SHIPPED, "network levels alone"))
    for f, nodes in learned.solver.items():
        for k, level in enumerate(learned.network[f]):
            i = int((nodes <= level).sum()) - 1
            share = (level - nodes[i]) / (nodes[i + 1] - nodes[i])
            expected = hand.solver[f][i] + share * (hand.solver[f][i + 1] - hand.solver[f][i])
            torch.testing.assert_close(lag.network[f][k], expected)


def test_clusters_with_a_series_of_training_are_not_unseen() -> None:
    assert unseen_folders("# comment\na\tfep_plus/one\tb\nc\nd\te\n") == {"c": 2, "d": 3, "e": 3}


def test_a_command_makes_the_options_again() -> None:
    changed = replace(USUAL, nfe=5, score_scales=(1.0, 7.0), fit_steps=0, page=Path("x.md"))
    line = command_line("grid_transfer", changed)
    assert "--page" not in line
    again = tyro.cli(Options, args=shlex.split(line)[3:], default=defaults(Options, "grid_transfer"))
    assert replace(again, page=Path("x.md")) == changed


def test_tables_have_a_row_for_a_grid_and_columns_for_a_set() -> None:
    some, gap = Interval(0.5, 0.25, 0.75), Interval(-0.125, -0.25, -0.0625)
    rows = [
        Row("parts", name, "asks", of, 7.0, 8, some, some, *((None, None) if name == HAND else (gap, gap)))
        for of in ("known targets", UNSEEN)
        for name in (HAND, SHIPPED)
    ]
    text = block(USUAL, rows, {}, {"known targets": [], UNSEEN: []}, 90.0)
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {SHIPPED} ")]
    cells = "50 [25, 75] | -12.5 [-25.0, -6.2] | 0.50 [0.25, 0.75] | -0.12 [-0.25, -0.06]"
    assert line == f"| {SHIPPED} | {cells} | {cells} | asks |"
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {HAND} ")]
    assert line.count("|  |") == 4 or line.count("| |") == 4
