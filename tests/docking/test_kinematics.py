"""Moves of poses against DiffDock's figures, dihedral angles, an independent superposition, and finite differences."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import pytest
import torch
from conftest import data
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn.functional import pad

from domains.docking.poses import kinematics

F64 = torch.float64
NAMES = ("6o5u", "1a46", "6moa")


class Body(NamedTuple):
    """Arguments of `kinematics.move` that describe the ligands of a batch."""

    positions: Tensor
    mask: Tensor
    bonds: Tensor
    sides: Tensor


class Step(NamedTuple):
    """The other arguments."""

    translation: Tensor
    rotation: Tensor
    angles: Tensor


@functools.cache
def figures() -> dict[str, Tensor]:
    with np.load(data("diffdock_conformers.npz")) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files if file[key].dtype.kind in "fib"}


def body(name: str, dtype: torch.dtype, positions: Tensor | None = None) -> Body:
    f = figures()
    x = (f[f"{name}/pos"].unsqueeze(0) if positions is None else positions).to(dtype)
    bonds = f[f"{name}/edge_index"][:, f[f"{name}/edge_mask"]].T
    n = len(x)
    sides = f[f"{name}/mask_rotate"]
    mask = torch.ones(x.shape[:2], dtype=torch.bool)
    return Body(x, mask, bonds.expand(n, -1, -1), sides.expand(n, -1, -1))


def step(name: str, case: str, dtype: torch.dtype) -> Step:
    f = figures()
    angles = f.get(f"{name}/{case}/torsion_updates")
    n = len(f[f"{name}/{case}/tr_update"])
    angles = torch.zeros(n, 0) if angles is None else angles.view(n, -1)
    return Step(f[f"{name}/{case}/tr_update"].to(dtype), f[f"{name}/{case}/rot_update"].to(dtype), angles.to(dtype))


def random_step(n: int, torsions: int, seed: int) -> Step:
    g = torch.Generator().manual_seed(seed)
    return Step(*(torch.randn(n, k, generator=g, dtype=F64) for k in (3, 3, torsions)))


def padded(b: Body, atoms: int, torsions: int) -> Body:
    a, r = atoms - b.positions.shape[1], torsions - b.bonds.shape[1]
    return Body(
        pad(b.positions, (0, 0, 0, a)), pad(b.mask, (0, a)), pad(b.bonds, (0, 0, 0, r)), pad(b.sides, (0, a, 0, r))
    )


def stack(bodies: list[Body]) -> Body:
    atoms = max(b.positions.shape[1] for b in bodies)
    torsions = max(b.bonds.shape[1] for b in bodies)
    return Body(*(torch.cat(parts) for parts in zip(*(padded(b, atoms, torsions) for b in bodies), strict=True)))


def chain() -> Body:
    """Five atoms with two torsions, about bonds 1-2 and 2-3."""
    g = torch.Generator().manual_seed(1)
    x = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [2.0, 1.4, 0.0], [3.4, 1.6, 0.8]], dtype=F64)
    x = x + 0.1 * torch.randn(5, 3, generator=g, dtype=F64)
    sides = torch.tensor([[False, False, True, True, True], [False, False, False, True, True]])
    return Body(x[None], torch.ones(1, 5, dtype=torch.bool), torch.tensor([[[1, 2], [2, 3]]]), sides[None])


def line() -> Body:
    """Three atoms in a row, as in cyanogen's nitrile: nothing turns, and no superposition of it is unique."""
    x = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.5, 0.2], [2.0, 1.0, 0.4]], dtype=F64)
    bonds, sides = torch.zeros(1, 0, 2, dtype=torch.int64), torch.zeros(1, 0, 3, dtype=torch.bool)
    return Body(x[None], torch.ones(1, 3, dtype=torch.bool), bonds, sides)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", ["small", "large"])
