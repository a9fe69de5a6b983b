"""Loaders: what they make of good folders and tables, and the one line that each mistake gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import shared
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from scipy.spatial.distance import cdist

from domains.docking.structures.complexes import read
from domains.docking.structures.ligand import from_smiles
from domains.docking.structures.pocket import PocketChoice
from domains.docking.structures.records import POSEBUSTERS_NAMES
from domains.errors import InputError, InputProblem

FIELDS = "complex_name,protein_path,ligand_description,protein_sequence\n"


def _protein() -> str:
    """Nine glycines on a 4 Å grid in the plane z = 0."""
    atoms = [("N", (-1.4, 0.0)), ("CA", (0.0, 0.0)), ("C", (1.4, 0.0)), ("O", (1.4, 1.2))]
    return "".join(
        f"ATOM      1  {name:<3} GLY A{3 * i + j + 1:4d}    {4 * i + x:8.3f}{4 * j + y:8.3f}{0:8.3f}  1.00  0.00"
        f"           {name[0]}\n"
        for i in range(3)
        for j in range(3)
        for name, (x, y) in atoms
    )


def _ligand(name: str, smiles: str = "CCCCO", *, at: tuple[float, float, float] = (4.0, 4.0, 5.0)) -> str:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    conformer = mol.GetConformer()
    positions = conformer.GetPositions()
    conformer.SetPositions(positions - positions.mean(0) + np.array(at))
    mol.SetProp("_Name", name)
    return Chem.MolToMolBlock(mol) + "$$$$\n"


def _series(folder: Path, name: str, *ligands: str) -> None:
    (folder / name).mkdir()
    (folder / name / "protein.pdb").write_text(_protein())
    (folder / name / "ligands.sdf").write_text("".join(ligands))


def _lines(problems: list[InputProblem]) -> list[str]:
    lines = [str(problem) for problem in problems]
    assert all("\n" not in line and problem.remedy for line, problem in zip(lines, problems, strict=True))
    return lines


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("ligand", PocketChoice("ligand", 6.0)),
        ("ligand:8", PocketChoice("ligand", 8.0)),
        ("point:1,-2.5,3", PocketChoice("point", 12.0, (1.0, -2.5, 3.0))),
        ("point:1, -2.5, 3, 9", PocketChoice("point", 9.0, (1.0, -2.5, 3.0))),
        ("point-of-ligand", PocketChoice("point-of-ligand", 12.0)),
        ("point-of-ligand:9", PocketChoice("point-of-ligand", 9.0)),
        (" protein ", PocketChoice("protein")),
    ],
)
def test_pocket_text(text: str, choice: PocketChoice) -> None:
    assert PocketChoice.parse(text) == choice


@pytest.mark.parametrize(
    "text",
    [
        *("", "pocket", "ligand:", "ligand:x", "ligand:-1", "ligand:0", "ligand:1,2", "ligand:nan", "point"),
        *(
            "point-of-ligand:",
            "point-of-ligand:0",
            "point:1,2",
            "point:1,2,3,0",
            "point:1,2,3,4,5",
            "point:1,2,inf",
            "protein:5",
            "protein:",
            "Ligand",
        ),
    ],
)
def test_bad_pocket_text(text: str) -> None:
    with pytest.raises(ValueError, match="use ligand, ligand:RADIUS") as caught:
        PocketChoice.parse(text)
    assert f"'{text}'" in str(caught.value)


def test_a_point_of_the_ligand_is_the_mean_of_its_atoms(tmp_path: Path) -> None:
    """The pocket is that of the same point, and the pose counts as known; its outline plays no part."""
    _series(tmp_path, "alpha", _ligand("one", "CCCCCCCCCCCC"))
    (found,), _ = read(tmp_path, pocket="point-of-ligand:5")
    assert found.reference is not None
    x, y, z = found.reference.mean(0)
    (same,), _ = read(tmp_path, pocket=f"point:{x},{y},{z},5", known_poses=True)
    assert found.pocket.residue_ids == same.pocket.residue_ids
    (outline,), _ = read(tmp_path, pocket="ligand:5")
    assert set(found.pocket.residue_ids) < set(outline.pocket.residue_ids)


def test_pocket_choice_refuses_contradictions() -> None:
    with pytest.raises(ValueError, match="xyz is None with kind 'point'"):
        PocketChoice("point", 8.0)
    with pytest.raises(ValueError, match="xyz is"):
        PocketChoice("ligand", 8.0, (0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="radius is 0"):
        PocketChoice("ligand", 0.0)


def test_folder(tmp_path: Path) -> None:
    _series(tmp_path, "beta", _ligand("two"), _ligand("one", "CCCN", at=(0.0, 0.0, 5.0)))
    _series(tmp_path, "alpha", _ligand("one"))
    (tmp_path / "README.md").write_text("not a series")
    (tmp_path / ".git").mkdir()
    complexes, problems = read(tmp_path)
    assert problems == []
    assert [c.name for c in complexes] == ["alpha/one", "beta/two", "beta/one"]
    last = complexes[-1]
    np.testing.assert_array_equal(last.reference, last.ligand.positions)
    assert last.protein.path == tmp_path / "beta" / "protein.pdb"
    near = cdist(last.pocket.positions, last.ligand.positions).min()
    assert 3.0 < near < 6.0
    assert last.pocket.spec.startswith("ligand, 6 Å: ")
    assert str(last.protein.report) == "9 amino acids"
    (whole, *_), _ = read(tmp_path, pocket="protein")
    assert len(whole.pocket.residue_ids) == 9
    assert whole.reference is None


def test_folder_reports_and_goes_on(tmp_path: Path) -> None:
    _series(tmp_path, "a", _ligand("x"), _ligand("x"), _ligand("far", at=(4.0, 4.0, 40.0)), _ligand("y"))
    _series(tmp_path, "b", _ligand("x"))
    (tmp_path / "b" / "protein.pdb").unlink()
    _series(tmp_path, "c", _ligand("x"))
    (tmp_path / "c" / "ligands.sdf").unlink()
    _series(tmp_path, "d", _ligand("salt", "CC(=O)[O-].[NH4+]"), _ligand("x"))
    _series(tmp_path, "e", _ligand("hovering", at=(4.0, 4.0, 9.5)))
    complexes, problems = read(tmp_path, pocket="ligand:3")
    assert [c.name for c in complexes] == []
    complexes, problems = read(tmp_path)
    assert [c.name for c in complexes] == ["a/x", "a/x_2", "a/y", "d/x"]
    assert complexes[1].remarks == ("called a/x_2, for a/x is the name of another one too (record 1 (x))",)
    far, protein, ligands, salt, hovering = _lines(problems)
    assert far.startswith(f"{tmp_path}/a/ligands.sdf, record 3 (far): the ligand is ")
    assert far.endswith(
        "Å away from protein.pdb; give both in one frame, or choose the pocket around a point or the whole protein"
    )
    assert protein.startswith(f"{tmp_path}/b/protein.pdb: cannot be read")
    assert ligands.startswith(f"{tmp_path}/c/ligands.sdf: cannot be read")
    assert salt.startswith(f"{tmp_path}/d/ligands.sdf, record 1 (salt): it has 2 fragments")
    assert hovering.startswith(
        f"{tmp_path}/e/ligands.sdf, record 1 (hovering): there is no residue in the pocket (ligand, 6 Å)"
    )


def test_folder_that_is_none(tmp_path: Path) -> None:
    assert _lines(read(tmp_path / "no")[1]) == [
        f"{tmp_path}/no: it is not a folder; give a folder with NAME/protein.pdb and NAME/ligands.sdf"
    ]
    assert "there are no complexes in it" in _lines(read(tmp_path)[1])[0]


def _table(folder: Path, *rows: str, fields: str = FIELDS) -> Path:
    (folder / "protein.pdb").write_text(_protein())
    (folder / "ligand.sdf").write_text(_ligand("from file"))
    (folder / "table.csv").write_text(fields + "".join(row + "\n" for row in rows), encoding="utf-8-sig")
    return folder / "table.csv"


def test_table(tmp_path: Path) -> None:
    table = _table(tmp_path, "first,protein.pdb,ligand.sdf,", f" second ,{tmp_path}/protein.pdb, ligand.sdf ,")
    complexes, problems = read(table)
    assert problems == []
    assert [c.name for c in complexes] == ["first", "second"]
    for loaded in complexes:
        assert loaded.reference is not None
        np.testing.assert_array_equal(loaded.reference, loaded.ligand.positions)


def test_table_with_smiles(tmp_path: Path) -> None:
    table = _table(tmp_path, "a,protein.pdb,CCCCO,", ",protein.pdb,c1ccccc1C(=O)O,")
    assert _lines(read(table)[1]) == [
        f"{table}, line {n} ({name}): a SMILES has no pose to put the pocket around; "
        "choose a --pocket (a ligand file that lies in it, point:X,Y,Z, protein), or give its pose as known_pose"
        for n, name in ((2, "a"), (3, "complex_3"))
    ]
    complexes, problems = read(table, pocket="point:4,4,0,5", seed=3)
    assert problems == []
    assert [c.reference for c in complexes] == [None, None]
    assert [Chem.MolToSmiles(c.ligand.mol) for c in complexes] == ["CCCCO", "O=C(O)c1ccccc1"]
    again, _ = read(table, pocket="point:4,4,0,5", seed=3)
    np.testing.assert_array_equal(again[0].ligand.positions, complexes[0].ligand.positions)


def test_table_reports_and_goes_on(tmp_path: Path) -> None:
    table = _table(
        tmp_path,
        "good,protein.pdb,ligand.sdf,",
        "good,protein.pdb,ligand.sdf,",
        "lost,nowhere.pdb,ligand.sdf,",
        "lost too,protein.pdb,nowhere.sdf,",
        "empty,protein.pdb,,",
        "long,protein.pdb,ligand.sdf,,,",
        "two,protein.pdb,two.sdf,",
        "smiles,protein.pdb,CC(C,",
        "last,protein.pdb,ligand.sdf,MKV",
    )
    (tmp_path / "two.sdf").write_text(_ligand("one") + _ligand("two"))
    complexes, problems = read(table)
    assert [c.name for c in complexes] == ["good", "good_2", "two/one", "two/two", "last"]
    assert [c.ligand.name for c in complexes] == ["good", "good_2", "two/one", "two/two", "last"]
    assert complexes[1].remarks == ("called good_2, for good is the name of another one too (line 2 (good))",)
    long, sequence, protein, ligand, empty, smiles = _lines(problems)
    assert long == f"{table}, line 7: it has more fields than the header; quote commas"
    assert sequence.startswith(f"{table}: protein_sequence is ignored")
    assert protein.startswith(f"{table}, line 4 (lost): {tmp_path}/nowhere.pdb: cannot be read")
    assert ligand.startswith(f"{tmp_path}/nowhere.sdf: cannot be read")
    assert empty.startswith(f"{table}, line 6 (empty): protein_path or ligand_description is empty")
    assert smiles.startswith(f"{table}, line 9 (smiles): RDKit cannot read the SMILES 'CC(C'")


@pytest.mark.parametrize("name", ["ligand.sdf.gz", "ligand.pdb", "pose"])
def test_a_ligand_file_of_another_kind_is_not_taken_for_a_smiles(tmp_path: Path, name: str) -> None:
    table = _table(tmp_path, f"a,protein.pdb,{name},")
    (tmp_path / "pose").write_text("something")
    complexes, problems = read(table)
    assert complexes == []
    assert _lines(problems) == [f"{tmp_path}/{name}: not a ligand file; use .sdf, .sd, .mol, .mol2"]


def test_a_long_smiles_is_no_path(tmp_path: Path) -> None:
    complexes, problems = read(_table(tmp_path, f"a,protein.pdb,{'C' * 300}(,"), pocket="protein")
    assert complexes == []
    assert "RDKit cannot read the SMILES" in _lines(problems)[0]


def test_table_columns(tmp_path: Path) -> None:
    fields = "complex_name,protein_path,ligand_description,affinity\n"
    table = _table(tmp_path, "a,protein.pdb,ligand.sdf,7.2", fields=fields)
    complexes, problems = read(table)
    assert [c.name for c in complexes] == ["a"]
    assert _lines(problems)[0].startswith(f"{table}: unknown columns are ignored: affinity; use the columns")
    table = _table(tmp_path, "a,protein.pdb", fields="complex_name,protein\n")
    assert _lines(read(table)[1])[0].startswith(f"{table}: there is no column protein_path, ligand_description")
    assert "there are no usable rows" in _lines(read(_table(tmp_path))[1])[0]


def test_tables_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    assert "cannot be read" in _lines(read(path)[1])[0]
    path.write_bytes(b"")
    assert "the file is empty" in _lines(read(path)[1])[0]
    path.write_bytes(bytes(range(256)))
    assert "the file is binary" in _lines(read(path)[1])[0]


def test_posebusters(capfd: pytest.CaptureFixture[str]) -> None:
    complexes, problems = read()
    assert problems == []
    assert tuple(c.name for c in complexes) == POSEBUSTERS_NAMES
    assert [c.ligand.n_atoms for c in complexes] == [19, 13, 27, 16]
    for loaded in complexes:
        # Crystal poses touch their pocket, and nothing of the ligand is left in it.
        nearest = cdist(loaded.pocket.positions, loaded.ligand.positions).min()
        assert 2.3 < nearest < 4.0
        assert np.linalg.norm(loaded.pocket.origin - loaded.ligand.positions.mean(0)) < 8.0
    # 1ia1 is dihydrofolate reductase: the cofactor NDP beside the inhibitor belongs to the pocket.
    reductase = complexes[0]
    assert any("NDP" in label for label in reductase.protein.report.hetero)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("series", ["jacs_set__tyk2", "charge_annhil__thrombin_whole_map", "merck__pfkfb3_automap"])
def test_real_series(series: str, tmp_path: Path) -> None:
    (tmp_path / series).symlink_to(shared(f"data/fep_plus/{series}"))
    complexes, problems = read(tmp_path)
    assert problems == []
    records = (tmp_path / series / "ligands.sdf").read_text().count("$$$$")
    assert len(complexes) == records
    for loaded in complexes:
        raw = Chem.MolFromMolBlock(Chem.MolToMolBlock(loaded.ligand.mol))
        assert loaded.reference is not None
        np.testing.assert_allclose(raw.GetConformer().GetPositions(), loaded.reference, atol=1e-3)
        # Modelled poses may clash a little (1.4 Å here), but a copy of the ligand would be nearer still.
        assert cdist(loaded.pocket.positions, loaded.ligand.positions).min() > 1.0


def _moved(record: str, shift: tuple[float, float, float]) -> str:
    mol = Chem.MolFromMolBlock(record, removeHs=False)
    mol.GetConformer().SetPositions(mol.GetConformer().GetPositions() + np.array(shift))
    return Chem.MolToMolBlock(mol) + "$$$$\n"


@pytest.mark.parametrize("pocket", ["point:4,4,0,5", "protein"])
@pytest.mark.parametrize("at", [(4.0, 4.0, 5.0), (0.0, 0.0, 0.0), (4.0, 4.0, 500.0)])
def test_coordinates_are_no_bound_pose_unless_somebody_says_so(
    tmp_path: Path, at: tuple[float, float, float], pocket: str
) -> None:
    _series(tmp_path, "a", _ligand("x", at=at))
    (found,), problems = read(tmp_path, pocket=pocket)
    assert problems == []
    assert found.reference is None
    (said,), problems = read(tmp_path, pocket=pocket, known_poses=True)
    assert problems == []
    if at == (4.0, 4.0, 5.0):
        np.testing.assert_array_equal(said.reference, found.ligand.positions)
    else:
        assert said.reference is None
        why = "the ligand is 49" if at[2] > 100 else "5 of the ligand's 5 atoms are within 2 Å"
        assert said.remarks[0].startswith("WARNING: ") and why in said.remarks[0]


def test_a_pocket_around_a_pose_that_is_not_known_to_be_right(tmp_path: Path) -> None:
    _series(tmp_path, "a", _ligand("x"))
    (guess,), _ = read(tmp_path, known_poses=False)
    (known,), _ = read(tmp_path)
    assert guess.reference is None
    assert known.reference is not None
    assert guess.pocket.residue_ids == known.pocket.residue_ids


def test_the_package_knows_its_crystal_poses() -> None:
    assert all(c.reference is not None for c in read(pocket="protein")[0])
    assert all(c.reference is None for c in read(pocket="protein", known_poses=False)[0])


POSES = FIELDS.replace("\n", ",known_pose\n")


def test_a_column_says_which_poses_are_known(tmp_path: Path) -> None:
    rows = ["file,protein.pdb,ligand.sdf,,pose.mol", "smiles,protein.pdb,OCCCC,,pose.mol"]
    rows += ["yes,protein.pdb,ligand.sdf,,Yes", "no,protein.pdb,ligand.sdf,,no", "nothing,protein.pdb,ligand.sdf,,"]
    table = _table(tmp_path, *rows, fields=POSES)
    bound = _ligand("from file", "CCCCO", at=(4.0, 4.0, 4.5))
    (tmp_path / "pose.mol").write_text(bound)
    expected = Chem.MolFromMolBlock(bound).GetConformer().GetPositions()
    for pocket in ("ligand", "point:4,4,0,5"):
        loaded, problems = read(table, pocket=pocket)
        found = {c.name: c for c in loaded}
        assert problems == []
        for name, order in (("file", slice(None)), ("smiles", slice(None, None, -1))):
            reference = found[name].reference
            assert reference is not None
            np.testing.assert_allclose(reference, expected[order], atol=1e-3)
        np.testing.assert_array_equal(found["yes"].reference, found["yes"].ligand.positions)
        assert found["no"].reference is None
        assert (found["nothing"].reference is None) == (pocket != "ligand")
    assert read(table, pocket="protein", known_poses=True)[0][-1].reference is not None


def test_a_ligand_in_its_own_frame_has_its_pose_in_another_file(tmp_path: Path) -> None:
    table = _table(tmp_path, "a,protein.pdb,own.sdf,,ligand.sdf", fields=POSES)
    (tmp_path / "own.sdf").write_text(_moved(_ligand("x"), (300.0, 0.0, 0.0)))
    (found,), problems = read(table)
    assert problems == []
    assert found.reference is not None
    np.testing.assert_allclose(found.reference + np.array([300.0, 0.0, 0.0]), found.ligand.positions, atol=1e-3)


def test_known_poses_that_are_none(tmp_path: Path) -> None:
    rows = ["other,protein.pdb,ligand.sdf,,other.sdf", "lost,protein.pdb,ligand.sdf,,lost.sdf"]
    rows += ["maybe,protein.pdb,ligand.sdf,,maybe", "smiles,protein.pdb,CCCCO,,yes", "far,protein.pdb,CCCCO,,far.sdf"]
    table = _table(tmp_path, *rows, fields=POSES)
    (tmp_path / "other.sdf").write_text(_ligand("isomer", "CCOCC"))
    (tmp_path / "far.sdf").write_text(_ligand("far", at=(4.0, 4.0, 40.0)))
    found, problems = read(table, pocket="protein")
    assert found == []
    other, lost, maybe, smiles, far = _lines(problems)
    assert other.startswith(f"{table}, line 2 (other): the molecule in {tmp_path}/other.sdf is not the ligand")
    assert lost.startswith(f"{tmp_path}/lost.sdf: cannot be read")
    assert maybe.startswith(f"{tmp_path}/maybe: not a ligand file")
    assert smiles.startswith(f"{table}, line 5 (smiles): a SMILES has no pose to compare with")
    assert far.startswith(f"{table}, line 6 (far): the ligand is 3")


def test_symmetries_matter_where_a_pose_is_known(tmp_path: Path) -> None:
    _series(tmp_path, "a")
    core = "C[Si](C)(C)[Si]([Si](C)(C)C)([Si](C)(C)C)C[Si]([Si](C)(C)C)([Si](C)(C)C)[Si](C)(C)C"
    block = Chem.MolToMolBlock(from_smiles(core, "many", seed=1).mol)
    (tmp_path / "a" / "ligands.sdf").write_text(_moved(f"many{block}", (4.0, 4.0, 8.0)))
    found, problems = read(tmp_path)
    assert found == []
    assert _lines(problems)[0].startswith("a/many: the molecule has more than 100000 symmetries")
    assert len(read(tmp_path, pocket="protein")[0]) == 1


def test_only_what_a_list_names(tmp_path: Path) -> None:
    _series(tmp_path, "a", _ligand("x"), _ligand("y"))
    _series(tmp_path, "b", _ligand("x"), _ligand("y"))
    names = tmp_path / "list.txt"
    names.write_text("a  # all\nb/y\nb/z\n")
    found, problems = read(tmp_path, only=names)
    assert [c.name for c in found] == ["a/x", "a/y", "b/y"]
    remedy = "correct the name, or see above why it was left out"
    assert _lines(problems) == [f"{names}, b/z: there is no such complex to dock; {remedy}"]
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path, only=tmp_path / "none.txt")


def test_a_fresh_conformer_keeps_the_reference(tmp_path: Path) -> None:
    _series(tmp_path, "a", _ligand("x"))
    (given,), _ = read(tmp_path)
    (fresh,), _ = read(tmp_path, conformer="rdkit", seed=5)
    np.testing.assert_array_equal(fresh.reference, given.reference)
    assert np.abs(fresh.ligand.positions - given.ligand.positions).max() > 1.0


def test_bad_arguments_of_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="conformer is 'crystal'"):
        read(tmp_path, conformer="crystal")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seed is -1"):
        read(tmp_path, seed=-1)
    with pytest.raises(ValueError, match="pocket is 'here'"):
        read(tmp_path, pocket="here")
