"""Ligands: features and torsions against DiffDock's own figures and RDKit's graph tools; files good and bad."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import data
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from domains.docking.poses.files import folder_names, write_sdf
from domains.docking.structures.atom_features import ATOM_FEATURE_DIMS, BOND_TYPES
from domains.docking.structures.ligand import Ligand, from_mol, from_smiles, with_conformer
from domains.docking.structures.ligand_files import read_ligands, read_mol2, read_sdf
from domains.docking.structures.torsions import TorsionRule, torsions
from domains.errors import InputError, InputProblem

DRUGS = {
    "ibuprofen": "CC(C)Cc1ccc(cc1)[C@@H](C)C(=O)O",
    "atorvastatin": "CC(C)c1c(C(=O)Nc2ccccc2)c(-c2ccccc2)c(-c2ccc(F)cc2)n1CC[C@@H](O)C[C@@H](O)CC(=O)O",
    "erlotinib": "COCCOc1cc2ncnc(Nc3cccc(C#C)c3)c2cc1OCCOC",
    "ponatinib": "Cc1ccc(C(=O)Nc2ccc(CN3CCN(C)CC3)c(C(F)(F)F)c2)cc1C#Cc1cnc2cccnn12",
    "metformin": "CN(C)C(=N)NC(N)=N",
}


def _only(path: Path, rule: TorsionRule = "chemical") -> Ligand:
    (ligand,) = read_ligands(path, rule)
    assert isinstance(ligand, Ligand), str(ligand)
    return ligand


@pytest.mark.parametrize(("name", "own_columns"), [("6o5u", [1]), ("1a46", [1, 4])])
def test_equals_diffdock(name: str, own_columns: list[int]) -> None:
    # DiffDock keeps the chirality tags that the parser puts on every CH2, and with them hydrogens of stereo centres.
    oracle = np.load(data("diffdock_conformers.npz"))
    ligand = _only(data(f"{name}_ligand.sdf"), "diffdock")
    columns = [c for c in range(len(ATOM_FEATURE_DIMS)) if c not in own_columns]
    np.testing.assert_array_equal(ligand.atom_features[:, columns], oracle[f"{name}/x"][:, columns])
    np.testing.assert_array_equal(ligand.positions, oracle[f"{name}/pos"])
    np.testing.assert_array_equal(ligand.bond_index, oracle[f"{name}/edge_index"])
    np.testing.assert_array_equal(ligand.bond_type, oracle[f"{name}/edge_attr"].argmax(1))
    np.testing.assert_array_equal(ligand.torsion_mask, oracle[f"{name}/mask_rotate"])
    turning = oracle[f"{name}/edge_index"][:, oracle[f"{name}/edge_mask"]].T
    np.testing.assert_array_equal(ligand.torsion_bonds, turning)


def test_chirality_column_marks_stereo_centres_only() -> None:
    mol = Chem.MolFromMolFile(str(data("1a46_ligand.sdf")))
    centres = {index for index, _ in Chem.FindMolChiralCenters(mol, useLegacyImplementation=False)}
    ligand = _only(data("1a46_ligand.sdf"))
    assert {int(i) for i in np.flatnonzero(ligand.atom_features[:, 1])} == centres


def test_features_of_known_atoms() -> None:
    # Charge -5..5, implicit valence, hydrogens and hybridisation of acetate's atoms and of a nitrile.
    acetate = from_smiles("CC(=O)[O-]", "acetate", seed=1)
    np.testing.assert_array_equal(acetate.atom_features[3, :8], [7, 0, 1, 4, 0, 0, 0, 1])
    np.testing.assert_array_equal(acetate.atom_features[0, :8], [5, 0, 4, 5, 3, 3, 0, 2])
    nitrile = from_smiles("CCC#N", "propionitrile", seed=1)
    assert nitrile.atom_features[3, 7] == 0
    fused = from_smiles("c1ccc2[nH]ccc2c1", "indole", seed=1)
    assert fused.atom_features[3].tolist()[8:] == [1, 2, 0, 0, 1, 1, 0, 0]


def test_every_feature_is_inside_its_vocabulary() -> None:
    for name, smiles in DRUGS.items():
        ligand = from_smiles(smiles, name, seed=0)
        assert (ligand.atom_features >= 0).all()
        assert (ligand.atom_features < np.array(ATOM_FEATURE_DIMS)).all()
        assert ligand.bond_type.max() < BOND_TYPES


def test_bond_types_and_hops() -> None:
    ligand = from_smiles("C=CC#CCCCO", "enyne", seed=0)
    np.testing.assert_array_equal(ligand.bond_type[::2], [1, 0, 2, 0, 0, 0, 0])
    chain = np.abs(np.arange(8)[:, None] - np.arange(8)[None])
    np.testing.assert_array_equal(ligand.hops, np.minimum(chain, 4))


@pytest.mark.parametrize(
    ("smiles", "chemical", "diffdock"),
    [
        ("CCCC", 1, 1),
        ("c1ccccc1", 0, 0),
        ("CC=CC", 0, 1),
        ("CC(=O)NC", 0, 1),  # amide
        ("CC(=S)NC", 0, 1),  # thioamide
        ("CNC(=O)NC", 0, 2),  # urea
        ("CCOC(=O)NC", 2, 3),  # carbamate: its ester side turns
        ("CCNC(=N)N", 1, 2),  # guanidine
        ("CCNC(N)=[NH2+]", 1, 2),
        ("CC(=O)[N-]C", 0, 1),
        ("CC(=O)n1cccc1", 1, 1),  # the pair of an aromatic nitrogen belongs to its ring
        ("COC(=O)c1ccccc1", 2, 2),  # ester
        ("CS(=O)(=O)Nc1ccccc1", 2, 2),  # sulphonamide
        ("c1ccccc1-c1ccccc1", 1, 1),
        ("c1ccccc1N", 0, 0),
        ("N#CCc1ccccc1", 1, 2),  # a nitrile has nothing off its axis
        ("C#Cc1ccccc1", 0, 1),
        ("CCC#CCC", 1, 3),  # one axis, one torsion
        ("CCC#CC#CCC", 1, 5),
        ("O=C1CCCCCCCCCCN1", 0, 0),
    ],
)
def test_number_of_torsions(smiles: str, chemical: int, diffdock: int) -> None:
    mol = Chem.MolFromSmiles(smiles)
    assert len(torsions(mol, "chemical")[0]) == chemical
    assert len(torsions(mol, "diffdock")[0]) == diffdock


@pytest.mark.parametrize("smiles", DRUGS.values(), ids=DRUGS)
def test_turned_side_is_the_smaller_fragment(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    bonds, mask = torsions(mol, "diffdock")
    for (u, v), turned in zip(bonds, mask, strict=True):
        cut = Chem.FragmentOnBonds(mol, [mol.GetBondBetweenAtoms(int(u), int(v)).GetIdx()], addDummies=False)
        sides = sorted(Chem.GetMolFrags(cut), key=lambda side: (len(side), min(side)))
        assert set(np.flatnonzero(turned)) == set(sides[0])
        assert turned[v]
        assert not turned[u]


def _turn(positions: NDArray[np.float32], u: int, v: int, turned: NDArray[np.bool_]) -> NDArray[np.float64]:
    axis = (positions[v] - positions[u]).astype(np.float64)
    out = positions.astype(np.float64)
    turn = Rotation.from_rotvec(2.0 * axis / np.linalg.norm(axis))
    out[turned] = turn.apply(out[turned] - positions[u]) + positions[u]
    return out


@pytest.mark.parametrize("smiles", DRUGS.values(), ids=DRUGS)
def test_a_torsion_moves_atoms_and_keeps_bonds_and_angles(smiles: str) -> None:
    ligand = from_smiles(smiles, "drug", seed=3)
    before = cdist(ligand.positions, ligand.positions)
    for (u, v), turned in zip(ligand.torsion_bonds, ligand.torsion_mask, strict=True):
        moved = _turn(ligand.positions, u, v, turned)
        change = np.abs(cdist(moved, moved) - before)
        assert change[ligand.hops <= 2].max() < 1e-4
        assert change[ligand.hops >= 3].max() > 0.1


def test_unknown_rule_is_named() -> None:
    with pytest.raises(ValueError, match="rule is 'magic'"):
        torsions(Chem.MolFromSmiles("CCCC"), "magic")  # type: ignore[arg-type]


def _block(smiles: str, name: str, *, seed: int = 7) -> str:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=seed) == 0
    mol.SetProp("_Name", name)
    return Chem.MolToMolBlock(mol)


def test_hydrogens_and_their_isotopes_are_removed(tmp_path: Path) -> None:
    block = _block("[2H]C([2H])([2H])CO[3H]", "labelled")
    (tmp_path / "labelled.sdf").write_text(block)
    raw = Chem.MolFromMolBlock(block, removeHs=False)
    heavy = [atom.GetIdx() for atom in raw.GetAtoms() if atom.GetAtomicNum() > 1]
    ligand = _only(tmp_path / "labelled.sdf")
    assert [atom.GetSymbol() for atom in ligand.mol.GetAtoms()] == ["C", "C", "O"]
    np.testing.assert_allclose(ligand.positions, raw.GetConformer().GetPositions()[heavy], atol=1e-6)
    np.testing.assert_allclose(ligand.mol.GetConformer().GetPositions(), ligand.positions, atol=1e-6)


def test_first_conformer_is_taken() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("CCCCO"))
    rdDistGeom.EmbedMultipleConfs(mol, 3, randomSeed=1)
    mol.RemoveConformer(mol.GetConformers()[0].GetId())
    ligand = from_mol(mol, "butanol")
    np.testing.assert_allclose(ligand.positions, mol.GetConformers()[0].GetPositions()[:5], atol=1e-6)


def test_no_rotatable_bond_is_legal() -> None:
    ligand = from_smiles("c1ccccc1", "benzene", seed=0)
    assert ligand.torsion_bonds.shape == (0, 2)
    assert ligand.torsion_mask.shape == (0, 6)


def _edited(smiles: str, change: dict[int, tuple[float, float, float]] | float) -> str:
    """A record with its coordinates scaled by a number, or some of them replaced."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    positions = mol.GetConformer().GetPositions()
    if isinstance(change, float):
        positions *= change
    else:
        for atom, xyz in change.items():
            positions[atom] = xyz
    mol.GetConformer().SetPositions(positions)
    return Chem.MolToMolBlock(mol)


