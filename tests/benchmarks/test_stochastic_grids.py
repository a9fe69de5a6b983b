"""The study of learned times for the stochastic sampler: its samplers, figures, tables and options."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tyro
from docking_models import complexes

from benchmarks.experiments.stochastic_grids import (
    EXACT_SDE,
    PUBLISHED_ODE,
    PUBLISHED_SDE,
    SHIPPED_ODE,
    Figures,
    Options,
    block,
    figures_of,
    main,
    samplers_of,
    summarise,
)
from benchmarks.experiments.study import command_line, defaults
from domains.docking.docked_poses import DockedPoses
from domains.docking.networks.shipped import SHIPPED
from domains.docking.networks.weights import load_weights

USUAL: Options = replace(defaults(Options, "stochastic_grids"), complexes=Path("known"))


def test_every_sampler_spends_what_its_row_says() -> None:
    found = samplers_of(load_weights(SHIPPED["demo"]), (5, 10), {})
    assert found[PUBLISHED_SDE, 20].nfe == 19
    assert all(sampler.nfe == nfe for (_, nfe), sampler in found.items() if nfe != 20)
    assert {name for name, nfe in found if nfe == 5} == {
        PUBLISHED_SDE,
        EXACT_SDE,
        PUBLISHED_ODE,
        "ODE, edm's times",
        SHIPPED_ODE,
    }
    assert len({sampler.key for sampler in found.values()}) == len(found)


def test_figures_of_poses_that_are_known() -> None:
    """The bound pose, one 1 Å away, two far away together: consensus takes one of a pair."""
    c = complexes()[0]
    assert c.reference is not None
    shift = np.array([1.0, 0.0, 0.0], dtype=np.float32)
    poses = np.stack(
        [c.reference, c.reference + 0.9 * shift, c.reference + 30 * shift, np.full_like(c.reference, np.nan)]
    )
    found = figures_of(DockedPoses((c,), {c.name: poses}, {c.name: 0}, 1.0, 1.0, {}))
    assert found.near[c.name].tolist() == [True, True, False, False]
    assert found.top[c.name].tolist() == [True]
    lost = DockedPoses((c,), {c.name: np.full_like(poses, np.nan)}, {c.name: 0}, 1.0, 1.0, {})
    assert figures_of(lost).top[c.name].tolist() == [False]


def figures(near: list[bool]) -> Figures:
    return Figures({"a": np.array(near)}, {"a": np.array([near[0]])}, {"a": 2})


def test_what_is_kept_is_a_ratio_to_twenty_steps() -> None:
    found = {
        (PUBLISHED_SDE, 20): figures([True, True, True, True]),
        (PUBLISHED_ODE, 20): figures([True, True, False, False]),
        (EXACT_SDE, 5): figures([True, True, True, False]),
        (PUBLISHED_ODE, 5): figures([True, False, False, False]),
    }
    rows = {(row.name, row.nfe): row for row in summarise("known targets", found)}
    assert rows[EXACT_SDE, 5].kept.estimate == rows[EXACT_SDE, 5].kept_own.estimate == 0.75
    assert rows[PUBLISHED_ODE, 5].kept.estimate == 0.25 and rows[PUBLISHED_ODE, 5].kept_own.estimate == 0.5
    text = block(USUAL, list(rows.values()), {}, 60.0)
    (line,) = [
        line for line in text.splitlines() if line.startswith(f"| {EXACT_SDE} | 5 | 75 [") and "distinct" not in line
    ][:1]
    assert line.count("75 [") == 2


def test_a_command_makes_the_options_again() -> None:
    changed = replace(USUAL, nfe=(5,), fit_nfe=(5,), limit=3, page=Path("x.md"))
    line = command_line("stochastic_grids", changed)
    again = tyro.cli(Options, args=shlex.split(line)[3:], default=defaults(Options, "stochastic_grids"))
    assert replace(again, page=Path("x.md")) == changed


def test_mistakes_get_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["--nfe", "5", "--fit-nfe", "10"], "--fit-nfe"),
        (["--samples", "1"], "--samples"),
        (["--page", str(tmp_path / "none.md")], "--page"),
    ):
        assert main(["--complexes", str(tmp_path), "--out", str(tmp_path / "out"), *words]) == 2
        assert said in capsys.readouterr().err
