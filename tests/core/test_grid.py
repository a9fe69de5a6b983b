from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from conftest import data

from ld3 import EDM, HAND_MADE, VE, Clock, Grid, VPLinear
from ld3.grids import edm, from_times, quadratic_t, uniform_log_snr, uniform_t

F64 = torch.float64
TWO = Clock({"a": VE(0.1, 5.0), "b": VPLinear()}, score_scale=2.0)


def time_of(grid: Grid, clock: Clock, factor: str) -> np.ndarray:
    return clock.time(grid.solver)[factor].numpy()


def test_uniform_and_quadratic_times() -> None:
    np.testing.assert_allclose(time_of(uniform_t(TWO, 4), TWO, "a"), [1, 0.75, 0.5, 0.25, 0], atol=1e-15)
    np.testing.assert_allclose(time_of(uniform_t(TWO, 4), TWO, "b"), np.linspace(1, 1e-3, 5))
    np.testing.assert_allclose(time_of(quadratic_t(TWO, 4), TWO, "b"), np.linspace(1, math.sqrt(1e-3), 5) ** 2)


def test_uniform_log_snr_has_equal_steps_in_lambda() -> None:
    np.testing.assert_allclose(uniform_log_snr(TWO, 4).solver["a"], -np.log(np.geomspace(5.0, 0.1, 5)))


@pytest.mark.parametrize("rho", [7.0, 3.0])
def test_edm_has_equal_steps_in_a_root_of_the_true_noise_level(rho: float) -> None:
    sigma = TWO.sigma(edm(TWO, 5, rho).solver)["a"].numpy()
    np.testing.assert_allclose(sigma, np.linspace(5.0 ** (1 / rho), 0.1 ** (1 / rho), 6) ** rho)


@pytest.mark.parametrize(
    ("reference", "name", "key", "schedule"),
    [
        ("time_uniform", "uniform_t", "VE", EDM()),
        ("time_uniform", "uniform_t", "VP", VPLinear()),
        ("logSNR", "uniform_log_snr", "VE", EDM()),
        ("logSNR", "uniform_log_snr", "VP", VPLinear()),
        ("edm", "edm", "VE", EDM()),  # on VP the reference takes the root of t, not of the noise level
    ],
)
def test_hand_made_grids_are_those_of_the_reference(
    reference: str, name: str, key: str, schedule: EDM | VPLinear
) -> None:
    golden = np.load(data("ld3_solvers.npz"))
    clock = Clock({"x": schedule})
    for n in (5, 7, 10):
        ours = time_of(HAND_MADE[name](clock, n), clock, "x")
        np.testing.assert_allclose(ours, golden[f"{key}/{reference}/n{n}/t"], rtol=1e-9)


@pytest.mark.parametrize("name", HAND_MADE)
def test_hand_made_grids_span_the_clock_and_tell_the_network_the_same(name: str) -> None:
    grid = HAND_MADE[name](TWO, 6)
    assert grid.n_steps == 6
    assert grid.name == name
    for factor, (start, end) in TWO.bounds.items():
        assert grid.solver[factor][0].item() == pytest.approx(start, rel=1e-12)
        assert grid.solver[factor][-1].item() == pytest.approx(end, rel=1e-12)
        assert torch.equal(grid.network[factor], grid.solver[factor][:-1])
    with pytest.raises(ValueError, match="n must be at least 1 step, got 0"):
        HAND_MADE[name](TWO, 0)


def test_a_list_of_times_may_end_in_no_noise() -> None:
    grid = from_times(Clock({"x": EDM()}), [10.0, 1.0, 0.0], name="mine")
    assert grid.solver["x"].tolist() == [-math.log(10), 0.0, math.inf]
    assert grid.name == "mine"
    with pytest.raises(ValueError, match=r"solver\['x'\] must increase strictly, got -1.09.* at index 2"):
        from_times(Clock({"x": EDM()}), [10.0, 1.0, 3.0])


def test_json_round_trip_keeps_every_bit() -> None:
    solver = {"a": torch.tensor([-1 / 3, math.pi, math.inf], dtype=F64), "b": torch.tensor([0.1, 0.2, 1e9], dtype=F64)}
    network = {"a": torch.tensor([-0.3, 3.0], dtype=F64), "b": torch.tensor([0.1, 0.2 + 1e-16], dtype=F64)}
    grid = Grid(solver, network, "learned", score_scale=7.0)
    assert json.loads(grid.to_json())["schema"] == "ld3.grid"
    assert Grid.from_json(grid.to_json()) == grid == Grid.from_dict(grid.to_dict())
    assert list(Grid.from_json(grid.to_json()).solver) == ["a", "b"]


