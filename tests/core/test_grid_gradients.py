"""The gradient with respect to the grid, which is what LD3 learns from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import data
from flows import PoseFlow
from test_solvers_oracle import SAME, VE_ONLY, mixture
from torch import Tensor

from ld3 import HAND_MADE, SOLVERS, Grid, Levels, Solver, get_solver, integrate
from ld3.grids import from_times


def central_differences(loss: Callable[[Levels], Tensor], levels: Levels, factor: str, size: float = 1e-5) -> Tensor:
    """d loss / d levels[factor], entry by entry."""
    entries = []
    for k in range(len(levels[factor])):
        ends = []
        for step in (size, -size):
            moved = levels[factor].clone()
            moved[k] += step
            ends.append(loss({**levels, factor: moved}))
        entries.append((ends[0] - ends[1]) / (2 * size))
    return torch.stack(entries)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())
def test_gradient_of_both_clocks_is_exact(solver: Solver) -> None:
    flow = PoseFlow()
    x = flow.prior(3, torch.Generator().manual_seed(5))
    hand_made = HAND_MADE["edm"](flow.clock, 5)
    target = integrate(flow, x, HAND_MADE["uniform_log_snr"](flow.clock, 20), get_solver("dpmpp_2m"))
    given = {name: lam + 0.05 * torch.sin(torch.arange(5.0)) for name, lam in hand_made.network.items()}

    def loss(solver_levels: Levels, network: Levels) -> Tensor:
        return flow.distance(integrate(flow, x, Grid(solver_levels, network), solver), target).mean()

    leaves = [{name: lam.clone().requires_grad_() for name, lam in part.items()} for part in (hand_made.solver, given)]
    loss(*leaves).backward()
    with torch.no_grad():
        for factor in hand_made.solver:
            for part, expected in (
                (leaves[0], central_differences(lambda lam: loss(lam, given), hand_made.solver, factor)),
                (leaves[1], central_differences(lambda lam: loss(hand_made.solver, lam), given, factor)),
            ):
                gradient = part[factor].grad
                assert gradient is not None
                assert (gradient - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize("reference", [name for name in (*SAME, "euler") if name != "dpmpp1"])
def test_gradient_is_that_of_central_differences_through_the_reference(reference: str, n: int) -> None:
    """On VE; on VP the reference defines the decoupled network time otherwise (see test_solvers_oracle.py).

    Autograd through the reference itself is up to 17 % off for UniPC, so its finite differences are the oracle.
    """
    flow, golden = mixture("VE")
    key = f"VE/edm/N{n}/{reference}"
    gradients = np.load(data("ld3_gradients.npz"))
    t, given = (torch.from_numpy(gradients[f"{key}/{name}"]).requires_grad_() for name in ("t", "t2"))
    grid = Grid(flow.clock.levels(t), flow.clock.levels(given[:-1]))
    end = integrate(flow, torch.from_numpy(golden["VE/x_init"]), grid, get_solver((SAME | VE_ONLY)[reference]))
    loss = (end - torch.from_numpy(golden["VE/accurate"])).square().mean()
    loss.backward()
    assert loss.item() == pytest.approx(gradients[f"{key}/loss"].item(), rel=1e-6)
    for leaf, name in ((t, "dt1_fd"), (given, "dt2_fd")):
        assert leaf.grad is not None
        expected = torch.from_numpy(gradients[f"{key}/{name}"])
        assert (leaf.grad - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("solver", ["unipc_bh1_3", "unipc_bh2_3", "dpmpp_3m"])
def test_gradient_survives_very_uneven_steps(solver: str) -> None:
    """Steps of 1e-3 next to steps of 3, where cancelling coefficients would show."""
    flow, golden = mixture("VP")
    x = torch.from_numpy(golden["VP/x_init"])
    lam = torch.tensor([-5.0, -2.0, -1.999, -1.0, 1.0, 1.001, 1.002, 3.0], dtype=torch.float64)

    def loss(levels: Levels) -> Tensor:
        return integrate(flow, x, Grid(levels, {"x": lam[:-1]}), get_solver(solver)).square().mean()

    leaf = lam.clone().requires_grad_()
    loss({"x": leaf}).backward()
    assert leaf.grad is not None
    expected = central_differences(lambda levels: loss(levels).detach(), {"x": lam}, "x", size=1e-7)
    torch.testing.assert_close(leaf.grad, expected, rtol=1e-5, atol=1e-7)


def test_gradient_reaches_hand_made_times() -> None:
    """A grid made of times keeps them in the graph through the clock."""
    flow, golden = mixture("VP")
    t = torch.tensor([1.0, 0.5, 0.1, 1e-3], dtype=torch.float64, requires_grad=True)
    levels = flow.clock.levels(t)
    assert torch.equal(levels["x"].detach(), from_times(flow.clock, t.tolist()).solver["x"])
    end = integrate(
        flow, torch.from_numpy(golden["VP/x_init"]), Grid(levels, {"x": levels["x"][:-1]}), get_solver("ddim")
    )
    assert torch.autograd.grad(end.square().mean(), t)[0].abs().min() > 0
