"""Conformers of RDKit over bound poses: their own bonds and rings, the pose's torsions and place; computed once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from docking_models import complexes
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdMolTransforms
from rdkit.Geometry import Point3D

from domains.docking.structures.ligand import Ligand, with_conformer
from domains.docking.structures.matched_conformers import matched_conformer
from domains.docking.training.conformers import FILE, matched_conformers


def at(ligand: Ligand, positions: NDArray[np.float32]) -> Chem.Mol:
    mol = Chem.Mol(ligand.mol)
    for i, xyz in enumerate(positions.tolist()):
        mol.GetConformer().SetAtomPosition(i, Point3D(*xyz))
    return mol


def dihedrals(ligand: Ligand, mol: Chem.Mol) -> NDArray[np.float64]:
    ends = []
    for u, v in ligand.torsion_bonds.tolist():
        a = next(n.GetIdx() for n in mol.GetAtomWithIdx(u).GetNeighbors() if n.GetIdx() != v)
        b = next(n.GetIdx() for n in mol.GetAtomWithIdx(v).GetNeighbors() if n.GetIdx() != u)
        ends.append((a, u, v, b))
    return np.array([rdMolTransforms.GetDihedralDeg(mol.GetConformer(), *four) for four in ends])


@pytest.mark.parametrize("index", range(4))
def test_torsions_of_the_pose_and_bonds_of_the_conformer(index: int) -> None:
    ligand = complexes()[index].ligand
    found = matched_conformer(ligand, seed=0, tries=1, farthest=2.0)
    assert found is not None
    apart = (dihedrals(ligand, at(ligand, found)) - dihedrals(ligand, ligand.mol) + 180) % 360 - 180
    assert np.abs(apart).max() < 0.1
    fresh = with_conformer(ligand, 0).positions
    ends = ligand.bond_index
    lengths = [np.linalg.norm(x[ends[0]] - x[ends[1]], axis=1) for x in (found, fresh, ligand.positions)]
    np.testing.assert_allclose(lengths[0], lengths[1], atol=1e-3)
    assert np.abs(lengths[0] - lengths[2]).max() > 0.01
    rmsd = float(np.sqrt(((found - ligand.positions) ** 2).sum(1).mean()))
    assert 0.02 < rmsd < 2.0


def test_more_tries_come_nearer_and_what_is_too_far_is_none() -> None:
    ligand = max((c.ligand for c in complexes()), key=lambda own: own.n_atoms)
    rmsd = []
    for tries in (1, 4):
        found = matched_conformer(ligand, 0, tries, 9.0)
        assert found is not None
        rmsd.append(float(np.sqrt(((found - ligand.positions) ** 2).sum(1).mean())))
    assert rmsd[1] <= rmsd[0]
    assert matched_conformer(ligand, 0, 1, 0.9 * rmsd[1]) is None


def test_what_is_kept_is_not_computed_again(tmp_path: Path) -> None:
    """A marked file comes back as it is; a moved ligand, another seed and a damaged file are computed anew."""
    own = complexes()[:2]
    count: list[int] = []
    first = matched_conformers(own, 0, tmp_path, count.append)
    assert sum(count) == 2
    assert set(first) <= {c.name for c in own}
    assert first
    written = (tmp_path / FILE).stat().st_mtime_ns
    again = matched_conformers(own, 0, tmp_path, count.append)
    assert (tmp_path / FILE).stat().st_mtime_ns == written
    for name, positions in first.items():
        np.testing.assert_array_equal(again[name], positions)
    moved = [replace(c, ligand=_moved(c.ligand)) for c in own]
    there = matched_conformers(moved, 0, tmp_path, count.append)
    for name, positions in first.items():
        np.testing.assert_allclose(there[name], positions + 5.0, atol=1e-3)
    (tmp_path / FILE).write_text("damaged")
    for name, positions in matched_conformers(own, 0, tmp_path, count.append).items():
        np.testing.assert_array_equal(positions, first[name])


def _moved(ligand: Ligand) -> Ligand:
    positions = ligand.positions + np.float32(5.0)
    return replace(ligand, mol=at(ligand, positions), positions=positions)
