"""Drawings are told from poses, and keep the stereo that is drawn; what is open is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import data
from rdkit import Chem
from rdkit.Chem import rdDepictor, rdDistGeom

from domains.docking.structures.ligand import Ligand, from_mol, from_smiles
from domains.docking.structures.ligand_files import read_sdf
from domains.docking.structures.stereo import open_stereo
from domains.errors import InputError, InputProblem

DIPEPTIDE = "C[C@H](N)C(=O)N[C@@H](Cc1ccccc1)C(=O)O"
DRAWN = "it is a drawing: conformer by RDKit"


def _drawing(smiles: str, *, header: str = "2D", z: float = 0.0, scale: float = 1.0, swap: bool = False) -> str:
    """A record as programs draw it: wedges, one z for all atoms, or x and z instead of x and y."""
    mol = Chem.MolFromSmiles(smiles)
    rdDepictor.Compute2DCoords(mol)
    lines = Chem.MolToMolBlock(mol).split("\n")
    lines[1] = lines[1].replace("2D", header)
    for i in range(4, 4 + mol.GetNumAtoms()):
        x, y = (scale * float(lines[i][a : a + 10]) for a in (0, 10))
        xyz = (x, 27.0, y) if swap else (x, y, z)
        lines[i] = "".join(f"{value:10.4f}" for value in xyz) + lines[i][30:]
    return "\n".join(lines)


def _read(folder: Path, block: str) -> Ligand | InputProblem:
    (folder / "drawn.sdf").write_text(block)
    (found,) = read_sdf(folder / "drawn.sdf", seed=3)
    return found


@pytest.mark.parametrize("smiles", [DIPEPTIDE, "C/C=C/C(=O)O", "C/C=C\\C(=O)O", "C[C@H]1CC[C@@H](O)CC1", "c1ccccc1"])
@pytest.mark.parametrize(
    ("header", "z", "scale"), [("2D", 0.0, 1.0), ("2D", 8.0, 1.0), ("3D", 8.0, 1.0), ("", 0, 0.55)]
)
def test_a_drawing_has_the_stereo_of_its_wedges(
    tmp_path: Path, smiles: str, header: str, z: float, scale: float
) -> None:
    found = _read(tmp_path, _drawing(smiles, header=header.ljust(2), z=z, scale=scale))
    assert isinstance(found, Ligand), str(found)
    assert found.source == "drawing"
    assert found.pose is None
    assert found.remarks == (DRAWN,)
    assert Chem.MolToSmiles(found.mol) == Chem.CanonSmiles(smiles)
    bonds = np.linalg.norm(np.diff(found.positions[found.bond_index], axis=0), axis=-1)
    assert bonds.max() < 1.65


def test_wedges_in_another_plane_are_refused(tmp_path: Path) -> None:
    found = _read(tmp_path, _drawing(DIPEPTIDE, header="3D", swap=True))
    assert isinstance(found, InputProblem)
    assert "a drawing with wedges that is not in the plane of x and y" in str(found)
    plain = _read(tmp_path, _drawing("CC(N)C(=O)O", header="3D", swap=True))
    assert isinstance(plain, Ligand)
    assert plain.source == "drawing"
    assert plain.remarks[1].startswith("its stereo is open at C2; docked as ")


def test_open_stereo_of_a_drawing_is_said(tmp_path: Path) -> None:
    found = _read(tmp_path, _drawing("OC(=O)C(N)C=Cc1ccccc1"))
    assert isinstance(found, Ligand)
    isomer = Chem.MolToSmiles(found.mol)
    assert found.remarks == (DRAWN, f"its stereo is open at C4, C6=C7; docked as {isomer}")
    assert "@" in isomer and "/" in isomer


def test_a_crossed_double_bond_is_open(tmp_path: Path) -> None:
    found = _read(tmp_path, _drawing("C/C=C/C(=O)O").replace("  2  3  2  0", "  2  3  2  3"))
    assert isinstance(found, Ligand)
    assert "its stereo is open at C2=C3" in found.remarks[1]


@pytest.mark.parametrize(
    "smiles", ["O=C=O", "c1ccccc1", "N#CC#N", "Nc1ncnc2[nH]cnc12", "O=c1cc[nH]c(=O)[nH]1", "CC", "C#CC#N"]
)
def test_flat_molecules_are_no_drawings(tmp_path: Path, smiles: str) -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    heavy = Chem.RemoveAllHs(mol)
    positions = heavy.GetConformer().GetPositions()
    centred = positions - positions.mean(0)
    flat = centred @ np.linalg.svd(centred)[2].T * np.array([1.0, 1.0, 0.0])
    heavy.GetConformer().SetPositions(flat)
    found = _read(tmp_path, Chem.MolToMolBlock(heavy))
    assert isinstance(found, Ligand)
    assert (found.source, found.remarks) == ("pose", ())
    np.testing.assert_allclose(found.positions, flat, atol=1e-3)


def test_a_pose_that_calls_itself_2d_is_a_pose(tmp_path: Path) -> None:
    block = data("1a46_ligand.sdf").read_text()
    lines = block.split("\n")
    lines[1] = "  program000000000002D".ljust(24)
    found = _read(tmp_path, "\n".join(lines))
    assert isinstance(found, Ligand)
    assert found.source == "pose"
    assert found.remarks == ("its file says 2D, but its coordinates are not flat: taken as 3-D",)


def test_from_mol_takes_no_drawing() -> None:
    with pytest.raises(InputError, match="the coordinates are a 2-D drawing"):
        from_mol(Chem.MolFromMolBlock(_drawing("CCOC(=O)c1ccccc1")), "ester")


OPEN = {
    "CP(=O)(CCC(C(=O)O)N)O": ("C6",),  # the acid's P swaps its proton
    "OC(=O)C=Cc1ccccc1": ("C4=C5",),
    "CC1CCC(C(=O)O)CC1": ("C2", "C5"),
    "CS(=O)CC": ("S2",),
    "C[S@](=O)CC": (),
    "CC(=N)N": (),
    "CC(C)=NO": (),
    "CCC(C)=NO": ("C3=N5",),
    "C1CC2CCC1C2": (),  # norbornane has no isomers
    "O=C1CC2CCC1C2": ("C4", "C7"),  # norcamphor has two
    "CC(O)C": (),
    "C1=CCCCC1": (),
    "CN(CC)CCC": (),
    DIPEPTIDE: (),
}


@pytest.mark.parametrize(("smiles", "expected"), OPEN.items())
def test_what_is_open(smiles: str, expected: tuple[str, ...]) -> None:
    assert open_stereo(Chem.MolFromSmiles(smiles)) == expected


def test_the_isomer_of_a_smiles_is_said() -> None:
    ligand = from_smiles("CC(N)C(=O)O", "alanine", seed=1)
    isomer = Chem.MolToSmiles(ligand.mol)
    assert isomer in ("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O")
    assert ligand.remarks == (f"its stereo is open at C2; docked as {isomer}",)
    assert from_smiles("C[C@H](N)C(=O)O |a:1|", "alanine", seed=1).remarks == ()
    (racemate,) = from_smiles("C[C@H](N)C(=O)O |&1:1|", "alanine", seed=1).remarks
    assert racemate == "it stands for several stereoisomers (groups & or o); docked as C[C@H](N)C(=O)O"


@pytest.mark.parametrize("smiles", ["COc1ccc(cc1) C(=O)Nc1ccccc1", "CCO ethanol", "CCO |a:1| name", "CC\tO"])
def test_a_smiles_with_a_space_is_refused(smiles: str) -> None:
    with pytest.raises(InputError, match="there is a space in the SMILES"):
        from_smiles(smiles, "x", seed=1)
