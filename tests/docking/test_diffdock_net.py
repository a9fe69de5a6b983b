"""What DiffDockNet is made of, in float64: graphs against loops, the convolution against its definition."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from docking_models import SMALL_DIFFDOCK, batch, complexes, diffdock, double, moved_poses, stiff
from e3nn import o3
from torch import Tensor

from domains.docking.networks.diffdock_net.convolution import Convolution
from domains.docking.networks.diffdock_net.features import EmbeddedEdges, EquivariantNorm, harmonics, node_irreps
from domains.docking.networks.diffdock_net.graphs import (
    Edges,
    alpha_carbons,
    bond_graph,
    centre_graph,
    cross_graph,
    ligand_graph,
    residue_graph,
)
from domains.docking.networks.score import Scores
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.diffusion import NoiseRange
from domains.docking.poses.flow import DockingFlow
from domains.docking.structures.batch import ComplexBatch, collate
from domains.docking.structures.residues import ATOM_NAME_VOCABULARY
from ld3.geometry import so3
from ld3.testing import check_flow

F64 = torch.float64
ALL = torch.arange(4)
SIGMA = {"tr": torch.tensor(1.3, dtype=F64), "rot": torch.tensor(0.6, dtype=F64), "tor": torch.tensor(1.1, dtype=F64)}

Pairs = dict[tuple[int, int], float]


def score(data: ComplexBatch, x: Tensor, sigma: float = 1.3) -> Scores:
    net = diffdock()
    return net.score(net.encode(data), ALL, x, SIGMA | {"tr": torch.tensor(sigma, dtype=F64)})


def pairs(edges: Edges) -> Pairs:
    """(receiver, sender) -> weight; each pair once."""
    found = {(int(i), int(j)): float(w) for i, j, w in zip(edges.receiver, edges.sender, edges.weight, strict=True)}
    assert len(found) == len(edges.receiver)
    return found


def fading(distance: float, reach: float) -> float:
    return math.cos(0.5 * math.pi * distance / reach) ** 2


def assert_same(found: Pairs, expected: Pairs) -> None:
    assert found.keys() == expected.keys()
    assert list(found.values()) == pytest.approx([expected[pair] for pair in found])


def test_alpha_carbons_are_those_of_the_residues_in_any_order() -> None:
    """One for each residue with one, with the residue's kind; shuffled atoms and padding change nothing."""
    data = batch()
    order = torch.randperm(data.pocket_mask.shape[1], generator=torch.Generator().manual_seed(1))
    names = ("pocket_positions", "pocket_mask", "pocket_element", "pocket_residue", "pocket_atom_name")
    found = alpha_carbons(replace(data, **{name: getattr(data, name)[:, order] for name in names}))
    for k, c in enumerate(complexes()):
        here = c.pocket.atom_name == ATOM_NAME_VOCABULARY.index("CA")
        rows = zip((c.pocket.positions - c.pocket.origin)[here].tolist(), c.pocket.residue[here].tolist(), strict=True)
        mine = zip(found.positions[k][found.mask[k]].tolist(), found.kind[k][found.mask[k]].tolist(), strict=True)
        assert sorted(mine) == sorted(rows)
        assert 20 <= here.sum() == len(set(c.pocket.residue_index[here].tolist()))


def test_graphs_are_the_pairs_within_reach_and_fade() -> None:
    """Every graph against a loop over all pairs of nodes; bonds count in full at any length."""
    data, x = batch(), moved_poses(batch(), ALL)
    residues = alpha_carbons(data)
    reach = torch.tensor([4.0, 7.0, 9.0, 30.0], dtype=F64)
    a, q = data.atom_mask.shape[1], residues.mask.shape[1]
    ligand: Pairs = {}
    cross: Pairs = {}
    pocket: Pairs = {}
    for k in range(4):
        atoms, alphas = int(data.atom_mask[k].sum()), int(residues.mask[k].sum())
        for i in range(atoms):
            for j in range(atoms):
                d = float((x[k, i] - x[k, j]).norm())
                if i != j and (d < 3.0 or data.bond_type[k, i, j]):
                    ligand[k * a + i, k * a + j] = 1.0 if data.bond_type[k, i, j] else fading(d, 3.0)
            for j in range(alphas):
                if (d := float((x[k, i] - residues.positions[k, j]).norm())) < reach[k]:
                    cross[k * a + i, k * q + j] = fading(d, float(reach[k]))
        for i in range(alphas):
            for j in range(alphas):
                if i != j and (d := float((residues.positions[k, i] - residues.positions[k, j]).norm())) < 8.0:
                    pocket[k * q + i, k * q + j] = fading(d, 8.0)
    assert_same(pairs(ligand_graph(x, data.atom_mask, data.bond_type > 0, 3.0)), ligand)
    assert_same(pairs(cross_graph(x, data.atom_mask, residues.positions, residues.mask, reach)), cross)
    assert_same(pairs(residue_graph(residues, 8.0)), pocket)


