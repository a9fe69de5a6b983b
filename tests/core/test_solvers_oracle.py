"""Agreement with the LD3 reference samplers, run in float64 on a mixture of Gaussians in the plane.

Where the network is given other levels than the solver ("pert": inner ones moved, "pertall": all moved), the reference
on VP feeds α(t_solver) x̂ to the network and mixes the α of both times; here the network sees the α of the level that it
is given, so only α = 1 compares. Its Euler on VP divides the drift by α twice and does not converge: DDIM is compared
with its `dpmpp1` instead.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from conftest import data
from flows import F64, MixtureFlow

from ld3 import EDM, Grid, VPLinear, get_solver, integrate

SAME = {
    "dpmpp1": "ddim",
    "dpmpp2": "dpmpp_2m",
    "dpmpp3": "dpmpp_3m",
    "unipc_bh11": "unipc_bh1_1",
    "unipc_bh12": "unipc_bh1_2",
    "unipc_bh13": "unipc_bh1_3",
    "unipc_bh22": "unipc_bh2_2",
    "unipc_bh23": "unipc_bh2_3",
    "ipndm2": "ipndm_2",
    "ipndm3": "ipndm_3",
    "ipndm4": "ipndm_4",
}
VE_ONLY = {"heun_fixed": "heun", "euler": "ipndm_1"}  # Euler of the reference keeps ε, and DDIM x_0, at other levels
SKIPS = {
    "VE": ("time_uniform", "time_quadratic", "logSNR", "edm", "dmn"),
    "VP": ("time_uniform", "time_quadratic", "logSNR", "edm", "dmn", "gits_dpmpp", "gits_ipndm"),
}


def mixture(kind: str) -> tuple[MixtureFlow, Mapping[str, np.ndarray]]:
    golden = np.load(data("ld3_solvers.npz"))
    parameters = (torch.from_numpy(golden[f"gmm_{name}"]) for name in ("mu", "std", "weight"))
    return MixtureFlow({"VE": EDM(), "VP": VPLinear()}[kind], *parameters), golden


def relative_gaps(kind: str, reference: str, ours: str, given: str) -> list[float]:
    flow, golden = mixture(kind)
    solver = get_solver(ours)
    gaps = []
    for skip in SKIPS[kind]:
        for nfe in (5, 7, 10):
            n = nfe // solver.nfe_per_step
            t = torch.from_numpy(golden[f"{kind}/{skip}/n{n}/t"])
            t_network = t if given == "same" else torch.from_numpy(golden[f"{kind}/{skip}/n{n}/t2_{given}"])
            grid = Grid(flow.clock.levels(t), flow.clock.levels(t_network[:-1]))
            start = torch.from_numpy(golden[f"{kind}/x_init"]) / flow.schedule.alpha(t[0])
            end = flow.schedule.alpha(t[-1]) * integrate(flow, start, grid, solver)
            expected = torch.from_numpy(golden[f"{kind}/{skip}/N{nfe}/{reference}/{given}/f64"])
            gaps.append(((end - expected).norm() / expected.norm()).item())
    return gaps


@pytest.mark.parametrize("kind", ["VE", "VP"])
@pytest.mark.parametrize("reference", SAME)
def test_coupled_levels(kind: str, reference: str) -> None:
    assert max(relative_gaps(kind, reference, SAME[reference], "same")) < 1e-6


@pytest.mark.parametrize("reference", VE_ONLY)
def test_coupled_levels_on_ve(reference: str) -> None:
    assert max(relative_gaps("VE", reference, VE_ONLY[reference], "same")) < 1e-6


@pytest.mark.parametrize("given", ["pert", "pertall"])
@pytest.mark.parametrize("reference", [*SAME, "euler"])
def test_decoupled_levels_on_ve(reference: str, given: str) -> None:
    assert max(relative_gaps("VE", reference, (SAME | VE_ONLY)[reference], given)) < 1e-6


@pytest.mark.parametrize("kind", ["VE", "VP"])
def test_many_steps_reach_the_exact_solution(kind: str) -> None:
    flow, golden = mixture(kind)
    start_level, end_level = torch.from_numpy(golden[f"{kind}/lambda_min_max"]).tolist()
    lam = {"x": torch.linspace(start_level, end_level, 401, dtype=F64)}
    ends = flow.clock.time({"x": lam["x"][[0, -1]]})["x"]
    start = torch.from_numpy(golden[f"{kind}/x_init"]) / flow.schedule.alpha(ends[0])
    end = flow.schedule.alpha(ends[1]) * integrate(
        flow, start, Grid(lam, {"x": lam["x"][:-1]}), get_solver("unipc_bh2_3")
    )
    torch.testing.assert_close(end, torch.from_numpy(golden[f"{kind}/accurate"]), rtol=0, atol=1e-4)