@pytest.mark.parametrize("name", NAMES)
def test_single_move_is_diffdocks(name: str, case: str, dtype: torch.dtype) -> None:
    f, b, s = figures(), body(name, dtype), step(name, case, dtype)

    def same(found: Tensor, expected: Tensor) -> None:  # the figures are float32, coordinates up to 100 Å
        torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-4, check_dtype=False)

    rigid = kinematics.move_rigidly(b.positions, b.mask, s.translation, s.rotation)
    same(rigid[0], f[f"{name}/{case}/rigid_pos"])
    flexed = kinematics.flex(rigid, b.bonds, b.sides, s.angles)
    same(flexed[0], f[f"{name}/{case}/flexible_pos_before_align"])
    same(kinematics.move(*b, *s)[0], f[f"{name}/{case}/single_new_pos"])
    turned = kinematics.flex(b.positions, b.bonds, b.sides, s.angles)
    same(turned[0], f[f"{name}/{case}/torsion_only_new_pos"])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", NAMES)
def test_batch_of_moves_is_diffdocks(name: str, dtype: torch.dtype) -> None:
    f = figures()
    b, s = body(name, dtype, f[f"{name}/batch/pos"]), step(name, "batch", dtype)
    for reference in ("new_pos", "single_new_pos"):
        moved = kinematics.move(*b, *s).to(torch.float32)
        torch.testing.assert_close(moved, f[f"{name}/batch/{reference}"], rtol=0.0, atol=1e-4)
    stiff = b._replace(bonds=b.bonds[:, :0], sides=b.sides[:, :0])
    moved = kinematics.move(*stiff, *s._replace(angles=s.angles[:, :0])).to(torch.float32)
    torch.testing.assert_close(moved, f[f"{name}/batch/new_pos_no_torsion"], rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_rigid_move_is_diffdocks(name: str) -> None:
    b, s = body(name, F64), step(name, "rigid", F64)
    stiff = b._replace(bonds=b.bonds[:, :0], sides=b.sides[:, :0])
    expected = figures()[f"{name}/rigid/single_new_pos"].double()
    torch.testing.assert_close(kinematics.move(*stiff, *s)[0], expected, rtol=0.0, atol=1e-4)


def test_ragged_batch_is_one_by_one() -> None:
    """Different numbers of atoms and torsions side by side, one ligand without any torsion."""
    bodies = [*(body(name, F64) for name in NAMES), chain(), line()]
    batch = stack(bodies)
    s = random_step(len(bodies), batch.bonds.shape[1], 0)
    moved = kinematics.move(*batch, *s)
    for i, alone in enumerate(bodies):
        own = Step(s.translation[i : i + 1], s.rotation[i : i + 1], s.angles[i : i + 1, : alone.bonds.shape[1]])
        expected = kinematics.move(*alone, *own)
        torch.testing.assert_close(moved[i : i + 1, : expected.shape[1]], expected, rtol=0.0, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_torsions_carry_no_net_rigid_motion(name: str) -> None:
    """Superposing the flexed pose on the one before (SciPy's own solution) leaves it where it is."""
    b, s = body(name, F64), step(name, "large", F64)
    still = torch.zeros(1, 3, dtype=F64)
    moved = kinematics.move(*b, still, still, s.angles)[0].numpy()
    start = b.positions[0].numpy()
    assert np.abs(moved - start).max() > 1.0
    np.testing.assert_allclose(moved.mean(0), start.mean(0), rtol=0, atol=1e-10)
    rotation, _ = Rotation.align_vectors(start - start.mean(0), moved - moved.mean(0))
    assert rotation.magnitude() < 1e-6


def dihedral(x: Tensor, i: int, j: int, k: int, m: int) -> Tensor:
    """IUPAC sign: clockwise is positive as seen from j to k."""
    a, b, c = x[j] - x[i], x[k] - x[j], x[m] - x[k]
    n, o = torch.linalg.cross(a, b), torch.linalg.cross(b, c)
    return torch.atan2((torch.linalg.cross(n, o) * b).sum() / b.norm(), (n * o).sum())


def test_a_torsion_update_is_a_change_of_its_dihedral_angle() -> None:
    """About an axis that points from the turned end v to u, a right-handed turn lowers the dihedral angle."""
    b, angles = chain(), torch.tensor([[0.7, -1.9]], dtype=F64)
    moved = kinematics.move(*b, *random_step(1, 0, 3)[:2], angles)[0]
    before = b.positions[0]
    for r, atoms in enumerate([(0, 1, 2, 3), (1, 2, 3, 4)]):
        change = dihedral(moved, *atoms) - dihedral(before, *atoms)
        assert torch.remainder(change + angles[0, r] + 1, 2 * torch.pi).item() == pytest.approx(1, abs=1e-12)
    for gap in (1, 2):  # bond lengths and angles stay
        torch.testing.assert_close((moved[gap:] - moved[:-gap]).norm(dim=1), (before[gap:] - before[:-gap]).norm(dim=1))


def test_no_step_is_no_move() -> None:
    b = stack([*(body(name, F64) for name in NAMES), line()])
    still = Step(*(torch.zeros(len(b.positions), n, dtype=F64) for n in (3, 3, b.bonds.shape[1])))
    torch.testing.assert_close(kinematics.move(*b, *still), b.positions, rtol=0.0, atol=1e-11)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 0.0])
