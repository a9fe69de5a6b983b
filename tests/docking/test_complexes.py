"""Loaders: what they make of good folders and tables, and the one line that each mistake gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import shared
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from scipy.spatial.distance import cdist

from domains.docking.structures.complexes import POSEBUSTERS_NAMES, load_csv, load_folder, load_posebusters
from domains.docking.structures.pocket import PocketChoice
from domains.errors import InputProblem

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
        (" protein ", PocketChoice("protein")),
    ],
)
def test_pocket_text(text: str, choice: PocketChoice) -> None:
    assert PocketChoice.parse(text) == choice


@pytest.mark.parametrize(
    "text",
    [
        *("", "pocket", "ligand:", "ligand:x", "ligand:-1", "ligand:0", "ligand:1,2", "ligand:nan", "point"),
        *("point:1,2", "point:1,2,3,0", "point:1,2,3,4,5", "point:1,2,inf", "protein:5", "protein:", "Ligand"),
    ],
)
def test_bad_pocket_text(text: str) -> None:
    with pytest.raises(ValueError, match="use ligand, ligand:RADIUS") as caught:
        PocketChoice.parse(text)
    assert f"'{text}'" in str(caught.value)


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
    complexes, problems = load_folder(tmp_path)
    assert problems == []
    assert [c.name for c in complexes] == ["alpha/one", "beta/two", "beta/one"]
    last = complexes[-1]
    np.testing.assert_array_equal(last.reference, last.ligand.positions)
    assert last.protein_path == tmp_path / "beta" / "protein.pdb"
    near = cdist(last.pocket.positions, last.ligand.positions).min()
    assert 3.0 < near < 6.0
    assert last.pocket.spec.startswith("ligand, 6 Å: ")
    assert str(last.protein_report) == "9 amino acids"
    (whole, *_), _ = load_folder(tmp_path, PocketChoice.parse("protein"))
    assert len(whole.pocket.residue_ids) == 9
    assert whole.reference is not None


def test_folder_reports_and_goes_on(tmp_path: Path) -> None:
    _series(tmp_path, "a", _ligand("x"), _ligand("x"), _ligand("far", at=(4.0, 4.0, 40.0)), _ligand("y"))
    _series(tmp_path, "b", _ligand("x"))
    (tmp_path / "b" / "protein.pdb").unlink()
    _series(tmp_path, "c", _ligand("x"))
    (tmp_path / "c" / "ligands.sdf").unlink()
    _series(tmp_path, "d", _ligand("salt", "CC(=O)[O-].[NH4+]"), _ligand("x"))
    _series(tmp_path, "e", _ligand("hovering", at=(4.0, 4.0, 9.5)))
    complexes, problems = load_folder(tmp_path, PocketChoice.parse("ligand:3"))
    assert [c.name for c in complexes] == []
    complexes, problems = load_folder(tmp_path)
    assert [c.name for c in complexes] == ["a/x", "a/y", "d/x"]
    twice, far, protein, ligands, salt, hovering = _lines(problems)
    assert twice == f"{tmp_path}/a/ligands.sdf, x: the name 'a/x' is used twice; rename one of them"
    assert far.startswith(f"{tmp_path}/a/ligands.sdf, far: the ligand is ")
    assert far.endswith("Å away from protein.pdb; give both in one frame, or the ligand as a SMILES")
    assert protein.startswith(f"{tmp_path}/b/protein.pdb: cannot be read")
    assert ligands.startswith(f"{tmp_path}/c/ligands.sdf: cannot be read")
    assert salt.startswith(f"{tmp_path}/d/ligands.sdf, record 1 (salt): it has 2 fragments")
    assert hovering.startswith(f"{tmp_path}/e/ligands.sdf, hovering: there is no residue in the pocket (ligand, 6 Å)")


def test_folder_that_is_none(tmp_path: Path) -> None:
    assert _lines(load_folder(tmp_path / "no")[1]) == [
        f"{tmp_path}/no: it is not a folder; give a folder with NAME/protein.pdb and NAME/ligands.sdf"
    ]
    assert "there are no complexes in it" in _lines(load_folder(tmp_path)[1])[0]


def _table(folder: Path, *rows: str, fields: str = FIELDS) -> Path:
    (folder / "protein.pdb").write_text(_protein())
    (folder / "ligand.sdf").write_text(_ligand("from file"))
    (folder / "table.csv").write_text(fields + "".join(row + "\n" for row in rows), encoding="utf-8-sig")
    return folder / "table.csv"


def test_table(tmp_path: Path) -> None:
    table = _table(tmp_path, "first,protein.pdb,ligand.sdf,", f" second ,{tmp_path}/protein.pdb, ligand.sdf ,")
    complexes, problems = load_csv(table)
    assert problems == []
    assert [c.name for c in complexes] == ["first", "second"]
    for loaded in complexes:
        assert loaded.reference is not None
        np.testing.assert_array_equal(loaded.reference, loaded.ligand.positions)


def test_table_with_smiles(tmp_path: Path) -> None:
    table = _table(tmp_path, "a,protein.pdb,CCCCO,", ",protein.pdb,c1ccccc1C(=O)O,")
    assert _lines(load_csv(table)[1]) == [
        f"{table}, line {n} ({name}): a SMILES has no pose to put the pocket around; "
        "choose the pocket around a point or the whole protein"
        for n, name in ((2, "a"), (3, "complex_3"))
    ]
    complexes, problems = load_csv(table, PocketChoice.parse("point:4,4,0,5"), seed=3)
    assert problems == []
    assert [c.reference for c in complexes] == [None, None]
    assert [Chem.MolToSmiles(c.ligand.mol) for c in complexes] == ["CCCCO", "O=C(O)c1ccccc1"]
    again, _ = load_csv(table, PocketChoice.parse("point:4,4,0,5"), seed=3)
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
    complexes, problems = load_csv(table)
    assert [c.name for c in complexes] == ["good", "last"]
    long, sequence, twice, protein, ligand, empty, two, smiles = _lines(problems)
    assert long == f"{table}, line 7: it has more fields than the header; quote commas"
    assert sequence.startswith(f"{table}: protein_sequence is ignored")
    assert twice.startswith(f"{table}, line 3 (good): the name 'good' is used twice")
    assert protein.startswith(f"{table}, line 4 (lost): {tmp_path}/nowhere.pdb: cannot be read")
    assert ligand.startswith(f"{tmp_path}/nowhere.sdf: cannot be read")
    assert empty.startswith(f"{table}, line 6 (empty): protein_path or ligand_description is empty")
    assert two.startswith(f"{table}, line 8 (two): the ligand file has several records")
    assert smiles.startswith(f"{table}, smiles: RDKit cannot read the SMILES 'CC(C'")


@pytest.mark.parametrize("name", ["ligand.sdf.gz", "ligand.pdb", "pose"])
def test_a_ligand_file_of_another_kind_is_not_taken_for_a_smiles(tmp_path: Path, name: str) -> None:
    table = _table(tmp_path, f"a,protein.pdb,{name},")
    (tmp_path / "pose").write_text("something")
    complexes, problems = load_csv(table)
    assert complexes == []
    assert _lines(problems) == [f"{tmp_path}/{name}: not a ligand file; use .sdf, .sd, .mol, .mol2"]


def test_a_long_smiles_is_no_path(tmp_path: Path) -> None:
    complexes, problems = load_csv(_table(tmp_path, f"a,protein.pdb,{'C' * 300}(,"), PocketChoice.parse("protein"))
    assert complexes == []
    assert "RDKit cannot read the SMILES" in _lines(problems)[0]


def test_table_columns(tmp_path: Path) -> None:
    fields = "complex_name,protein_path,ligand_description,affinity\n"
    table = _table(tmp_path, "a,protein.pdb,ligand.sdf,7.2", fields=fields)
    complexes, problems = load_csv(table)
    assert [c.name for c in complexes] == ["a"]
    assert _lines(problems)[0].startswith(f"{table}: unknown columns are ignored: affinity; use the columns")
    table = _table(tmp_path, "a,protein.pdb", fields="complex_name,protein\n")
    assert _lines(load_csv(table)[1])[0].startswith(f"{table}: there is no column protein_path, ligand_description")
    assert "there are no usable rows" in _lines(load_csv(_table(tmp_path))[1])[0]


def test_tables_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    assert "cannot be read" in _lines(load_csv(path)[1])[0]
    path.write_bytes(b"")
    assert "the file is empty" in _lines(load_csv(path)[1])[0]
    path.write_bytes(bytes(range(256)))
    assert "the file is binary" in _lines(load_csv(path)[1])[0]


def test_posebusters(capfd: pytest.CaptureFixture[str]) -> None:
    complexes, problems = load_posebusters()
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
    assert any("NDP" in label for label in reductase.protein_report.hetero)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("series", ["jacs_set__tyk2", "charge_annhil__thrombin_whole_map", "merck__pfkfb3_automap"])
def test_real_series(series: str, tmp_path: Path) -> None:
    (tmp_path / series).symlink_to(shared(f"data/fep_plus/{series}"))
    complexes, problems = load_folder(tmp_path)
    assert problems == []
    records = (tmp_path / series / "ligands.sdf").read_text().count("$$$$")
    assert len(complexes) == records
    for loaded in complexes:
        raw = Chem.MolFromMolBlock(Chem.MolToMolBlock(loaded.ligand.mol))
        assert loaded.reference is not None
        np.testing.assert_allclose(raw.GetConformer().GetPositions(), loaded.reference, atol=1e-3)
        # Modelled poses may clash a little (1.4 Å here), but a copy of the ligand would be nearer still.
        assert cdist(loaded.pocket.positions, loaded.ligand.positions).min() > 1.0
