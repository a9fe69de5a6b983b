"""Local refinement: the minimiser against scipy, the energy's gradient, and poses that leave a clash."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from docking_models import complexes
from scipy.optimize import minimize, rosen, rosen_der

from domains.docking.ranking.vina_energy import VinaEnergy, free_pairs, pair_energy
from domains.docking.refine.bfgs import minimise
from domains.docking.refine.local import Refinement
from domains.docking.structures.ligand import from_smiles
from domains.docking.structures.torsions import torsions


def test_the_minimiser_solves_each_problem_by_itself() -> None:
    """Quadratics of different curvature side by side with a valley of Rosenbrock's, where scipy's BFGS ends."""
    curvature = torch.tensor([[1.0, 1.0], [100.0, 0.5]], dtype=torch.float64)

    def energy(x: torch.Tensor, problems: torch.Tensor) -> torch.Tensor:
        valley = 100 * (x[:, 1] - x[:, 0] ** 2) ** 2 + (1 - x[:, 0]) ** 2
        bowl = (curvature[problems.clamp(max=1)] * (x - 3).square()).sum(1)
        return torch.where(problems == 2, valley, bowl)

    start = torch.tensor([[0.0, 0.0], [0.0, 0.0], [-1.2, 1.0]], dtype=torch.float64)
    found = minimise(energy, start, 200, torch.tensor([0.5, 0.5], dtype=torch.float64), 1e-14)
    expected = minimize(rosen, start[2].numpy(), jac=rosen_der, method="BFGS").x
    np.testing.assert_allclose(found[:2].numpy(), 3.0, atol=1e-5)
    np.testing.assert_allclose(found[2].numpy(), expected, atol=1e-3)


def test_five_terms_at_known_distances() -> None:
    """Two carbons (radii 1.9 + 1.9) at d = 0, -0.5 and 1 Å, from the published formula by hand."""
    r = torch.tensor([[3.8], [3.3], [4.8]], dtype=torch.float64)
    radii, yes, no = (torch.tensor([value], dtype=torch.float64) for value in (3.8, 1.0, 0.0))
    plain = pair_energy(r, radii, no, no)[0][:, 0].tolist()
    gauss = [-0.035579 * np.exp(-((d / 0.5) ** 2)) - 0.005156 * np.exp(-(((d - 3) / 2) ** 2)) for d in (0, -0.5, 1)]
    assert plain == pytest.approx([gauss[0], gauss[1] + 0.840245 * 0.25, gauss[2]])
    greasy = pair_energy(r, radii, yes, no)[0][:, 0].tolist()
    assert [a - b for a, b in zip(greasy, plain, strict=True)] == pytest.approx([-0.035069, -0.035069, -0.035069 / 2])
    bonded = pair_energy(r, radii, no, yes)[0][:, 0].tolist()
    assert [a - b for a, b in zip(bonded, plain, strict=True)] == pytest.approx([0.0, -0.587439 * 5 / 7, 0.0])


def test_the_slope_of_a_pair_is_that_of_finite_differences() -> None:
    """Of all five terms, at distances that are away from the kinks."""
    r = torch.linspace(1.013, 8.4, 300, dtype=torch.float64)[:, None]
    radii, yes = torch.tensor([3.7]), torch.tensor([1.0])
    step = 1e-6
    kinks = torch.tensor([3.7 - 0.7, 3.7, 3.7 + 0.5, 3.7 + 1.5, 8.0], dtype=torch.float64)
    smooth = ((r - kinks).abs() > 2 * step).all(1)
    _, slope = pair_energy(r, radii, yes, yes)
    above, below = (pair_energy(r + sign * step, radii, yes, yes)[0] for sign in (1, -1))
    np.testing.assert_allclose(slope[smooth], ((above - below) / (2 * step))[smooth], atol=1e-7)


def test_only_pairs_that_torsions_move_act_inside_of_a_ligand() -> None:
    """Of hexane: ends of four bonds or more. Of a biphenyl: only those of different rings."""
    hexane = free_pairs(from_smiles("CCCCCC", "hexane", 0))
    assert sorted(zip(*np.nonzero(hexane), strict=True)) == [(0, 4), (0, 5), (1, 5)]
    biphenyl = free_pairs(from_smiles("c1ccccc1-c1ccccc1", "biphenyl", 0))
    assert biphenyl.any() and not biphenyl[:6, :6].any() and not biphenyl[6:, 6:].any()
    assert not biphenyl[5, :].any()


def test_the_gradient_is_that_of_finite_differences() -> None:
    complex_ = complexes()[1]
    energy = VinaEnergy(complex_, complex_.ligand.positions[None], torch.float64)
    x = (torch.from_numpy(complex_.ligand.positions[None]).double() - energy.origin).requires_grad_()
    (gradient,) = torch.autograd.grad(energy(x).sum(), x)
    step = 1e-6 * torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        difference = float(energy(x + step) - energy(x - step)) / 2
    assert float((gradient * step).sum()) == pytest.approx(difference, rel=1e-3)


def test_amides_stay_flat_whatever_the_network_turns() -> None:
    """Refined alike with DiffDock's torsions, which amides are among, and with those that turn at room temperature."""
    complex_ = next(found for found in complexes() if found.name == "1s3v")
    ligand = from_smiles("CC(=O)NCCNC(C)=O", "diamide", 0)
    ligand = replace(ligand, positions=ligand.positions + complex_.ligand.positions.mean(0))
    plain = replace(complex_, ligand=ligand)
    turning, turned = torsions(ligand.mol, "diffdock")
    loose = replace(plain, ligand=replace(ligand, torsion_bonds=turning, torsion_mask=turned))
    assert loose.ligand.n_torsions == plain.ligand.n_torsions + 2
    refined = [Refinement()(own, ligand.positions[None]) for own in (plain, loose)]
    np.testing.assert_array_equal(refined[0].positions, refined[1].positions)
    np.testing.assert_array_equal(refined[0].score, refined[1].score)


