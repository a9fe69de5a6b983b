"""DockingFlow: the laws of a flow, ragged batches, score scale, and the distribution that it starts from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from docking_models import SMALL, batch, complexes, double, model, network, stiff
from torch import Tensor

from domains.docking.networks.pocket_net import PocketNet
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.diffusion import FACTORS, NoiseRange
from domains.docking.poses.flow import DockingFlow, draw_prior
from domains.docking.poses.pose import Poses
from domains.docking.structures.batch import ComplexBatch, collate
from ld3 import integrate
from ld3.grids import Grid, edm
from ld3.solvers import get_solver
from ld3.state import take
from ld3.testing import check_flow

F64 = torch.float64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("score_scale", [1.0, 3.0])
def test_it_is_a_flow(score_scale: float) -> None:
    """Gradients with respect to the grid included, on four complexes of different size at once."""
    check_flow(DockingFlow(model(score_scale).encode(batch())), generator(), trained=False)


def test_it_is_a_flow_without_torsions() -> None:
    check_flow(
        DockingFlow(model().encode(double(collate([stiff(c) for c in complexes()])))), generator(), trained=False
    )


def test_the_way_to_the_mean_is_a_shift_alone() -> None:
    flow = DockingFlow(model().encode(batch()))
    start = flow.prior(8, generator())
    mean = {"tr": torch.tensor([1.0, -2.0, 0.5], dtype=F64)}
    found = flow.to_mean(start, mean)
    assert not found["rot"].any() and not found["tor"].any()
    there = flow.retract(start, found)
    assert torch.allclose(flow.data_mean(there)["tr"], mean["tr"], atol=1e-6)
    assert flow.to_mean(there, mean)["tr"].abs().max() < 1e-5
    mask = flow.batch.atom_mask[start.complex_row].unsqueeze(-1)
    shift = (there.positions - start.positions - found["tr"].unsqueeze(1)) * mask
    assert shift.abs().max() < 1e-5


@pytest.mark.parametrize("solver", ["ddim", "dpmpp_2m", "unipc_bh2_2"])
def test_ragged_batch_integrates_as_one_by_one(solver: str) -> None:
    members = [*complexes(), stiff(complexes()[0])]
    flow = DockingFlow(model(2.0).encode(double(collate(members))))
    row = torch.tensor([2, 0, 4, 1, 3, 2])
    start = take(flow.prior(len(members), generator()), row)
    grid = edm(flow.clock, 5)
    together = integrate(flow, start, grid, get_solver(solver))
    assert (together.positions - start.positions).norm(dim=-1).max() > 1.0
    for i, k in enumerate(row.tolist()):
        alone = DockingFlow(model(2.0).encode(double(collate([members[k]]))))
        atoms = members[k].ligand.n_atoms
        own = integrate(alone, Poses(torch.tensor([0]), start.positions[i : i + 1, :atoms]), grid, get_solver(solver))
        torch.testing.assert_close(together.positions[i, :atoms], own.positions[0], rtol=0.0, atol=1e-7)


def test_score_scale_leaves_the_denoiser_as_it_is() -> None:
    """d is that of score scale 1, and a first-order step is (1 - (σ'/σ)^c) d."""
    c = 3.0
    plain, sharp = (DockingFlow(model(s).encode(batch())) for s in (1.0, c))
    x = plain.prior(4, generator())
    t = torch.tensor([0.6, 0.5], dtype=F64)
    d = plain.displacement(x, {f: lam[0] for f, lam in plain.clock.levels(t).items()})
    levels = sharp.clock.levels(t)
    found = sharp.displacement(x, {f: lam[0] for f, lam in levels.items()})
    for factor in FACTORS:
        torch.testing.assert_close(found[factor], d[factor])
    stepped = integrate(sharp, x, Grid.coupled(levels, score_scale=c), get_solver("ddim"))
    sigma = {f: NoiseRange().clock().schedules[f].sigma(t) for f in FACTORS}
    step = {f: (1 - (sigma[f][1] / sigma[f][0]) ** c) * d[f] for f in FACTORS}
    torch.testing.assert_close(stepped.positions, plain.retract(x, step).positions, rtol=0.0, atol=1e-10)


def within_error(values: Tensor, mean: float) -> None:
    assert abs(values.mean().item() - mean) < 5 * values.std().item() / math.sqrt(len(values))


def test_prior_is_gaussian_in_the_centroid_and_uniform_in_the_rest() -> None:
    """Moments of 4000 poses of one ligand, each within five standard errors."""
    complex_ = complexes()[2]
    flow = DockingFlow(model().encode(double(collate([complex_]))))
    x = flow.prior(4000, generator(1)).positions
    centre = x.mean(1)
    for values in centre.T:
        within_error(values, 0.0)
        within_error(values.square(), flow.prior_scale["tr"] ** 2)
    ray = torch.nn.functional.normalize(x[:, 0] - centre, dim=-1)
    for i in range(3):
        within_error(ray[:, i], 0.0)
        for j in range(3):
            within_error(ray[:, i] * ray[:, j], 1 / 3 if i == j else 0.0)
    for u, v in complex_.ligand.torsion_bonds:
        angle = _dihedral(x, *_ends(complex_.ligand.bond_index, int(u), int(v)))
        for wave in (angle.cos(), angle.sin(), (2 * angle).cos(), (2 * angle).sin()):
            within_error(wave, 0.0)


def test_prior_scale_is_the_standard_deviation_of_what_the_prior_draws() -> None:
    """Of each coordinate of translation, rotation vector and torsion angle, within five standard errors."""
    drawn = draw_prior(20_000, 3, NoiseRange().tr[1], generator(4))
    scale = DockingFlow(model().encode(batch())).prior_scale
    for factor, values in drawn.items():
        for column in values.double().T:
            within_error(column, 0.0)
            within_error(column.square(), scale[factor] ** 2)


def _ends(bonds: np.ndarray, u: int, v: int) -> tuple[int, int, int, int]:
    """u's first other neighbour, u, v, v's first other neighbour."""
    before = next(int(b) for a, b in bonds.T if a == u and b != v)
    after = next(int(b) for a, b in bonds.T if a == v and b != u)
    return before, u, v, after


def _dihedral(x: Tensor, i: int, j: int, k: int, m: int) -> Tensor:
    a, b, c = x[:, j] - x[:, i], x[:, k] - x[:, j], x[:, m] - x[:, k]
    n, o = torch.linalg.cross(a, b), torch.linalg.cross(b, c)
    return torch.atan2((torch.linalg.cross(n, o) * b).sum(-1) / b.norm(dim=-1), (n * o).sum(-1))


def test_prior_keeps_bonds_and_deals_complexes_in_turn() -> None:
    flow = DockingFlow(model().encode(batch()))
    start = flow.prior(6, generator(2))
    assert start.complex_row.tolist() == [0, 1, 2, 3, 0, 1]
    for pose, k in zip(start.positions, start.complex_row.tolist(), strict=True):
        a, b = complexes()[k].ligand.bond_index
        bound = batch().conformer[k]
        torch.testing.assert_close((pose[a] - pose[b]).norm(dim=-1), (bound[a] - bound[b]).norm(dim=-1))


def test_distance_is_the_mean_square_over_real_atoms() -> None:
    flow = DockingFlow(model().encode(batch()))
    x = flow.prior(4, generator(3))
    shift = torch.tensor([[1.0, 2.0, 2.0]], dtype=F64).expand(4, 3)
    moved = flow.retract(x, {**flow.zero_tangent(x), "tr": shift})
    torch.testing.assert_close(flow.distance(moved, x), torch.full((4,), 9.0, dtype=F64))
    norms = flow.norm({"tr": shift, "rot": 2 * shift, "tor": torch.ones(4, 6, dtype=F64)})
    assert [norms[f][0].item() for f in FACTORS] == pytest.approx([3.0, 6.0, math.sqrt(6.0)])


def _moved_pocket(m: DockingModel) -> DockingFlow:
    return DockingFlow(m.encode(replace(batch(), pocket_positions=batch().pocket_positions + 1e-6)))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: DockingFlow(m.encode(batch()), 2.0),
        lambda m: DockingFlow(replace(m, noise_range=NoiseRange(tr=(0.1, 6.0))).encode(batch())),
        lambda m: DockingFlow(m.encode(double(collate(complexes()[:3])))),
        _moved_pocket,
        lambda m: DockingFlow(replace(m, network=network(replace(m.network.config, pocket_edge=4.5))).encode(batch())),
    ],
)
def test_fingerprint_changes_with_what_changes_the_flow(change: Callable[[DockingModel], DockingFlow]) -> None:
    assert change(model()).fingerprint() != DockingFlow(model().encode(batch())).fingerprint()


@pytest.mark.parametrize("name", ["euler_lambda", "heun", "dpmpp_2m", "unipc_bh2_3", "ipndm_4"])
def test_a_grid_on_the_cpu_moves_poses_elsewhere(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The meta device refuses to mix with the CPU as a GPU does; only reading numbers off it has to be bypassed."""
    data = collate(complexes())
    sizes = data.sizes(torch.arange(4))
    encoded = DockingModel(PocketNet(SMALL), NoiseRange(), 2.0).encode(data)
    monkeypatch.setattr(ComplexBatch, "sizes", lambda self, rows: sizes)
    encoded.model.network.to("meta")
    encoding = type(encoded.encoding)(*(part.to("meta") for part in encoded.encoding))
    flow = DockingFlow(replace(encoded, batch=data.to("meta"), encoding=encoding))
    start = flow.prior(4, torch.Generator().manual_seed(0))
    end = integrate(flow, start, edm(flow.clock, 4), get_solver(name))
    assert (end.positions.device.type, end.positions.shape) == ("meta", start.positions.shape)
