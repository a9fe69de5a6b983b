"""What PocketNet is made of, against the sums and the mechanics that it stands for; in float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from docking_models import batch, complexes, double, moved_poses, network
from torch import Tensor

from domains import docking
from domains.docking.engine import make_groups
from domains.docking.networks.pocket_net.heads import project, torque_about_bonds
from domains.docking.networks.pocket_net.network import distinct_pockets
from domains.docking.networks.pocket_net.tensor_field import (
    EquivariantLinear,
    gather,
    mix_vectors,
    side_by_side,
    softened_distance,
    vector_linear,
    with_moments,
)
from domains.docking.poses.diffusion import FACTORS
from domains.docking.poses.kinematics import centroid, flex, move_rigidly
from domains.docking.structures.batch import collate

F64 = torch.float64
ALL = torch.arange(4)


def test_the_direct_term_of_a_torsion_is_the_same_from_either_end() -> None:
    data, x = batch(), moved_poses(batch(), ALL)
    g = torch.Generator().manual_seed(2)
    s, v, noise = (torch.randn(4, *n, generator=g, dtype=F64) for n in ((x.shape[1], 16), (x.shape[1], 3, 4), (16,)))
    there, back = (
        network().twist(s, v, noise, x, bonds) for bonds in (data.torsion_bonds, data.torsion_bonds.flip(-1))
    )
    assert there.abs().max() > 1e-3
    torch.testing.assert_close(back, there, rtol=0.0, atol=1e-12)


def lever(x: Tensor, bonds: Tensor, sides: Tensor) -> Tensor:
    """sqrt(sum_i |x_i - x_v|² + 1), atoms i of the turned side, (B, R)."""
    pivot = x[torch.arange(len(x))[:, None], bonds[..., 1]]
    return ((x[:, None] - pivot[:, :, None]).square().sum(-1) * sides).sum(-1).add(1).sqrt()


def test_forces_without_net_torque_turn_a_bond_alike_from_either_side() -> None:
    """(u, v) -> (v, u) and the other side turns: the same change of the dihedral angle, so the same torque on it."""
    data, x = batch(), moved_poses(batch(), ALL)
    real = data.atom_mask.unsqueeze(-1)
    force = torch.randn(x.shape, generator=torch.Generator().manual_seed(3), dtype=F64) * real
    force = force - real * (force.sum(1) / real.sum(1)).unsqueeze(1)
    arm = (x - centroid(x, data.atom_mask).unsqueeze(1)) * real
    square = arm.square().sum((1, 2))[:, None, None] * torch.eye(3, dtype=F64)
    inertia = square - torch.einsum("bai,baj->bij", arm, arm)
    spin = torch.linalg.solve(inertia, torch.linalg.cross(arm, force).sum(1))
    force = force - torch.linalg.cross(spin.unsqueeze(1).expand_as(arm), arm)
    side = data.torsion_side
    other = ~side & data.atom_mask.unsqueeze(1) & data.torsion_mask.unsqueeze(-1)
    here, there = (
        torque_about_bonds(x, force, bonds, turned.double()) * lever(x, bonds, turned)
        for bonds, turned in ((data.torsion_bonds, side), (data.torsion_bonds.flip(-1), other))
    )
    assert here.abs().max() > 1.0
    torch.testing.assert_close(there, here, rtol=0.0, atol=1e-9)


def test_projected_forces_are_the_work_of_a_small_move() -> None:
    """d/dq sum_i f_i . x_i(q), for the moves q that the kinematics makes, over the scale of each degree of freedom."""
    data, x = batch(), moved_poses(batch(), ALL)
    g = torch.Generator().manual_seed(4)
    fields = [torch.randn(x.shape, generator=g, dtype=F64) for _ in range(3)]
    found = project(data, ALL, x, fields)
    mask, bonds, side = data.atom_mask, data.torsion_bonds, data.torsion_side
    still = {"tr": torch.zeros(4, 3), "rot": torch.zeros(4, 3), "tor": torch.zeros(4, bonds.shape[1])}
    q = {f: zero.double().requires_grad_() for f, zero in still.items()}
    rigid = move_rigidly(x, mask, q["tr"], q["rot"])
    ends = (rigid, rigid, flex(x, bonds, side, q["tor"]))
    work = {
        factor: torch.autograd.grad((force * end * mask.unsqueeze(-1)).sum(), q[factor], retain_graph=True)[0]
        for factor, force, end in zip(FACTORS, fields, ends, strict=True)
    }
    atoms = mask.sum(1, keepdim=True).double()
    arm = (x - centroid(x, mask).unsqueeze(1)) * mask.unsqueeze(-1)
    gyration = (arm.square().sum((1, 2)).unsqueeze(1) / atoms + 1e-3).sqrt()
    expected = (work["tr"] / atoms.sqrt(), work["rot"] / (gyration * atoms.sqrt()), work["tor"] / lever(x, bonds, side))
    for factor, scores, forces in zip(FACTORS, found, expected, strict=True):
        assert forces.abs().max() > 1e-3, f"{factor}: nothing to compare"
        torch.testing.assert_close(scores, forces, rtol=0.0, atol=1e-10)


def test_gathering_moments_is_a_sum_over_neighbours() -> None:
    """`gather` against the sum that it reorders: w h, w r·h_v/√3; w r h_s, w h_v."""
    g = torch.Generator().manual_seed(0)
    n_s, n_v, channels = 3, 2, 4
    x, p = torch.randn(2, 5, 3, generator=g, dtype=F64), torch.randn(2, 7, 3, generator=g, dtype=F64)
    s, v = torch.randn(2, 7, n_s, generator=g, dtype=F64), torch.randn(2, 7, n_v, 3, generator=g, dtype=F64)
    weight = torch.rand(2, 5, channels, 7, generator=g, dtype=F64)
    found_s, found_v = gather(weight, with_moments(s, v.mT, p), x, n_s)
    r = p[:, None] - x[:, :, None]
    along = torch.einsum("kijx,kjvx->kijv", r, v) / 3**0.5
    scalars = torch.cat([s[:, None].expand(-1, 5, -1, -1), along], -1)
    vectors = torch.cat([r[:, :, :, None] * s[:, None, :, :, None], v[:, None].expand(-1, 5, -1, -1, -1)], 3)
    expected_s = torch.einsum("kibj,kijc->kibc", weight, scalars)
    expected_v = torch.einsum("kibj,kijcx->kibcx", weight, vectors)
    torch.testing.assert_close(found_s, expected_s.flatten(2))
    torch.testing.assert_close(found_v, expected_v.flatten(2, 3).mT)


def test_linear_maps_are_those_of_e3nn() -> None:
    """The same weights in e3nn's own map, which keeps directions last."""
    g = torch.Generator().manual_seed(5)
    s, v = torch.randn(4, 6, 3, generator=g, dtype=F64), torch.randn(4, 6, 5, 3, generator=g, dtype=F64)
    maps = [EquivariantLinear(3, 5, out, 2).double() for out in (4, 7)]
    for one in maps:
        torch.nn.init.normal_(one.linear.bias)
    wide = side_by_side(maps, s, v.mT)
    for one, (wide_s, wide_v) in zip(maps, wide, strict=True):
        expected = one.linear(torch.cat([s, v.flatten(-2)], -1))
        n = wide_s.shape[-1]
        for found_s, found_v in (one(s, v.mT), (wide_s, wide_v)):
            torch.testing.assert_close(found_s, expected[..., :n])
            torch.testing.assert_close(found_v.mT.flatten(-2), expected[..., n:])
    mix = vector_linear(5, 2).double()
    torch.testing.assert_close(mix_vectors(mix, v.mT).mT.flatten(-2), mix(v.flatten(-2)))