def test_damaged_json_is_refused() -> None:
    good = json.loads(uniform_t(TWO, 3).to_json())
    with pytest.raises(ValueError, match="must be JSON"):
        Grid.from_json("{")
    with pytest.raises(ValueError, match="grid must be an object"):
        Grid.from_json("[1, 2]")
    levels = good["solver"]["a"]
    for part, value, why in (
        ("version", 99, r"got \('ld3.grid', 99\)"),
        ("network", ..., "network is missing"),
        ("network", [1.0], "network must be an object"),
        ("name", 3, "name must be text, got 3"),
        ("score_scale", "7", "score_scale must be a finite number, got '7'"),
        ("score_scale", -1.0, "score_scale must be > 0, got -1"),
        ("solver", {**good["solver"], "a": "abc"}, r"solver\['a'\] must be a list, got 'abc'"),
        ("solver", {**good["solver"], "a": ["1", *levels[1:]]}, r"solver\['a'\]\[0\] must be a finite number, got '1'"),
        (
            "solver",
            {**good["solver"], "a": [True, *levels[1:]]},
            "must be a finite number, got True",
        ),
        ("solver", {**good["solver"], "a": [levels[0], 99.0, *levels[2:]]}, r"got .* after 99.0 at index 2"),
    ):
        damaged = {**good, part: value} if value is not ... else {k: v for k, v in good.items() if k != part}
        with pytest.raises(ValueError, match=why):
            Grid.from_json(json.dumps(damaged))


def test_validation_names_factor_index_and_value() -> None:
    lam = torch.tensor([0.0, 1.0, 2.0], dtype=F64)
    Grid({"x": lam}, {"x": lam[:-1]})
    with pytest.raises(ValueError, match=r"network\['x'\] must be finite .* got inf at index 1"):
        Grid({"x": lam}, {"x": torch.tensor([0.0, math.inf], dtype=F64)})
    with pytest.raises(ValueError, match=r"solver\['x'\] must be finite .* got nan at index 2"):
        Grid({"x": torch.tensor([0, 1, math.nan], dtype=F64)}, {"x": lam[:-1]})
    with pytest.raises(ValueError, match=r"network\['x'\] must have shape \(2,\), got \(3,\)"):
        Grid({"x": lam}, {"x": lam})
    with pytest.raises(ValueError, match=r"solver\['x'\] must be float64, got torch.float32"):
        Grid({"x": lam.float()}, {"x": lam[:-1]})
    with pytest.raises(ValueError, match=r"got \['x'\] and \['y'\]"):
        Grid({"x": lam}, {"y": lam[:-1]})


def test_description_shows_the_levels() -> None:
    lam = torch.tensor([-1.0, 0.5, math.inf], dtype=F64)
    coupled = str(Grid({"x": lam}, {"x": lam[:-1]}, "mine"))
    assert coupled.splitlines() == [
        "mine: 2 steps, half log-SNR at the nodes",
        "node        x",
        "   0  -1.0000",
        "   1   0.5000",
        "   2      inf",
    ]
    decoupled = str(Grid({"x": lam}, {"x": lam[:-1] + 0.25}))
    assert decoupled.splitlines()[2].split() == ["0", "-1.0000", "-0.7500"]
    assert decoupled.splitlines()[-1].split() == ["2", "inf", "-"]


def test_grids_are_compared_by_all_that_they_hold() -> None:
    grid = edm(TWO, 4)
    assert grid == edm(TWO, 4)
    assert hash(grid) == hash(edm(TWO, 4))
    network = {factor: levels.clone() for factor, levels in grid.network.items()}
    network["b"][1] += 1e-12
    others = (dataclasses.replace(grid, name="mine"), grid.at(1.0), dataclasses.replace(grid, network=network))
    for other in (*others, edm(TWO, 5), edm(Clock({"a": VE(0.1, 5.0)}, 2.0), 4), "edm"):
        assert grid != other


def test_a_grid_says_why_it_does_not_go_with_a_clock() -> None:
    assert edm(TWO, 4).mismatch(TWO) is None
    assert edm(TWO, 4).at(1.0).mismatch(TWO) == "it is for score scale 1, the flow has 2"
    assert edm(TWO, 4).mismatch(Clock({"a": VE(0.1, 5.0)}, 2.0)) == "it has the factors ['a', 'b'], the flow ['a']"
    wider = edm(Clock({"a": VE(0.1, 8.0), "b": VPLinear()}, 2.0), 4)
    assert wider.mismatch(TWO) == "it runs from -2.07944 to 2.30259 in 'a', the flow from -1.60944 to 2.30259"


def test_grids_are_equal_to_rounding_and_in_all_levels() -> None:
    grid = uniform_t(TWO, 4)
    assert grid.equals(dataclasses.replace(uniform_t(TWO, 4), name="other"))
    assert uniform_t(Clock({"x": VE(0.1, 5.0)}), 4).equals(uniform_log_snr(Clock({"x": VE(0.1, 5.0)}), 4))
    assert not grid.equals(uniform_t(TWO, 5))
    assert not grid.equals(quadratic_t(TWO, 4))
    network = {factor: levels + 1e-9 for factor, levels in grid.network.items()}
    assert not grid.equals(dataclasses.replace(grid, network=network))
