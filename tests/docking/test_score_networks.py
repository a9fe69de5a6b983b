"""The symmetries of every score network in float64, and its derivatives against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from docking_models import batch, complexes, diffdock, double, moved_poses, network, stiff
from torch import Tensor

from domains.docking.networks.noise_embedding import NoiseEmbedding
from domains.docking.networks.pocket_net import PocketNet
from domains.docking.networks.score import ScoreNetwork, Scores
from domains.docking.poses.diffusion import FACTORS
from domains.docking.structures.batch import ComplexBatch, collate
from ld3.geometry import so3

F64 = torch.float64
SIGMA = {"tr": torch.tensor(1.3, dtype=F64), "rot": torch.tensor(0.6, dtype=F64), "tor": torch.tensor(1.1, dtype=F64)}
ALL = torch.arange(4)

Net = ScoreNetwork[Any]


@pytest.fixture(params=[network, diffdock], ids=["pocket", "diffdock"])
def net(request: pytest.FixtureRequest) -> Net:
    """Small, with random weights."""
    made: Net = request.param()
    return made


def score(net: Net, data: ComplexBatch, row: Tensor, x: Tensor, sigma: dict[str, Tensor] | None = None) -> Scores:
    return net.score(net.encode(data), row, x, SIGMA if sigma is None else sigma)


def assert_close(found: Scores, expected: Scores, tolerance: float = 1e-10) -> None:
    for factor, a, b in zip(FACTORS, found, expected, strict=True):
        assert a.abs().max() > 1e-3, f"{factor}: nothing to compare"
        torch.testing.assert_close(a, b, rtol=0.0, atol=tolerance, msg=f"{factor} differs by {(a - b).abs().max():.2g}")


def test_turning_everything_turns_the_answer(net: Net) -> None:
    """SO(3) about the origin of the pocket, where the frame of the network is; torsions are numbers and stay."""
    data, turn = batch(), so3.exp(torch.tensor([0.4, -1.1, 2.0], dtype=F64))
    turned = replace(data, pocket_positions=data.pocket_positions @ turn.T)
    x = moved_poses(data, ALL)
    plain = score(net, data, ALL, x)
    expected = Scores(plain.tr @ turn.T, plain.rot @ turn.T, plain.tor)
    assert_close(score(net, turned, ALL, x @ turn.T), expected, 1e-8)  # e3nn keeps its 3j symbols in float32


def test_a_mirror_image_has_mirrored_scores() -> None:
    """O(3): the translation is a vector, the rotation an axial one, torsions change sign.

    Not of DiffDock's network, whose head adds vectors and axial vectors: it tells a molecule from its mirror image.
    """
    net, data, mirror = network(), batch(), torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=F64))
    mirrored = replace(data, pocket_positions=data.pocket_positions @ mirror)
    x = moved_poses(data, ALL)
    plain = score(net, data, ALL, x)
    assert_close(score(net, mirrored, ALL, x @ mirror), Scores(plain.tr @ mirror, -plain.rot @ mirror, -plain.tor))


def test_the_frame_of_the_protein_does_not_matter(net: Net) -> None:
    """A whole complex moved in space, from the files' coordinates on: pockets carry their own origin."""
    shift = torch.tensor([30.0, -70.0, 12.0]).numpy()
    moved = []
    for c in complexes():
        ligand = replace(c.ligand, positions=c.ligand.positions + shift)
        pocket = replace(c.pocket, positions=c.pocket.positions + shift, origin=c.pocket.origin + shift)
        moved.append(replace(c, ligand=ligand, pocket=pocket))
    data = double(collate(moved))
    # Coordinates of files are float32: 100 Å away they are right to 1e-5 Å.
    assert_close(
        score(net, data, ALL, moved_poses(data, ALL)), score(net, batch(), ALL, moved_poses(batch(), ALL)), 3e-4
    )


def test_the_order_of_ligand_atoms_does_not_matter(net: Net) -> None:
    data, x = batch(), moved_poses(batch(), ALL)
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
    assert_close(score(net, shuffled, ALL, x[row, order]), score(net, data, ALL, x))


def _shuffled(real: int, total: int, seed: int) -> Tensor:
    first = torch.randperm(real, generator=torch.Generator().manual_seed(seed))
    return torch.cat([first, torch.arange(real, total)])


def test_the_order_of_pocket_atoms_does_not_matter(net: Net) -> None:
    data, x = batch(), moved_poses(batch(), ALL)
    order = torch.randperm(data.pocket_mask.shape[1], generator=torch.Generator().manual_seed(1))
    names = ("pocket_positions", "pocket_mask", "pocket_element", "pocket_residue", "pocket_atom_name")
    shuffled = replace(data, **{name: getattr(data, name)[:, order] for name in names})
    assert_close(score(net, shuffled, ALL, x), score(net, data, ALL, x))


