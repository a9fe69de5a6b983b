"""Trials of trainings: what a trial changes, which clusters it gets, and a run at toy size that goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from benchmark_runs import write_complexes
from docking_models import complexes
from rich.console import Console

from benchmarks.experiments.study import defaults
from benchmarks.experiments.training_trials import (
    LIGANDS,
    UNSEEN,
    Options,
    Trial,
    changed,
    compare,
    config_of,
    train_part,
)
from domains.docking.training.clusters import Clusters
from domains.docking.training.data import split
from domains.errors import InputError

USUAL = defaults(Options, "training_trials")
SMALL = {"pocket.scalars": 16, "pocket.vectors": 4, "pocket.layers": 1, "complexes": 1, "poses": 2, "warm_up": 1}


@pytest.fixture
def options(tmp_path: Path) -> Options:
    data = write_complexes(tmp_path / "data", "1ia1", "1of6", "1s3v", "1uou")
    (tmp_path / "ligands.txt").write_text("1uou/1uou\n")
    (tmp_path / "targets.txt").write_text("1ia1\n")
    return replace(
        USUAL,
        data=(data,),
        out=tmp_path / "out",
        base=SMALL,
        trials=(Trial("all of it", "everything"), Trial("one", "less", {"pocket.layers": 2}, clusters=1)),
        cpu_seconds=0.05,
        validation=1,
        poses=1,
        validation_ligands=tmp_path / "ligands.txt",
        validation_targets=tmp_path / "targets.txt",
    )


def test_a_trial_changes_what_it_says_and_nothing_else(options: Options) -> None:
    usual, other = (config_of(options, trial) for trial in options.trials)
    assert (usual.pocket.layers, other.pocket.layers) == (1, 2)
    assert replace(other, out=usual.out, pocket=usual.pocket) == usual
    assert changed(other, {"pockets.radii": [5, 6]}).pockets.radii == (5, 6)
    with pytest.raises(InputError, match=r"--trials: odd: .*colour"):
        config_of(options, Trial("odd", "", {"colour": 1}))
    with pytest.raises(InputError, match="--trials: odd: pseudo_share must be in"):
        config_of(options, Trial("odd", "", {"pseudo_share": 2.0}))


def test_every_trial_of_the_file_can_be_run() -> None:
    names = [trial.name for trial in USUAL.trials]
    assert len(set(names)) == len(names)
    full = replace(USUAL, data=(Path("data"),))
    assert len({str(config_of(full, trial).out) for trial in USUAL.trials}) == len(names)


def test_fewer_clusters_are_among_more() -> None:
    found = [replace(complexes()[0], name=f"{name}/x") for name in "abcdefgh"]
    parts = split(found, set(), {"h"}, Clusters([("a", "b"), ("h", "g")]))
    sizes = {n: {c.name for c in train_part(parts, n, seed=0)} for n in (1, 3, 5, None)}
    assert sizes[1] < sizes[3] < sizes[5] == sizes[None] == {f"{name}/x" for name in "abcdef"}
    for names in sizes.values():
        assert ("a/x" in names) == ("b/x" in names)


@pytest.mark.slow
def test_trials_train_and_are_measured_on_what_was_kept_aside(
    options: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(options, Console(quiet=True)) == 0
    first = json.loads((options.out / "results.json").read_text())["rows"]
    assert [(row["name"], row["clusters"], row["complexes"]) for row in first] == [("all of it", 2, 2), ("one", 1, 1)]
    assert all(row["steps"] >= 1 and row["cpu_seconds"] >= 0.05 for row in first)
    usual, one = (row["losses"] for row in first)
    assert usual.keys() == {UNSEEN, LIGANDS} and all(table.keys() == {"tr", "rot", "tor"} for table in usual.values())
    assert first[0]["minus_first"] is None
    for of, gap in first[1]["minus_first"].items():
        sums = [sum(figure[0] for figure in losses[of].values()) for losses in (one, usual)]
        assert gap[0] == pytest.approx(sums[0] - sums[1])
    assert "| all of it | 2 | 2 |" in capsys.readouterr().out
    state = (options.out / "one" / "state.pt").stat().st_mtime_ns
    assert compare(options, Console(quiet=True)) == 0  # goes on where all is done
    again = json.loads((options.out / "results.json").read_text())["rows"]
    assert again == first
    assert (options.out / "one" / "state.pt").stat().st_mtime_ns == state


@pytest.mark.slow
def test_more_seconds_go_on_with_the_same_run(options: Options, capsys: pytest.CaptureFixture[str]) -> None:
    """So every trial has the same seconds, whenever it was stopped."""
    few = replace(options, trials=options.trials[:1])
    assert compare(few, Console(quiet=True)) == 0
    before = json.loads((options.out / "results.json").read_text())["rows"][0]
    assert compare(replace(few, cpu_seconds=before["cpu_seconds"] + 0.05), Console(quiet=True)) == 0
    (after,) = json.loads((options.out / "results.json").read_text())["rows"]
    assert after["steps"] > before["steps"] and after["cpu_seconds"] > before["cpu_seconds"]
    assert after["losses"] != before["losses"]
