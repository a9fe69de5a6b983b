"""The symmetries of PocketNet in float64, and its derivatives against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from docking_models import batch, complexes, double, network, stiff
from torch import Tensor

from domains.docking.batch import ComplexBatch, collate
from domains.docking.diffusion import FACTORS
from domains.docking.kinematics import centroid, flex, move_rigidly
from domains.docking.noise_embedding import NoiseEmbedding
from domains.docking.pocket_net.heads import project, torque_about_bonds
from domains.docking.pocket_net.tensor_field import gather, softened_distance, with_moments
from domains.docking.pose import bound_poses, retract
from domains.docking.score import Scores
from ld3.geometry import so3

F64 = torch.float64
SIGMA = {"tr": torch.tensor(1.3, dtype=F64), "rot": torch.tensor(0.6, dtype=F64), "tor": torch.tensor(1.1, dtype=F64)}


def poses(data: ComplexBatch, row: Tensor, seed: int = 0) -> Tensor:
    """Positions (B, A, 3) Å: the bound poses moved by some ångströms and radians."""
    g = torch.Generator().manual_seed(seed)
    sizes = {"tr": 3, "rot": 3, "tor": data.torsion_bonds.shape[1]}
    step = {f: torch.randn(len(row), n, generator=g, dtype=F64) for f, n in sizes.items()}
    return retract(data, bound_poses(data, row), step).positions


def score(data: ComplexBatch, row: Tensor, x: Tensor, sigma: dict[str, Tensor] | None = None) -> Scores:
    net = network()
    return net.score(net.encode(data), row, x, SIGMA if sigma is None else sigma)


def assert_close(found: Scores, expected: Scores, tolerance: float = 1e-10) -> None:
    for factor, a, b in zip(FACTORS, found, expected, strict=True):
        assert a.abs().max() > 1e-3, f"{factor}: nothing to compare"
        torch.testing.assert_close(a, b, rtol=0.0, atol=tolerance, msg=f"{factor} differs by {(a - b).abs().max():.2g}")


ALL = torch.arange(4)


def test_turning_everything_turns_the_answer() -> None:
    """SO(3) about the origin of the pocket, where the frame of the network is; torsions are numbers and stay."""
    data, turn = batch(), so3.exp(torch.tensor([0.4, -1.1, 2.0], dtype=F64))
    turned = replace(data, pocket_positions=data.pocket_positions @ turn.T)
    x = poses(data, ALL)
    plain = score(data, ALL, x)
    assert_close(score(turned, ALL, x @ turn.T), Scores(plain.tr @ turn.T, plain.rot @ turn.T, plain.tor))


def test_a_mirror_image_has_mirrored_scores() -> None:
    """O(3): the translation is a vector, the rotation an axial one, torsions change sign."""
    data, mirror = batch(), torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=F64))
    mirrored = replace(data, pocket_positions=data.pocket_positions @ mirror)
    x = poses(data, ALL)
    plain = score(data, ALL, x)
    assert_close(score(mirrored, ALL, x @ mirror), Scores(plain.tr @ mirror, -plain.rot @ mirror, -plain.tor))


def test_the_frame_of_the_protein_does_not_matter() -> None:
    """A whole complex moved in space, from the files' coordinates on: pockets carry their own origin."""
    shift = torch.tensor([30.0, -70.0, 12.0]).numpy()
    moved = []
    for c in complexes():
        ligand = replace(c.ligand, positions=c.ligand.positions + shift)
        pocket = replace(c.pocket, positions=c.pocket.positions + shift, origin=c.pocket.origin + shift)
        moved.append(replace(c, ligand=ligand, pocket=pocket))
    data = double(collate(moved))
    # Coordinates of files are float32: 100 Å away they are right to 1e-5 Å.
    assert_close(score(data, ALL, poses(data, ALL)), score(batch(), ALL, poses(batch(), ALL)), 3e-4)