def test_steps_lead_from_the_receiver_to_the_sender() -> None:
    data, x = batch(), moved_poses(batch(), ALL)
    flat = x.flatten(0, 1)
    within = ligand_graph(x, data.atom_mask, data.bond_type > 0, 5.0)
    torch.testing.assert_close(within.step, flat[within.sender] - flat[within.receiver])
    centre = centre_graph(x, data.atom_mask)
    middle = torch.stack([x[k, data.atom_mask[k]].mean(0) for k in range(4)])
    assert len(centre.sender) == data.atom_mask.sum()
    torch.testing.assert_close(centre.step, flat[centre.sender] - middle[centre.receiver])


def test_bonds_hear_the_atoms_around_their_midpoints() -> None:
    data, x = batch(), moved_poses(batch(), ALL)
    graph = bond_graph(x, data.atom_mask, data.torsion_bonds, data.torsion_mask, 4.0)
    a, expected, axes = x.shape[1], {}, []
    bonds = [(k, *bond) for k in range(4) for bond in data.torsion_bonds[k][data.torsion_mask[k]].tolist()]
    for t, (k, u, v) in enumerate(bonds):
        assert graph.ends[t].tolist() == [k * a + u, k * a + v]
        axes.append(x[k, v] - x[k, u])
        for i in range(int(data.atom_mask[k].sum())):
            if (d := float((x[k, i] - (x[k, u] + x[k, v]) / 2).norm())) < 4.0:
                expected[t, k * a + i] = fading(d, 4.0)
    assert_same(pairs(graph.edges), expected)
    torch.testing.assert_close(graph.axis, torch.stack(axes))


def test_reversed_edges_have_the_harmonics_of_the_opposite_step() -> None:
    g = torch.Generator().manual_seed(0)
    step = torch.randn(7, 3, generator=g, dtype=F64)
    nodes = torch.arange(7)
    edges = EmbeddedEdges(nodes, nodes + 9, torch.ones(7), torch.zeros(7, 2), harmonics(step, 3))
    back = edges.reversed()
    torch.testing.assert_close(back.direction, harmonics(-step, 3))
    assert (back.receiver.tolist(), back.sender.tolist()) == (edges.sender.tolist(), edges.receiver.tolist())


def test_convolution_is_its_definition() -> None:
    """Sum over paths of w √((2l+1)/n) C x y by Wigner 3j symbols, then the weighted mean over neighbours."""
    sender, direction, out = o3.Irreps("3x0e+2x1o"), o3.Irreps.spherical_harmonics(1), o3.Irreps("2x0e+2x1o+1x1e")
    torch.manual_seed(0)
    layer = Convolution(sender, direction, out, 4, SMALL_DIFFDOCK).double().eval()
    g = torch.Generator().manual_seed(1)
    x, step = torch.randn(5, sender.dim, generator=g, dtype=F64), torch.randn(6, 3, generator=g, dtype=F64)
    invariant, weight = torch.randn(6, 4, generator=g, dtype=F64), torch.rand(6, generator=g, dtype=F64)
    receiver, source = torch.tensor([0, 0, 2, 2, 2, 0]), torch.tensor([1, 4, 0, 3, 1, 2])
    edges = EmbeddedEdges(receiver, source, weight, invariant, harmonics(step, 1))
    found = layer(x, edges, 3)
    paths = [(i, j, k) for i, a in enumerate(sender) for j, b in enumerate(direction) for k, c in enumerate(out)
             if c.ir in a.ir * b.ir]  # fmt: skip
    fan = {k: sum(sender[i].mul for i, _, to in paths if to == k) for *_, k in paths}
    expected = torch.zeros(3, out.dim, dtype=F64)
    for e in range(6):
        weights, message = layer.weights(invariant[e]), torch.zeros(out.dim, dtype=F64)
        for i, j, k in paths:
            (mul_in, ir_in), (_, ir_sh), (mul_out, ir_out) = sender[i], direction[j], out[k]
            w, weights = weights[: mul_in * mul_out].view(mul_in, mul_out), weights[mul_in * mul_out :]
            h = x[source[e], sender.slices()[i]].view(mul_in, ir_in.dim)
            y = edges.direction[e, direction.slices()[j]]
            w3j = o3.wigner_3j(ir_in.l, ir_sh.l, ir_out.l, dtype=F64)
            coupled = torch.einsum("uw,abc,ua,b->wc", w, w3j, h, y) * math.sqrt(ir_out.dim / fan[k])
            message[out.slices()[k]] += coupled.flatten()
        assert not len(weights)
        expected[receiver[e]] += weight[e] * message
    total = torch.stack([weight[receiver == r].sum() for r in range(3)])
    torch.testing.assert_close(found, expected / (1 + total).unsqueeze(-1), rtol=1e-6, atol=1e-7)  # e3nn's 3j: float32