def test_gradients_are_finite_differences(scale: float) -> None:
    """In positions, translation, rotation and angles; also at steps of almost or exactly nothing."""
    b = stack([chain(), line(), chain()._replace(positions=2.0 * chain().positions)])
    inputs = [b.positions, *(scale * part for part in random_step(3, 2, 5))]
    inputs = [part.clone().requires_grad_() for part in inputs]

    def move(x: Tensor, translation: Tensor, rotation: Tensor, angles: Tensor) -> Tensor:
        moved = kinematics.move(x, b.mask, b.bonds, b.sides, translation, rotation, angles)
        return torch.where(b.mask.unsqueeze(-1), moved, torch.zeros_like(moved))

    torch.autograd.gradcheck(move, inputs, eps=1e-6, atol=1e-6)


def test_a_straight_ligand_beside_a_flexible_one_keeps_its_gradient() -> None:
    """The superposition of collinear atoms is not unique; the gradient must be that of the rigid move all the same."""
    b = stack([chain(), line()])
    s = random_step(2, 2, 7)
    target = torch.randn(b.positions.shape, generator=torch.Generator().manual_seed(0), dtype=F64)

    def gradients(b: Body, s: Step, target: Tensor) -> list[Tensor]:
        inputs = [part.clone().requires_grad_() for part in (b.positions, s.translation, s.rotation)]
        moved = kinematics.move(inputs[0], b.mask, b.bonds, b.sides, inputs[1], inputs[2], s.angles)
        return list(torch.autograd.grad(((moved - target) * b.mask.unsqueeze(-1)).square().sum(), inputs))

    together = gradients(b, s, target)
    alone = gradients(line(), Step(s.translation[1:], s.rotation[1:], s.angles[1:, :0]), target[1:, :3])
    assert all(part.isfinite().all() for part in together)
    for part, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(part[1:, :3], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mirrored", [False, True])
def test_superposition_is_scipys_with_and_without_a_gradient(mirrored: bool) -> None:
    """Also where a reflection would be nearer, which is no superposition."""
    g = torch.Generator().manual_seed(2)
    a = torch.randn(4, 9, 3, generator=g, dtype=F64)
    b = a * torch.tensor([1.0, 1.0, -1.0 if mirrored else 1.0]) @ torch.linalg.matrix_exp(
        torch.tensor([[0.0, 0.7, -0.2], [-0.7, 0.0, 1.1], [0.2, -1.1, 0.0]], dtype=F64)
    ) + 0.1 * torch.randn(4, 9, 3, generator=g, dtype=F64)
    mask = torch.ones(4, 9, dtype=torch.bool)
    mask[1:, 7:] = False
    found = kinematics.superposition(a, b, mask)
    differentiable = kinematics.superposition(a.clone().requires_grad_(), b, mask)
    torch.testing.assert_close(found, differentiable.detach(), rtol=0.0, atol=1e-12)
    for i in range(4):
        kept = mask[i]
        rotation, _ = Rotation.align_vectors(b[i, kept].numpy(), a[i, kept].numpy())
        np.testing.assert_allclose(found[i].numpy().T, rotation.as_matrix(), rtol=0, atol=1e-9)
