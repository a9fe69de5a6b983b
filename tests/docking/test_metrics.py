"""RMSD against spyrmsd, and against hand-made poses."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdMolAlign
from spyrmsd.rmsd import symmrmsd

from domains.docking.poses.metrics import (
    centroid_distance,
    clusters,
    success,
    symmetric_rmsd,
)
from domains.docking.structures.complexes import read
from domains.docking.structures.ligand import Ligand, from_smiles
from domains.docking.structures.symmetry import automorphisms, keeping_bond_orders, same_atoms
from domains.errors import InputError

# Number of symmetries of the heavy-atom graph, counted by hand.
SYMMETRIC = {
    "c1ccccc1": 12,
    "Clc1ccc(Cl)cc1": 4,
    "Cc1cc(C)cc(C)c1": 6,
    "Oc1ccccc1": 2,
    "FC(F)(F)c1ccccc1": 3 * 2 * 2,
    "CC(C)(C)c1ccc(C(F)(F)F)cc1": 6 * 6 * 2,
    "OC(=O)c1ccccc1": 2 * 2,
    "[O-]C(=O)CC(N)C(=O)O": 2 * 2,
    "C[N+](=O)[O-]": 2,
    "CS(=O)(=O)Nc1ccccc1": 2 * 2,
    "OP(=O)(O)OC": 6,
    "C1CCC2(CC1)CCCCC2": 2 * 2 * 2,
    "CN1CCN(C)CC1": 2 * 2,
    "CC(O)C#N": 1,
}


def spyrmsd(ligand: Ligand, positions: NDArray[np.float64], reference: NDArray[np.float64]) -> list[float]:
    elements = np.array([atom.GetAtomicNum() for atom in ligand.mol.GetAtoms()])
    adjacency = Chem.GetAdjacencyMatrix(ligand.mol)
    result: list[float] = symmrmsd(reference, list(positions), elements, elements, adjacency, adjacency)
    return result


def shuffled_poses(ligand: Ligand, permutations: NDArray[np.intp], n: int, seed: int) -> NDArray[np.float64]:
    """Poses near an equivalent numbering of the atoms, so that the correction matters, and poses that are nowhere."""
    rng = np.random.default_rng(seed)
    chosen = permutations[rng.integers(len(permutations), size=n)]
    scale = rng.uniform(0.0, 3.0, (n, 1, 1))
    noise = rng.normal(size=(n, ligand.n_atoms, 3)) + rng.normal(size=(n, 1, 3))
    return ligand.positions[chosen].astype(np.float64) + scale * noise


@pytest.mark.parametrize("smiles", SYMMETRIC)
def test_symmetric_rmsd_is_spyrmsds(smiles: str) -> None:
    ligand = from_smiles(smiles, smiles, seed=1)
    reference = ligand.positions.astype(np.float64)
    permutations = automorphisms(ligand)
    poses = shuffled_poses(ligand, permutations, 20, seed=2)
    np.testing.assert_allclose(
        symmetric_rmsd(poses, reference, permutations), spyrmsd(ligand, poses, reference), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize(("smiles", "count"), SYMMETRIC.items())
def test_automorphisms_are_a_group_of_known_size(smiles: str, count: int) -> None:
    ligand = from_smiles(smiles, smiles, seed=1)
    permutations = automorphisms(ligand)
    adjacency = Chem.GetAdjacencyMatrix(ligand.mol)
    elements = np.array([atom.GetAtomicNum() for atom in ligand.mol.GetAtoms()])
    group = {tuple(p) for p in permutations}
    assert len(permutations) == len(group) == count
    for p in permutations:
        assert (adjacency[np.ix_(p, p)] == adjacency).all() and (elements[p] == elements).all()
        assert tuple(np.argsort(p)) in group


@pytest.mark.parametrize("smiles", [*SYMMETRIC, "C=CC(CC)C(=C)C", "CC(=O)C(C)=C", "NC(=O)C(O)=N", "O=C1C=CC(O)C=C1"])
def test_with_bond_orders_it_is_rdkits(smiles: str) -> None:
    ligand = from_smiles(smiles, smiles, seed=1)
    everything = automorphisms(ligand)
    permutations = keeping_bond_orders(ligand, everything)
    poses = shuffled_poses(ligand, everything, 10, seed=4)
    for pose in poses:
        moved = Chem.Mol(ligand.mol)
        moved.GetConformer().SetPositions(pose)
        expected = rdMolAlign.CalcRMS(moved, Chem.Mol(ligand.mol))
        found = symmetric_rmsd(pose[None], ligand.positions, permutations)[0]
        assert found == pytest.approx(expected, abs=1e-5)
        assert symmetric_rmsd(pose[None], ligand.positions, everything)[0] <= found + 1e-9


def test_symmetric_rmsd_on_crystal_ligands() -> None:
    for complex_ in read()[0]:
        ligand, reference = complex_.ligand, complex_.reference
        assert reference is not None
        permutations = automorphisms(ligand)
        poses = shuffled_poses(ligand, permutations, 10, seed=3)
        expected = spyrmsd(ligand, poses, reference.astype(np.float64))
        np.testing.assert_allclose(symmetric_rmsd(poses, reference, permutations), expected, rtol=0, atol=1e-9)


def test_too_many_symmetries_are_an_error_that_names_the_ligand() -> None:
    ligand = from_smiles("CC(C)(C)c1cc(C(C)(C)C)cc(C(C)(C)C)c1", "propeller", seed=1)
    assert len(automorphisms(ligand, limit=6**4)) == 6**4
    with pytest.raises(InputError, match="propeller: the molecule has more than 1295 symmetries"):
        automorphisms(ligand, limit=6**4 - 1)


def test_the_same_molecule_in_another_order() -> None:
    ligand = from_smiles("CC(=O)Nc1ccc(O)cc1", "paracetamol", seed=1)
    order = np.random.default_rng(0).permutation(ligand.n_atoms)
    other = Chem.RenumberAtoms(ligand.mol, order.tolist())
    numbers = np.array([atom.GetAtomicNum() for atom in other.GetAtoms()])
    bonds = np.array([(bond.GetEndAtomIdx(), bond.GetBeginAtomIdx()) for bond in other.GetBonds()])
    found = same_atoms(ligand, numbers, bonds)
    assert found is not None
    back = other.GetConformer().GetPositions()[found]
    assert symmetric_rmsd(back[None], ligand.positions, automorphisms(ligand)) == pytest.approx(0.0, abs=1e-6)
    assert same_atoms(ligand, np.where(np.arange(len(numbers)) == 0, 16, numbers), bonds) is None
    assert same_atoms(ligand, numbers, bonds[:-1]) is None
    isomer = from_smiles("CC(=O)Nc1cccc(O)c1", "meta", seed=1)
    assert same_atoms(isomer, numbers, bonds) is None


def test_many_symmetries_are_gathered_in_parts() -> None:
    """31104 symmetries of 21 atoms in 50 poses do not fit into one gather."""
    ligand = from_smiles("C[Si](C)(C)O[Si](O[Si](C)(C)C)(O[Si](C)(C)C)O[Si](C)(C)C", "silicate", seed=1)
    permutations = automorphisms(ligand)
    assert len(permutations) == 24 * 6**4
    reference = ligand.positions.astype(np.float64)
    rng = np.random.default_rng(0)
    chosen = permutations[rng.integers(len(permutations), size=50)]
    np.testing.assert_allclose(symmetric_rmsd(reference[chosen], reference, permutations), 0.0, atol=1e-12)


def test_a_shift_without_symmetry() -> None:
    reference = np.array([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [1.5, 1.2, 0.0]])
    shift = np.array([[0.0, 3.0, 4.0], [0.0, 0.0, 0.0]])
    poses = reference + shift[:, None]
    identity = np.arange(3)[None]
    for distance in (
        symmetric_rmsd(poses, reference, identity),
        centroid_distance(poses, reference),
    ):
        np.testing.assert_allclose(distance, [5.0, 0.0], atol=1e-12)


def test_a_turn_moves_atoms_and_not_the_centroid() -> None:
    reference = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    turned = np.array([[[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]]])
    np.testing.assert_allclose(centroid_distance(turned, reference), 0.0, atol=1e-15)
    np.testing.assert_allclose(symmetric_rmsd(turned, reference, np.arange(2)[None]), np.sqrt(2.0))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_pose_that_is_not_finite_is_nan_and_no_success(value: float) -> None:
    ligand = from_smiles("c1ccccc1", "benzene", seed=1)
    poses = np.stack([ligand.positions] * 3)
    poses[1, 4, 2] = value
    for distance in (
        symmetric_rmsd(poses, ligand.positions, automorphisms(ligand)),
        centroid_distance(poses, ligand.positions),
    ):
        assert np.isnan(distance).tolist() == [False, True, False]
        assert success(distance, 2.0).tolist() == [True, False, True]


def test_success_is_strictly_below_the_threshold() -> None:
    assert success(np.array([1.999, 2.0, 2.001]), 2.0).tolist() == [True, False, False]


def test_clusters_are_counted_from_their_first_poses() -> None:
    """Poses of benzene along a line: 0.9 Å is near the first, 1.8 Å is not, although it is near the second."""
    ligand = from_smiles("c1ccccc1", "benzene", seed=1)
    symmetries = automorphisms(ligand)
    shifts = np.array([0.0, 0.9, 1.8, 9.0, 0.0, 9.5])
    poses = ligand.positions + shifts[:, None, None] * np.array([1.0, 0.0, 0.0])
    poses[4] = poses[4, symmetries[5]]
    assert clusters(poses, symmetries).tolist() == [0, 0, 1, 2, 0, 2]
    assert clusters(poses, symmetries, cutoff=0.8).tolist() == [0, 1, 2, 3, 0, 3]
    poses[0, 2] = np.nan
    assert clusters(poses, symmetries).tolist() == [-1, 0, 0, 1, 0, 1]


def test_no_poses_have_no_rmsd() -> None:
    ligand = from_smiles("c1ccccc1", "benzene", seed=1)
    assert symmetric_rmsd(np.zeros((0, 6, 3)), ligand.positions, automorphisms(ligand)).shape == (0,)


def test_wrong_shapes_are_named() -> None:
    reference = np.zeros((3, 3))
    with pytest.raises(ValueError, match=r"positions must have shape \(n, 3, 3\), got \(2, 4, 3\)"):
        centroid_distance(np.zeros((2, 4, 3)), reference)
    with pytest.raises(ValueError, match=r"permutations must have shape \(S >= 1, 3\), got \(1, 4\)"):
        symmetric_rmsd(np.zeros((2, 3, 3)), reference, np.zeros((1, 4), dtype=np.intp))
    with pytest.raises(ValueError, match="reference must be finite"):
        centroid_distance(np.zeros((2, 3, 3)), np.full((3, 3), np.nan))