def test_the_order_of_ligand_atoms_does_not_matter() -> None:
    data, x = batch(), poses(batch(), ALL)
    order = torch.stack([_shuffled(int(n), data.atom_mask.shape[1], k) for k, n in enumerate(data.atom_mask.sum(1))])
    row = torch.arange(4)[:, None]
    new_index = order.argsort(1)
    shuffled = replace(
        data,
        atom_features=data.atom_features[row, order],
        bond_type=data.bond_type[row[..., None], order[:, :, None], order[:, None, :]],
        hops=data.hops[row[..., None], order[:, :, None], order[:, None, :]],
        torsion_bonds=new_index[row[..., None], data.torsion_bonds],
        torsion_side=data.torsion_side.gather(2, order[:, None, :].expand_as(data.torsion_side)),
    )
    assert_close(score(shuffled, ALL, x[row, order]), score(data, ALL, x))


def _shuffled(real: int, total: int, seed: int) -> Tensor:
    first = torch.randperm(real, generator=torch.Generator().manual_seed(seed))
    return torch.cat([first, torch.arange(real, total)])


def test_the_order_of_pocket_atoms_does_not_matter() -> None:
    data, x = batch(), poses(batch(), ALL)
    order = torch.randperm(data.pocket_mask.shape[1], generator=torch.Generator().manual_seed(1))
    names = ("pocket_positions", "pocket_mask", "pocket_element", "pocket_residue", "pocket_atom_name")
    shuffled = replace(data, **{name: getattr(data, name)[:, order] for name in names})
    assert_close(score(shuffled, ALL, x), score(data, ALL, x))


def test_padding_and_the_rest_of_the_batch_do_not_matter() -> None:
    """Complexes of different sizes side by side, several poses of some, against every pose alone in a batch of one."""
    members = [*complexes(), stiff(complexes()[2])]
    data = double(collate(members))
    row = torch.tensor([2, 0, 4, 1, 2, 3])
    x = poses(data, row)
    together = score(data, row, x)
    for i, k in enumerate(row.tolist()):
        alone = double(collate([members[k]]))
        atoms, torsions = members[k].ligand.n_atoms, members[k].ligand.n_torsions
        own = score(alone, torch.tensor([0]), x[i : i + 1, :atoms])
        torch.testing.assert_close(together.tr[i : i + 1], own.tr, rtol=0.0, atol=1e-10)
        torch.testing.assert_close(together.rot[i : i + 1], own.rot, rtol=0.0, atol=1e-10)
        torch.testing.assert_close(together.tor[i : i + 1, :torsions], own.tor, rtol=0.0, atol=1e-10)
        assert (together.tor[i, torsions:] == 0).all()


def test_what_padding_holds_does_not_matter() -> None:
    data, x = batch(), poses(batch(), ALL)
    junk = torch.where(data.atom_mask.unsqueeze(-1), x, torch.full_like(x, 3.21))
    far = torch.where(
        data.pocket_mask.unsqueeze(-1), data.pocket_positions, torch.full_like(data.pocket_positions, 2.0)
    )
    bonds = torch.where(data.torsion_mask.unsqueeze(-1), data.torsion_bonds, torch.tensor([3, 4]))
    assert_close(score(replace(data, pocket_positions=far, torsion_bonds=bonds), ALL, junk), score(data, ALL, x))


def test_the_direct_term_of_a_torsion_is_the_same_from_either_end() -> None:
    data, x = batch(), poses(batch(), ALL)
    g = torch.Generator().manual_seed(2)
    s, v, noise = (torch.randn(4, *n, generator=g, dtype=F64) for n in ((x.shape[1], 16), (x.shape[1], 4, 3), (16,)))
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
    data, x = batch(), poses(batch(), ALL)
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
    data, x = batch(), poses(batch(), ALL)
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
    assert_close(found, Scores(*expected))


def finite_difference(f: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor, h: float = 1e-5) -> Tensor:
    return (f(x + h * direction) - f(x - h * direction)) / (2 * h)