def test_many_edges_are_done_in_parts() -> None:
    """More than fit the caches at once, against the same ones in two calls."""
    sender, direction, out = o3.Irreps("2x0e"), o3.Irreps("1x0e"), o3.Irreps("2x0e")
    torch.manual_seed(0)
    layer = Convolution(sender, direction, out, 1, SMALL_DIFFDOCK).double().eval()
    g = torch.Generator().manual_seed(1)
    n = 5000
    x = torch.randn(4, 2, generator=g, dtype=F64)
    source = torch.randint(4, (n,), generator=g)
    one = torch.ones(n, dtype=F64)
    edges = EmbeddedEdges(source * 0, source, one, torch.randn(n, 1, generator=g, dtype=F64), one.unsqueeze(1))
    halves = [EmbeddedEdges(*(part[rows] for part in edges)) for rows in (slice(0, 2000), slice(2000, n))]
    sums = [layer(x, half, 1) * (1 + len(half.sender)) for half in halves]
    torch.testing.assert_close(layer(x, edges, 1), (sums[0] + sums[1]) / (1 + n))


def test_norm_gives_every_kind_of_channel_mean_square_one() -> None:
    """And commutes with rotations, at any gains; scalars have mean zero too."""
    irreps = node_irreps(SMALL_DIFFDOCK, 3)
    assert irreps == o3.Irreps("6x0e+2x1o+2x1e+2x0o")
    norm = EquivariantNorm(irreps).double()
    x = 50 * torch.randn(9, irreps.dim, generator=torch.Generator().manual_seed(0), dtype=F64)
    y = norm(x)
    for place in irreps.slices():
        torch.testing.assert_close(y[:, place].square().mean(1), torch.ones(9, dtype=F64), rtol=1e-4, atol=0.0)
    torch.testing.assert_close(y[:, :6].mean(1), torch.zeros(9, dtype=F64))
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(1))
    turn = irreps.D_from_matrix(so3.exp(torch.tensor([0.3, 1.0, -0.4], dtype=F64))).double()
    torch.testing.assert_close(norm(x @ turn.T), norm(x) @ turn.T, rtol=1e-5, atol=1e-5)


def test_docking_with_it_is_a_flow() -> None:
    """As with any network; gradients with respect to the grid included."""
    model = DockingModel(diffdock(), NoiseRange(), 2.0)
    check_flow(DockingFlow(model.encode(double(collate(complexes()[1:2])))), torch.Generator().manual_seed(0))


def test_only_relative_positions_count() -> None:
    """Pocket and pose shifted together, inside the frame of the pocket."""
    data, x = batch(), moved_poses(batch(), ALL)
    shift = torch.tensor([5.0, -3.0, 8.0], dtype=F64)
    moved = score(replace(data, pocket_positions=data.pocket_positions + shift), x + shift)
    for found, expected in zip(moved, score(data, x), strict=True):
        torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-10)


def test_the_pocket_is_out_of_sight_beyond_the_cutoff() -> None:
    """10 Å and three times the noise level: a pose 60 Å away hears nobody, and a broader one does."""
    data = batch()
    pose = moved_poses(data, ALL)
    away = pose + torch.tensor([60.0, 0.0, 0.0], dtype=F64)
    farther = pose + torch.tensor([90.0, 0.0, 0.0], dtype=F64)
    for near, far in zip(score(data, away, 1.0), score(data, farther, 1.0), strict=True):
        torch.testing.assert_close(near, far, rtol=0.0, atol=1e-10)
    assert (score(data, away, 30.0).tr - score(data, farther, 30.0).tr).abs().max() > 1e-6


def test_pockets_without_alpha_carbons_are_not_seen() -> None:
    """Nothing breaks, and where the pocket's atoms are makes no difference."""
    data, x = batch(), moved_poses(batch(), ALL)
    other = torch.full_like(data.pocket_atom_name, ATOM_NAME_VOCABULARY.index("other"))
    blind = replace(data, pocket_atom_name=other)
    moved = replace(blind, pocket_positions=blind.pocket_positions * 0.5)
    for found, expected in zip(score(blind, x), score(moved, x), strict=True):
        assert torch.equal(found, expected)
        assert found.abs().max() > 1e-4


def test_ligands_that_cannot_turn_are_moved_all_the_same() -> None:
    """A batch without any torsion, against the same ligands with theirs: translations and rotations agree."""
    rigid = double(collate([stiff(c) for c in complexes()]))
    x = moved_poses(batch(), ALL)
    found, expected = score(rigid, x), score(batch(), x)
    torch.testing.assert_close(found.tr, expected.tr, rtol=0.0, atol=1e-12)
    torch.testing.assert_close(found.rot, expected.rot, rtol=0.0, atol=1e-12)
    assert found.tor.shape == (4, 0)
