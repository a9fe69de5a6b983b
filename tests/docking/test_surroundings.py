"""Atoms near a pose, counted by brute force over what RDKit reads in the whole file."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np
import pytest
from rdkit import Chem

from domains.docking.structures.complexes import Complex, load_posebusters
from domains.docking.structures.surroundings import Surroundings


@pytest.fixture(scope="module")
def complex_() -> Complex:
    return next(complex_ for complex_ in load_posebusters()[0] if complex_.name == "1ia1")


def described(mol: Chem.Mol, keep: np.ndarray | None = None) -> list[tuple[object, ...]]:
    """Element, name, residue, kind of record and position of atoms."""
    rows = []
    for atom, position in zip(mol.GetAtoms(), mol.GetConformer().GetPositions().round(3).tolist(), strict=True):
        info = atom.GetPDBResidueInfo()
        residue = (info.GetChainId(), info.GetResidueNumber(), info.GetResidueName(), info.GetIsHeteroAtom())
        if keep is None or keep[atom.GetIdx()]:
            rows.append((atom.GetSymbol(), info.GetName(), *residue, *position))
    return rows


def read(block: str) -> Chem.Mol:
    return Chem.MolFromPDBBlock(block, sanitize=False, removeHs=False, proximityBonding=False)


@pytest.mark.parametrize("reach", [4.0, 8.0])
def test_atoms_within_reach(complex_: Complex, reach: float) -> None:
    assert complex_.reference is not None
    block = Surroundings.read(complex_.protein_path).around(complex_.reference, reach)
    whole = read(complex_.protein_path.read_text())
    distance = np.linalg.norm(whole.GetConformer().GetPositions()[:, None] - complex_.reference, axis=-1).min(1)
    near = described(read(block))
    assert near == described(whole, distance <= reach)
    assert any(row[5] for row in near) and not all(row[5] for row in near)  # residues, and the cofactor NDP


def test_nearest_atom_of_a_pose_far_away(complex_: Complex) -> None:
    assert complex_.reference is not None
    far = complex_.reference + 500.0
    whole = read(complex_.protein_path.read_text())
    distance = np.linalg.norm(whole.GetConformer().GetPositions()[:, None] - far, axis=-1).min(1)
    block = Surroundings.read(complex_.protein_path).around(far, 8.0)
    assert described(read(block)) == described(whole, distance == distance.min())


def test_serial_numbers_beyond_the_format(complex_: Complex, tmp_path: Path) -> None:
    """Past 99 999 atoms PDB files count in hybrid-36, which RDKit refuses."""
    structure = gemmi.read_structure(str(complex_.protein_path))
    for copy in range(80):
        chain = structure[0][0].clone()
        chain.name = f"copy{copy}"
        for residue in chain:
            for atom in residue:
                atom.pos += gemmi.Position(100.0 * (copy + 1), 0.0, 0.0)
        structure[0].add_chain(chain)
    structure.setup_entities()
    path = tmp_path / "crowd.cif"
    structure.make_mmcif_document().write_file(str(path))
    surroundings = Surroundings.read(path)
    assert len(surroundings.lines) > 100_000 and not surroundings.lines[-1][6:11].strip().isdigit()
    last = surroundings.tree.data[-1:]
    neighbours = read(surroundings.around(last, 3.0))
    assert neighbours.GetNumAtoms() == len(surroundings.tree.query_ball_point(last[0], 3.0)) > 1