@pytest.mark.parametrize("factor", FACTORS)
def test_gradients_are_finite_differences(factor: str) -> None:
    """Of a score, in the positions of all atoms and in the three noise levels."""
    data, row = batch(), torch.tensor([0, 1, 2, 3, 2])
    x = poses(data, row)
    g = torch.Generator().manual_seed(6)
    sigma = torch.stack(list(SIGMA.values()))

    def total(positions: Tensor, levels: Tensor) -> Tensor:
        values = getattr(score(data, row, positions, dict(zip(FACTORS, levels, strict=True))), factor)
        return (values * torch.linspace(1, 2, values.numel(), dtype=F64).view_as(values)).sum()

    exact = torch.autograd.grad(total(x.requires_grad_(), sigma.requires_grad_()), (x, sigma))

    def of_x(positions: Tensor) -> Tensor:
        return total(positions, sigma)

    def of_sigma(levels: Tensor) -> Tensor:
        return total(x, levels)

    with torch.no_grad():
        for part, gradient in zip((x, sigma), exact, strict=True):
            direction = torch.randn(part.shape, generator=g, dtype=F64)
            expected = finite_difference(of_x if part is x else of_sigma, part, direction)
            assert (gradient * direction).sum().item() == pytest.approx(expected.item(), rel=1e-6, abs=1e-8)


def test_levels_may_differ_from_pose_to_pose() -> None:
    data, row = batch(), torch.tensor([0, 1])
    x = poses(data, row)
    levels = {f: torch.stack([s, 2 * s]) for f, s in SIGMA.items()}
    both = score(data, row, x, levels)
    for i in range(2):
        own = score(data, row[i : i + 1], x[i : i + 1], {f: s[i] for f, s in levels.items()})
        assert_close(Scores(*(part[i : i + 1] for part in both)), own)


def test_gathering_moments_is_a_sum_over_neighbours() -> None:
    """`gather` against the sum that it reorders: w h, w r·h_v/√3; w r h_s, w h_v."""
    g = torch.Generator().manual_seed(0)
    n_s, n_v, channels = 3, 2, 4
    x, p = torch.randn(2, 5, 3, generator=g, dtype=F64), torch.randn(2, 7, 3, generator=g, dtype=F64)
    s, v = torch.randn(2, 7, n_s, generator=g, dtype=F64), torch.randn(2, 7, n_v, 3, generator=g, dtype=F64)
    weight = torch.rand(2, 5, channels, 7, generator=g, dtype=F64)
    found_s, found_v = gather(weight, with_moments(torch.cat([s, v.flatten(-2)], -1), p), x, n_s, n_v)
    r = p[:, None] - x[:, :, None]
    along = torch.einsum("kijx,kjvx->kijv", r, v) / 3**0.5
    scalars = torch.cat([s[:, None].expand(-1, 5, -1, -1), along], -1)
    vectors = torch.cat([r[:, :, :, None] * s[:, None, :, :, None], v[:, None].expand(-1, 5, -1, -1, -1)], 3)
    expected_s = torch.einsum("kibj,kijc->kibc", weight, scalars)
    expected_v = torch.einsum("kibj,kijcx->kibcx", weight, vectors)
    torch.testing.assert_close(found_s, expected_s.flatten(2))
    torch.testing.assert_close(found_v, expected_v.flatten(2, 3))


def test_distances_are_smooth_where_points_meet() -> None:
    a = torch.zeros(3, dtype=F64, requires_grad=True)
    torch.autograd.gradcheck(lambda p: softened_distance(p, torch.zeros(3, dtype=F64)), [a])
    far = softened_distance(torch.tensor([3.0, 4.0, 0.0], dtype=F64), torch.zeros(3, dtype=F64))
    assert far.item() == pytest.approx(5.0, abs=1.1e-3)


def test_noise_levels_of_a_grid_on_the_cpu_reach_a_network_elsewhere() -> None:
    """Grids stay on the CPU; the meta device refuses to mix as a GPU does, and needs none."""
    embedded = NoiseEmbedding(8).to("meta")(SIGMA, 3)
    assert (embedded.device.type, embedded.shape) == ("meta", (3, 8))