BAD_RECORDS = {
    "unsanitisable": (_block("CCN", "x").replace(" N   0", " F   0"), "cannot sanitise"),
    "fragments": (_block("CCC(=O)[O-].CC[NH3+]", "x"), "2 fragments"),
    "metal": (
        "x\n\n\n  1  0  0  0  0  0  0  0  0  0999 V2000\n    1.0 2.0 3.0 Zn  0  0\nM  END\n",
        "the coordinates of atom 1",
    ),
    "ion": (
        "x\n\n\n  1  0  0  0  0  0  0  0  0  0999 V2000\n"
        "    1.0000    2.0000    3.0000 Zn  0  2  0  0  0  0  0  0  0  0  0  0\nM  END\n",
        "contains Zn",
    ),
    "single atom": (_block("C", "x"), "fewer than two heavy atoms"),
    "hydrogens only": (_block("[H][H]", "x"), "fewer than two heavy atoms"),
    "zeros": (_edited("CCO", 0.0), "all coordinates are zero"),
    "coincident": (_edited("CCO", {0: (1.0, 1.0, 1.0), 2: (1.0, 1.0, 1.05)}), "closer than"),
    "cut off": (_block("CCCCO", "x")[:300] + "\n", "cut off"),
    "wrong counts": (_block("CCCCO", "x").replace(" 15 14", " 15 24"), "cannot parse"),
    "empty record": ("\n", "cut off"),
}