def test_padding_and_the_rest_of_the_batch_do_not_matter(net: Net) -> None:
    """Complexes of different sizes side by side, several poses of some, against every pose alone in a batch of one."""
    members = [*complexes(), stiff(complexes()[2])]
    data = double(collate(members))
    row = torch.tensor([2, 0, 4, 1, 2, 3])
    x = moved_poses(data, row)
    together = score(net, data, row, x)
    for i, k in enumerate(row.tolist()):
        alone = double(collate([members[k]]))
        atoms, torsions = members[k].ligand.n_atoms, members[k].ligand.n_torsions
        own = score(net, alone, torch.tensor([0]), x[i : i + 1, :atoms])
        torch.testing.assert_close(together.tr[i : i + 1], own.tr, rtol=0.0, atol=1e-10)
        torch.testing.assert_close(together.rot[i : i + 1], own.rot, rtol=0.0, atol=1e-10)
        torch.testing.assert_close(together.tor[i : i + 1, :torsions], own.tor, rtol=0.0, atol=1e-10)
        assert (together.tor[i, torsions:] == 0).all()


def test_what_padding_holds_does_not_matter(net: Net) -> None:
    data, x = batch(), moved_poses(batch(), ALL)
    junk = torch.where(data.atom_mask.unsqueeze(-1), x, torch.full_like(x, 3.21))
    far = torch.where(
        data.pocket_mask.unsqueeze(-1), data.pocket_positions, torch.full_like(data.pocket_positions, 2.0)
    )
    bonds = torch.where(data.torsion_mask.unsqueeze(-1), data.torsion_bonds, torch.tensor([3, 4]))
    assert_close(
        score(net, replace(data, pocket_positions=far, torsion_bonds=bonds), ALL, junk), score(net, data, ALL, x)
    )


def finite_difference(f: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor, h: float = 1e-5) -> Tensor:
    return (f(x + h * direction) - f(x - h * direction)) / (2 * h)


@pytest.mark.parametrize("factor", FACTORS)
def test_gradients_are_finite_differences(net: Net, factor: str) -> None:
    """Of a score, in the positions of all atoms and in the three noise levels.

    DiffDock's time embedding is float32 and turns 1000 times faster than t, and its rotation norms are a table: its
    slopes by the levels have tests of their own.
    """
    data, row = batch(), torch.tensor([0, 1, 2, 3, 2])
    x = moved_poses(data, row)
    g = torch.Generator().manual_seed(6)
    sigma = torch.stack(list(SIGMA.values()))

    def total(positions: Tensor, levels: Tensor) -> Tensor:
        values = getattr(score(net, data, row, positions, dict(zip(FACTORS, levels, strict=True))), factor)
        return (values * torch.linspace(1, 2, values.numel(), dtype=F64).view_as(values)).sum()

    exact = torch.autograd.grad(total(x.requires_grad_(), sigma.requires_grad_()), (x, sigma))

    def of_x(positions: Tensor) -> Tensor:
        return total(positions, sigma)

    def of_sigma(levels: Tensor) -> Tensor:
        return total(x, levels)

    with torch.no_grad():
        parts = zip((x, sigma), exact, strict=True) if isinstance(net, PocketNet) else [(x, exact[0])]
        for part, gradient in parts:
            direction = torch.randn(part.shape, generator=g, dtype=F64)
            expected = finite_difference(of_x if part is x else of_sigma, part, direction)
            assert (gradient * direction).sum().item() == pytest.approx(expected.item(), rel=1e-6, abs=1e-8)


def test_levels_may_differ_from_pose_to_pose(net: Net) -> None:
    data, row = batch(), torch.tensor([0, 1])
    x = moved_poses(data, row)
    levels = {f: torch.stack([s, 2 * s]) for f, s in SIGMA.items()}
    both = score(net, data, row, x, levels)
    for i in range(2):
        own = score(net, data, row[i : i + 1], x[i : i + 1], {f: s[i] for f, s in levels.items()})
        assert_close(Scores(*(part[i : i + 1] for part in both)), own)


def test_noise_levels_of_a_grid_on_the_cpu_reach_a_network_elsewhere() -> None:
    """Grids stay on the CPU; the meta device refuses to mix as a GPU does, and needs none."""
    embedded = NoiseEmbedding(8).to("meta")(SIGMA, 3)
    assert (embedded.device.type, embedded.shape) == ("meta", (3, 8))
