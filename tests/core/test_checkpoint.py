"""Fits that are saved on the way: interrupted ones go on to the same end, and files that are bad are named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from flows import MixtureFlow
from mixture_fits import QUICK, SOLVER, mixture, pairs
from torch import Tensor

from ld3.grids import edm
from ld3.learn import Pairs, Phase, Point, fit


@pytest.fixture(scope="module")
def setting() -> tuple[MixtureFlow, Pairs[Tensor], Pairs[Tensor]]:
    flow = mixture()
    return flow, pairs(flow, 96, 0), pairs(flow, 96, 1)


@pytest.mark.parametrize("anneal", [False, True])
@pytest.mark.parametrize("last_phase", ["joint", "all"])
def test_interrupted_fit_goes_on_to_the_same_result(
    setting: tuple[MixtureFlow, Pairs[Tensor], Pairs[Tensor]], tmp_path: Path, anneal: bool, last_phase: Phase
) -> None:
    flow, train, valid = setting
    phases: tuple[Phase, ...] = ("times", last_phase)
    config = dataclasses.replace(QUICK, radius=0.02, batch=32, patience=2, anneal=anneal, phases=phases)
    whole = fit(flow, train, valid, SOLVER, 4, config)

    class Killed(Exception):
        pass

    def kill_at(step: int, phase: str) -> None:
        def progress(point: Point) -> None:
            if (point.step, point.phase) == (step, phase):
                raise Killed

        with pytest.raises(Killed):
            fit(flow, train, valid, SOLVER, 4, config, folder=tmp_path, on_progress=progress)

    kill_at(0, "start")
    kill_at(15, "times")
    last = whole.curve[-2]
    kill_at(last.step, last.phase)
    resumed = fit(flow, train, valid, SOLVER, 4, config, folder=tmp_path)
    assert resumed.grid.to_json() == whole.grid.to_json()
    assert (resumed.coefficients is not None) == (last_phase == "all")
    if resumed.coefficients is not None and whole.coefficients is not None:
        assert resumed.coefficients.to_dict() == whole.coefficients.to_dict()
    assert [(p.step, p.train, p.valid) for p in resumed.curve] == [(p.step, p.train, p.valid) for p in whole.curve]
    assert resumed.network_evaluations == whole.network_evaluations


def test_a_saved_fit_is_that_of_its_candidate_grids(
    setting: tuple[MixtureFlow, Pairs[Tensor], Pairs[Tensor]], tmp_path: Path
) -> None:
    """Of their levels: a grid that has changed under its old name leads to another fit."""
    flow, train, valid = setting
    config = dataclasses.replace(QUICK, steps=0)
    for rho, files in ((5.0, 1), (5.0, 1), (6.0, 2)):
        mine = {"mine": edm(flow.clock, 4, rho)}
        fit(flow, train, valid, SOLVER, 4, config, starting_grids=mine, folder=tmp_path)
        assert len(list(tmp_path.iterdir())) == files


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_a_full_disk_is_an_os_error(setting: tuple[MixtureFlow, Pairs[Tensor], Pairs[Tensor]], tmp_path: Path) -> None:
    flow, train, valid = setting
    config = dataclasses.replace(QUICK, steps=0)
    fit(flow, train, valid, SOLVER, 4, config, folder=tmp_path)
    (saved,) = tmp_path.iterdir()
    saved.unlink()
    saved.with_suffix(".part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        fit(flow, train, valid, SOLVER, 4, config, folder=tmp_path)


@pytest.mark.parametrize("left", [0, 5, 200])
def test_a_truncated_file_is_named_and_the_fit_begins_anew(
    setting: tuple[MixtureFlow, Pairs[Tensor], Pairs[Tensor]], tmp_path: Path, left: int
) -> None:
    flow, train, valid = setting
    config = dataclasses.replace(QUICK, steps=2)
    first = fit(flow, train, valid, SOLVER, 4, config, folder=tmp_path)
    (saved,) = tmp_path.iterdir()
    saved.write_bytes(saved.read_bytes()[:left])
    with pytest.warns(UserWarning, match=r"fit-.*\.pt cannot be read .* begins anew"):
        second = fit(flow, train, valid, SOLVER, 4, config, folder=tmp_path)
    assert second.grid == first.grid