def test_distances_are_smooth_where_points_meet() -> None:
    a = torch.zeros(3, dtype=F64, requires_grad=True)
    torch.autograd.gradcheck(lambda p: softened_distance(p, torch.zeros(3, dtype=F64)), [a])
    far = softened_distance(torch.tensor([3.0, 4.0, 0.0], dtype=F64), torch.zeros(3, dtype=F64))
    assert far.item() == pytest.approx(5.0, abs=1.1e-3)


def test_a_pocket_is_encoded_once_however_many_ligands_go_there() -> None:
    """The encoder gets each pocket once; every complex has the encoding that it has alone."""
    first, second = complexes()[:2]
    others = [replace(second, name=f"{i}", ligand=found.ligand) for i, found in enumerate(complexes())]
    several = [first, *others, replace(first, name="again")]
    data = double(collate(several))
    rows, which = distinct_pockets(data)
    assert rows.tolist() == [0, 1]
    assert which.tolist() == [0, 1, 1, 1, 1, 0]
    together = network().encode(data).pocket
    for k, found in enumerate(several):
        alone = network().encode(double(collate([found]))).pocket[0]
        torch.testing.assert_close(together[k, : len(alone)], alone, rtol=0.0, atol=1e-12)
        assert (together[k, len(alone) :] == 0).all()


@pytest.mark.parametrize(("precision", "most"), [("bfloat16", 0.06), ("float16", 0.01)])
def test_half_precision_of_the_demo_weights(precision: str, most: float) -> None:
    """Their vectors grow beyond 255 before a layer brings them back, and the square of that has no float16."""
    exact, half = docking.load_model("demo"), docking.load_model("demo", precision=precision)
    found, _ = docking.read()
    answers = []
    for model in (exact, half):
        (group,) = make_groups(model, found[:1], 4, seed=0)
        flow = group.flow()
        with torch.no_grad():
            answers.append(flow.displacement(group.start, flow.clock.levels(torch.tensor(0.5, dtype=F64))))
    for factor, wanted in answers[0].items():
        away = float((answers[1][factor] - wanted).abs().max() / wanted.abs().max())
        assert 0 < away < most