def test_a_pose_in_a_clash_is_moved_out_of_it() -> None:
    """1s3v, shifted by 1 Å into its pocket's wall: the energy falls, bonds and angles stay, and it does not go far."""
    complex_ = next(found for found in complexes() if found.name == "1s3v")
    crystal = complex_.ligand.positions
    pose = crystal[None] + np.array([0.6, -0.6, 0.6], dtype=np.float32)
    energy = VinaEnergy(complex_, pose)

    def total(positions: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
        return float(energy(torch.from_numpy(positions) - energy.origin))

    refined = Refinement()(complex_, pose)
    assert total(refined.positions) < total(pose) - 1
    shift = np.sqrt(((refined.positions[0] - pose[0]) ** 2).sum(-1).mean())
    assert refined.moved[0] == pytest.approx(shift, abs=1e-3) and 0.1 < shift < 2
    assert refined.score[0] == pytest.approx(
        float(energy.score(torch.from_numpy(refined.positions) - energy.origin)), abs=1e-3
    )
    near = complex_.ligand.hops <= 2  # bonds and angles
    before, after = (np.linalg.norm(x[:, None] - x[None], axis=-1)[near] for x in (pose[0], refined.positions[0]))
    np.testing.assert_allclose(before, after, atol=2e-3)
    held = Refinement(restraint=1000.0)(complex_, pose)
    assert held.moved[0] < 0.2 * refined.moved[0]


def test_poses_do_not_see_each_other() -> None:
    complex_ = complexes()[0]
    crystal = complex_.ligand.positions
    poses = np.stack([crystal + np.float32(0.3), crystal - np.float32(0.4)])
    together = Refinement()(complex_, poses)
    for i in range(2):
        alone = Refinement()(complex_, poses[i : i + 1])
        np.testing.assert_allclose(alone.positions[0], together.positions[i], atol=0.02)