@pytest.mark.parametrize(("record", "message"), BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_bad_record_is_one_line_and_stops_nothing(
    record: str, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ligands.sdf"
    path.write_text("$$$$\n".join([_block("CCCCO", "first"), record, _block("CCCN", "third")]) + "$$$$\n")
    first, problem, third = read_sdf(path)
    assert isinstance(first, Ligand)
    assert first.name == "first"
    assert isinstance(third, Ligand)
    assert third.name == "third"
    assert isinstance(problem, InputProblem)
    line = str(problem)
    assert message in line
    assert line.startswith(f"{path}, record 2")
    assert "\n" not in line
    assert problem.remedy
    assert capfd.readouterr() == ("", "")


def test_file_cut_off_in_its_last_record(tmp_path: Path) -> None:
    path = tmp_path / "ligands.sdf"
    text = _block("CCCCO", "first") + "$$$$\n" + _block("CCCN", "second")
    path.write_text(text[:-100])
    first, problem = read_sdf(path)
    assert isinstance(first, Ligand)
    assert str(problem).startswith(f"{path}, record 2 (second): the record is cut off")


def _file_problem(path: Path) -> str:
    (problem,) = read_ligands(path)
    assert isinstance(problem, InputProblem)
    return str(problem)


@pytest.mark.parametrize("suffix", [".sdf", ".mol2"])
def test_bad_files_are_one_problem(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"ligand{suffix}"
    assert f"{path}: cannot be read (No such file or directory); check the path" == _file_problem(path)
    path.write_bytes(b"")
    assert "the file is empty" in _file_problem(path)
    path.write_bytes(bytes(range(256)))
    assert "the file is binary" in _file_problem(path)
    path.write_text("this is a letter\n")
    assert str(path) in _file_problem(path)
    assert "use .sdf, .sd, .mol, .mol2" in _file_problem(tmp_path / "ligand.xyz")


def test_sdf_variants(tmp_path: Path) -> None:
    windows = (_block("CCCO", "a") + "> <key>\nvalue\n\n$$$$\n" + _block("CCCN", "")).replace("\n", "\r\n")
    (tmp_path / "windows.sdf").write_bytes(windows.encode())
    assert [x.name for x in read_sdf(tmp_path / "windows.sdf") if isinstance(x, Ligand)] == ["a", "windows_2"]
    mol = Chem.MolFromMolBlock(_block("CCCO", "v3"), removeHs=False)
    (tmp_path / "v3.sdf").write_text(Chem.MolToV3KMolBlock(mol))
    v3 = _only(tmp_path / "v3.sdf")
    (tmp_path / "v2.mol").write_text(_block("CCCO", "v3"))
    np.testing.assert_allclose(v3.positions, _only(tmp_path / "v2.mol").positions, atol=1e-3)


MOL2 = """@<TRIPOS>MOLECULE
acetamide
 9 8 1
SMALL
NO_CHARGES

@<TRIPOS>ATOM
 1 C1 0.0000 0.0000 0.1000 C.3 1 LIG 0.0
 2 C2 1.5000 0.0000 0.0000 C.2 1 LIG 0.0
 3 O1 2.1000 1.0500 0.0000 O.2 1 LIG 0.0
 4 N1 2.2000 -1.1500 0.0000 N.am 1 LIG 0.0
 5 H1 -0.4000 1.0000 0.0000 H 1 LIG 0.0
 6 H2 -0.4000 -0.5000 0.9000 H 1 LIG 0.0
 7 H3 -0.4000 -0.5000 -0.9000 H 1 LIG 0.0
 8 H4 3.2000 -1.1500 0.0000 H 1 LIG 0.0
 9 H5 1.7000 -2.0000 0.0000 H 1 LIG 0.0
@<TRIPOS>BOND
 1 1 2 1
 2 2 3 2
 3 2 4 am
 4 1 5 1
 5 1 6 1
 6 1 7 1
 7 4 8 1
 8 4 9 1
"""


def test_mol2(tmp_path: Path) -> None:
    path = tmp_path / "two.mol2"
    path.write_text("# made by hand\n" + MOL2 + MOL2.replace("acetamide", "broken").replace(" 3 O1", " 3 O1 x"))
    good, bad = read_mol2(path)
    assert isinstance(good, Ligand)
    assert good.name == "acetamide"
    assert Chem.MolToSmiles(good.mol) == "CC(N)=O"
    np.testing.assert_allclose(good.positions[3], [2.2, -1.15, 0.0], atol=1e-6)
    assert isinstance(bad, InputProblem)
    assert bad.record == "record 2 (broken)"


def test_smiles_conformer_depends_on_the_seed_only() -> None:
    a, b, c = (from_smiles(DRUGS["ibuprofen"], "ibuprofen", seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(a.positions, b.positions)
    assert np.abs(a.positions - c.positions).max() > 0.1
    assert Chem.MolToSmiles(a.mol) == Chem.CanonSmiles(DRUGS["ibuprofen"])
    with pytest.raises(ValueError, match="seed is -1"):
        from_smiles("CCCO", "propanol", seed=-1)


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("CC(", "cannot read the SMILES 'CC\\('"),
        ("C1#CC1", "finds no conformer of 'C1#CC1'"),
        ("[Na+].CC(=O)[O-]", "contains Na"),
        ("CCO.CCO", "2 fragments"),
        ("O", "fewer than two heavy atoms"),
        ("", "cannot read the SMILES ''"),
    ],
)
def test_bad_smiles(smiles: str, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=message) as caught:
        from_smiles(smiles, "mine", seed=0, file="table.csv")
    assert caught.value.problem.file == "table.csv"
    assert caught.value.problem.record == "mine"
    assert capfd.readouterr() == ("", "")


def test_fresh_conformer_is_the_same_molecule() -> None:
    ligand = _only(data("1a46_ligand.sdf"))
    fresh = with_conformer(ligand, seed=11)
    assert Chem.MolToSmiles(fresh.mol) == Chem.MolToSmiles(ligand.mol)
    assert [a.GetSymbol() for a in fresh.mol.GetAtoms()] == [a.GetSymbol() for a in ligand.mol.GetAtoms()]
    np.testing.assert_array_equal(fresh.torsion_mask, ligand.torsion_mask)
    again = from_mol(fresh.mol, "again")
    np.testing.assert_array_equal(again.atom_features, ligand.atom_features)
    bonded = [np.linalg.norm(np.diff(x.positions[x.bond_index], axis=0), axis=-1) for x in (ligand, fresh)]
    assert np.abs(bonded[0] - bonded[1]).max() < 0.25
    assert np.abs(fresh.positions - ligand.positions).max() > 1.0


def test_written_poses_come_back(tmp_path: Path) -> None:
    ligand = from_smiles(DRUGS["erlotinib"], "erlotinib", seed=0)
    offset = np.array([[[0.0, 0.0, 0.0]], [[100.0, -200.0, 30.5]]], dtype=np.float32)
    poses = ligand.positions + offset
    path = tmp_path / "poses.sdf"
    write_sdf(path, ligand, poses, [{"rank": "1"}, {"rank": "2", "pocket": "ligand, 6 Å"}])
    back = list(read_sdf(path))
    for pose, read in zip(poses, back, strict=True):
        assert isinstance(read, Ligand)
        assert read.name == "erlotinib"
        np.testing.assert_allclose(read.positions, pose, atol=1e-4)
        assert Chem.MolToSmiles(read.mol) == Chem.MolToSmiles(ligand.mol)
    supplier = Chem.SDMolSupplier(str(path))
    assert [mol.GetPropsAsDict().get("rank") for mol in supplier] == [1, 2]
    assert [p.name for p in tmp_path.iterdir()] == ["poses.sdf"]


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    ligand = from_smiles("CCCO", "propanol", seed=0)
    path = tmp_path / "poses.sdf"
    path.write_text("old")
    with pytest.raises(ValueError, match=r"positions has shape \(1, 3, 3\)"):
        write_sdf(path, ligand, ligand.positions[None, :3], [{}])
    with pytest.raises(ValueError, match=r"positions of propanol .* are not all finite"):
        write_sdf(path, ligand, np.full_like(ligand.positions[None], np.nan), [{}])
    with pytest.raises(TypeError):
        write_sdf(path, ligand, ligand.positions[None], [{"rank": 1}])  # type: ignore[dict-item]
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["poses.sdf"]
    with pytest.raises(OSError, match="nowhere"):
        write_sdf(tmp_path / "nowhere" / "poses.sdf", ligand, ligand.positions[None], [{}])


def test_a_folder_is_no_file_of_another_complex() -> None:
    folders = folder_names(["a", "a.sdf/b", "a.SDF", "v1.5", "a/poses.sdf", "/".join("abcdefghijkl")])
    assert folders["a"] == "a" and folders["a.sdf/b"] == "a_sdf/b" and folders["v1.5"] == "v1.5"
    assert folders["a/poses.sdf"] == "a/poses_sdf" and folders["a.SDF"] == "a_SDF"
    assert folders["/".join("abcdefghijkl")] == "a/b/c/d/e/f/g/h_i_j_k_l"


def test_no_name_of_a_complex_leads_out_of_the_folder(tmp_path: Path) -> None:
    names = ["a/b", "../x", "..", "/etc/passwd", "a b", "a_b", "A_B", "", "ünïcode", "x\\y", "u\u0308nïcode"]
    names += ["c" * 101, "c" * 102, "蛋" * 300, f"{'d' * 300}/{'e' * 300}"]
    folders = folder_names(names)
    assert folders["a/b"] == "a/b"
    assert len({folder.lower() for folder in folders.values()}) == len(names)
    for folder in folders.values():
        assert not folder.startswith("/")
        assert not {"", ".", ".."} & set(folder.split("/"))
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)  # "_" holds "_/etc/passwd"
        assert max(map(len, map(str.encode, folder.split("/")))) <= 100
    assert folders["c" * 101].startswith("c" * 80) and folder_names(names) == folders
