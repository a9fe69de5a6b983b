"""Learned solver coefficients: what they add to published rules, and their gradient."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from flows import PoseFlow
from test_grid_gradients import central_differences

from ld3 import HAND_MADE, SOLVERS, Grid, Solver, get_solver, integrate
from ld3.learn.learned_coefficients import LearnedCoefficients
from ld3.solvers import Coefficients

MULTISTEP = {name: solver for name, solver in SOLVERS.items() if not solver.reevaluate}
N = 4


def drawn(solver: Solver, depth: int, seed: int = 0) -> Coefficients:
    """Small random weights for the factors of `PoseFlow`."""
    generator = torch.Generator().manual_seed(seed)

    def tables(k: int) -> dict[str, torch.Tensor]:
        return {
            factor: 0.05 * torch.randn(N, k, generator=generator, dtype=torch.float64)
            for factor in PoseFlow().clock.schedules
        }

    return Coefficients(tables(depth), tables(depth + 1) if solver.corrector else {})


@pytest.mark.parametrize("solver", MULTISTEP.values(), ids=MULTISTEP.keys())
def test_zeros_leave_the_published_solver(solver: Solver) -> None:
    flow = PoseFlow()
    x = flow.prior(3, torch.Generator().manual_seed(1))
    grid = HAND_MADE["edm"](flow.clock, N)
    learned = LearnedCoefficients(solver, list(grid.solver), N, depth=3)()
    assert flow.distance(integrate(flow, x, grid, learned), integrate(flow, x, grid, solver)).max() < 1e-24


def test_ddim_becomes_2m_with_the_weights_of_2m() -> None:
    """u = (1 - e^-h)(d_0 + (d_0 - d_1)/2r), with r = h_1/h."""
    flow = PoseFlow()
    x = flow.prior(3, torch.Generator().manual_seed(1))
    grid = HAND_MADE["edm"](flow.clock, N)
    tables = {}
    for factor, lam in grid.solver.items():
        h = lam.diff()
        tables[factor] = torch.zeros(N, 2, dtype=torch.float64)
        inner = slice(1, N - 1)  # the first and the last step of 2M are DDIM's
        tables[factor][inner, 1] = h[1 : N - 1] / h[: N - 2] / 2
        tables[factor][inner, 0] = -tables[factor][inner, 1]
    weighted = replace(get_solver("ddim"), coefficients=Coefficients(tables, {}))
    expected = integrate(flow, x, grid, get_solver("dpmpp_2m"))
    assert flow.distance(integrate(flow, x, grid, weighted), expected).max() < 1e-24


def test_ipndm_1_becomes_ipndm_2_with_the_weights_of_adams_bashforth() -> None:
    flow = PoseFlow()
    x = flow.prior(3, torch.Generator().manual_seed(1))
    grid = HAND_MADE["uniform_log_snr"](flow.clock, N)
    tables = {factor: torch.zeros(N, 2, dtype=torch.float64) for factor in grid.solver}
    for table in tables.values():
        table[1:] = torch.tensor([-0.5, 0.5])
    weighted = replace(get_solver("ipndm_1"), coefficients=Coefficients(tables, {}))
    expected = integrate(flow, x, grid, get_solver("ipndm_2"))
    assert flow.distance(integrate(flow, x, grid, weighted), expected).max() < 1e-24


@pytest.mark.parametrize("name", ["ddim", "dpmpp_3m", "unipc_bh1_3", "ipndm_4"])
@pytest.mark.parametrize("depth", [2, 4])
def test_gradient_is_that_of_central_differences(name: str, depth: int) -> None:
    flow, solver = PoseFlow(), get_solver(name)
    x = flow.prior(2, torch.Generator().manual_seed(5))
    grid = HAND_MADE["edm"](flow.clock, N)
    target = integrate(flow, x, HAND_MADE["uniform_log_snr"](flow.clock, 20), get_solver("dpmpp_2m"))
    start = drawn(solver, depth)
    flat = {
        f"{part}/{factor}": table.flatten()
        for part in ("predictor", "corrector")
        for factor, table in getattr(start, part).items()
    }

    def loss(values: dict[str, torch.Tensor]) -> torch.Tensor:
        def tables(part: str, k: int) -> dict[str, torch.Tensor]:
            return {key.split("/")[1]: values[key].reshape(N, k) for key in values if key.startswith(part)}

        learned = Coefficients(tables("predictor", depth), tables("corrector", depth + 1))
        return flow.distance(integrate(flow, x, grid, replace(solver, coefficients=learned)), target).mean()

    leaves = {key: table.clone().requires_grad_() for key, table in flat.items()}
    loss(leaves).backward()
    moved = 0.0
    for key, leaf in leaves.items():
        assert leaf.grad is not None
        with torch.no_grad():
            expected = central_differences(lambda values: loss(dict(values)), flat, key)
        assert (leaf.grad - expected).norm() <= 1e-5 * expected.norm() + 1e-10
        moved += float(leaf.grad.count_nonzero())
    assert moved > 0


def test_multistep_solvers_are_those_that_remember() -> None:
    """A step taken alone, from a later node, is another one for them, and for no others."""
    flow = PoseFlow()
    x = flow.prior(2, torch.Generator().manual_seed(5))
    grid = HAND_MADE["edm"](flow.clock, N)

    def part(first: int, last: int) -> Grid:
        levels = {factor: lam[first : last + 1] for factor, lam in grid.solver.items()}
        return Grid(levels, {factor: lam[:-1] for factor, lam in levels.items()})

    for solver in SOLVERS.values():
        halfway = integrate(flow, x, part(0, 2), solver)
        apart = integrate(flow, halfway, part(2, N), solver)
        remembers = flow.distance(apart, integrate(flow, x, grid, solver)).max() > 1e-20
        assert solver.multistep == remembers, solver.name


def test_nodes_that_do_not_exist_yet_have_no_weight() -> None:
    flow, solver = PoseFlow(), get_solver("dpmpp_2m")
    x = flow.prior(2, torch.Generator().manual_seed(5))
    learned = LearnedCoefficients(solver, list(flow.clock.schedules), N, depth=3)
    end = integrate(flow, x, HAND_MADE["edm"](flow.clock, N), learned())
    flow.distance(end, flow.prior(2, torch.Generator().manual_seed(6))).sum().backward()
    for table in learned.predictor:
        assert table.grad is not None
        used = table.grad != 0
        assert used.tolist() == [[False, False, True], [False, True, True], [True, True, True], [True, True, True]]


def test_a_dictionary_loses_no_digit() -> None:
    before = drawn(get_solver("unipc_bh2_2"), 2)
    after = Coefficients.from_dict(json.loads(json.dumps(before.to_dict())))
    for part in ("predictor", "corrector"):
        old, new = getattr(before, part), getattr(after, part)
        assert old.keys() == new.keys() and all(torch.equal(old[factor], new[factor]) for factor in old)


def test_the_description_has_the_weights_that_are_used() -> None:
    """Of nodes that exist, and no correction of the last step."""
    predictor = torch.tensor([[9.0, 0.5], [-0.25, 0.125], [1.0, 2.0]], dtype=torch.float64)
    corrector = torch.tensor([[9.0, -0.5, 0.25], [1.0, 2.0, 3.0], [9.0, 9.0, 9.0]], dtype=torch.float64)
    lines = Coefficients({"x": predictor}, {"x": corrector}).describe().splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["1", "x", "+0.5000"],
        ["x", "-0.5000", "+0.2500", "(correction)"],
        ["2", "x", "-0.2500", "+0.1250"],
        ["x", "+1.0000", "+2.0000", "+3.0000", "(correction)"],
        ["3", "x", "+1.0000", "+2.0000"],
    ]


def test_what_does_not_fit_is_named() -> None:
    flow = PoseFlow()
    x = flow.prior(1, torch.Generator())
    grid = HAND_MADE["edm"](flow.clock, N)
    good = drawn(get_solver("dpmpp_2m"), 2)

    def solve(name: str, coefficients: Coefficients, steps: int = N) -> None:
        own = replace(get_solver(name), coefficients=coefficients)
        integrate(flow, x, HAND_MADE["edm"](flow.clock, steps), own)

    with pytest.raises(ValueError, match=r"must have shape \(5, 2\), got \(4, 2\)"):
        solve("dpmpp_2m", good, steps=5)
    with pytest.raises(ValueError, match="corrector must not be empty"):
        solve("unipc_bh1_2", good)
    with pytest.raises(ValueError, match="corrector must be empty"):
        solve("dpmpp_2m", drawn(get_solver("unipc_bh1_2"), 2))
    with pytest.raises(ValueError, match="must have the grid's factors"):
        solve("dpmpp_2m", Coefficients({"x": torch.zeros(N, 2, dtype=torch.float64)}, {}))
    with pytest.raises(ValueError, match="must be a multistep solver to have learned coefficients, got heun"):
        LearnedCoefficients(get_solver("heun"), list(grid.solver), N)
    with pytest.raises(ValueError, match="finite tables"):
        Coefficients.from_dict({"predictor": {"x": [[float("nan")]]}, "corrector": {}})
