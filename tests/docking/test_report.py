"""Reports: contacts against geometry made by hand and known complexes; pages in a real browser, where there is one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Geometry import Point3D

from domains.command import main
from domains.docking.report import write_report
from domains.docking.report.contacts import angle, contacts, stacked
from domains.docking.report.page_data import columns
from domains.docking.report.plots import Dot, scatter
from domains.docking.report.receptor_groups import read_receptor_atoms
from domains.docking.structures.complexes import read
from domains.errors import InputError

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def pdb(path: Path, *atoms: tuple[str, str, int, tuple[float, float, float]]) -> Path:
    """Atoms (name, residue, number, Å) in a file."""
    lines = []
    for i, (name, residue, number, (x, y, z)) in enumerate(atoms, start=1):
        element = name if name == residue else name[0]
        place = f"{i:5d} {name:^4s} {residue:>3s} A{number:4d}    {x:8.3f}{y:8.3f}{z:8.3f}"
        lines.append(f"ATOM  {place}  1.00  0.00          {element:>2s}")
    path.write_text("\n".join([*lines, "END\n"]))
    return path


def placed(smiles: str, *at: tuple[float, float, float]) -> Chem.Mol:
    mol = Chem.MolFromSmiles(smiles)
    conformer = Chem.Conformer(mol.GetNumAtoms())
    for i, xyz in enumerate(at):
        conformer.SetAtomPosition(i, Point3D(*xyz))
    mol.AddConformer(conformer)
    return mol


def ring(centre: tuple[float, float, float], across: tuple[float, float, float]) -> NDArray[np.float64]:
    """A hexagon of 1.4 Å whose axis is `across`."""
    axis = np.array(across) / np.linalg.norm(across)
    first = np.cross(axis, [0.3, 0.5, 0.9])
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    turns = np.arange(6) * np.pi / 3
    return np.array(centre) + 1.4 * (np.cos(turns)[:, None] * first + np.sin(turns)[:, None] * second)


def test_angles_and_stacked_rings() -> None:
    x, o, y = np.eye(3)[0], np.zeros(3), np.eye(3)[1]
    assert angle(x, o, y) == pytest.approx(90)
    assert angle(x, o, -2 * x + 2e-9 * y) == pytest.approx(180, abs=1e-5)
    flat = ring((0, 0, 0), (0, 0, 1))
    assert stacked(flat, ring((0, 1.0, 3.6), (0, 0.2, 1))) == "parallel"
    assert stacked(flat, ring((0, 0, 5.0), (1, 0, 0))) == "T-shaped"
    assert stacked(flat, ring((0, 0, 5.0), (1, 0, 1))) == ""  # 45 degrees
    assert stacked(flat, ring((0, 2.9, 2.9), (0, 0, 1))) == ""  # too far off the axis
    assert stacked(flat, ring((0, 0, 6.0), (0, 0, 1))) == ""  # too far


def test_a_hydrogen_bond_needs_distance_and_direction(tmp_path: Path) -> None:
    """Ethanol's O towards a serine's OG along a line, too far, and with the bonded carbon in between."""
    serine = (("CB", "SER", 7, (0.0, 1.4, 0.0)), ("OG", "SER", 7, (0.0, 0.0, 0.0)))
    receptor = read_receptor_atoms(pdb(tmp_path / "p.pdb", *serine))
    straight = placed("OC", (0.0, -2.8, 0.0), (0.0, -4.2, 0.0))
    (found,) = contacts(straight, receptor)
    assert (found.kind, found.residue, found.detail) == ("hydrogen bond", "A:7 SER", "OG")
    assert found.distance == pytest.approx(2.8)
    assert contacts(placed("OC", (0.0, -3.6, 0.0), (0.0, -5.0, 0.0)), receptor) == []
    behind = placed("OC", (0.0, -2.8, 0.0), (0.0, -1.6, 0.7))  # its carbon lies between the oxygens
    assert [c.kind for c in contacts(behind, receptor)] == []
    assert contacts(placed("FC", (0.0, -2.8, 0.0), (0.0, -4.2, 0.0)), receptor) == []


@pytest.mark.parametrize(
    ("smiles", "residue", "atom", "expected"),
    [
        ("NC", "ASP", "OD1", "salt bridge"),
        ("[NH3+]C", "GLU", "OE2", "salt bridge"),
        ("NC=O", "ASP", "OD1", "hydrogen bond"),  # an amide is not charged
        ("OC=O", "LYS", "NZ", "salt bridge"),
        ("OC", "LYS", "NZ", "hydrogen bond"),
        ("CC", "LEU", "CD1", "hydrophobic"),
        ("CO", "LEU", "CD1", None),  # a carbon beside oxygen
        ("CC", "SER", "CB", None),
        ("NC", "ZN", "ZN", "metal"),
    ],
)
def test_kinds_of_contacts(tmp_path: Path, smiles: str, residue: str, atom: str, expected: str | None) -> None:
    """The first atom 2.7 Å (3.7 Å for carbon) from the protein's, the others behind it."""
    far = 3.7 if smiles.startswith("C") else 2.7
    behind = [(far, 0.0, 0.0), (far + 1.4, 0.0, 0.0), (far + 2.0, 1.1, 0.0)]
    mol = placed(smiles, *behind[: Chem.MolFromSmiles(smiles).GetNumAtoms()])
    found = contacts(mol, read_receptor_atoms(pdb(tmp_path / "p.pdb", (atom, residue, 1, (0, 0, 0)))))
    assert [c.kind for c in found if c.atoms == (0,)] == ([] if expected is None else [expected])


def test_contacts_of_a_crystal_pose_are_those_of_the_literature(tmp_path: Path) -> None:
    """Dihydrofolate reductase with an antifolate (1s3v): the diaminopteridine's salt bridge with Glu 30, hydrogen bonds
    with the backbone of Ile 7 and Val 115, and Phe 34 stacked on it or touching it.
    """
    (found,) = (c for c in read()[0] if c.name == "1s3v")
    path = tmp_path / "receptor.pdb"
    path.write_text("\n".join([*found.protein.pdb_lines, "END\n"]))
    own = contacts(found.ligand.mol, read_receptor_atoms(path))
    held = {(c.residue.partition(":")[2], c.kind) for c in own}
    assert {("30 GLU", "salt bridge"), ("7 ILE", "hydrogen bond"), ("115 VAL", "hydrogen bond")} <= held
    assert any(residue == "34 PHE" for residue, _ in held)
    assert not {residue for residue, _ in held if residue.endswith("GLY")} & {r for r, k in held if k == "hydrophobic"}


def test_plots_place_dots_in_order() -> None:
    text = scatter([Dot(0, 1.0, 0.5, "l0", "a<b"), Dot(1, 2.0, 0.7, "l1", "c")], "x & y", "score", line_at=2.0)
    x, y = ([float(v) for v in re.findall(rf'{name}="([\d.]+)" ', text)] for name in ("cx", "cy"))
    assert x[0] < x[1] and y[0] > y[1]
    assert "a&lt;b" in text and "x &amp; y" in text
    assert f'x1="{x[1]:.1f}"' in text


def test_columns_begin_with_what_is_looked_at_first_and_leave_out_a_score_said_twice() -> None:
    mol = Chem.MolFromSmiles("C")
    tags = {"rank": "1", "score": "9.5", "score_vina": "9.5", "moved_by_refinement": "0.1", "valid": "yes", "rmsd": "1"}
    for name, value in tags.items():
        mol.SetProp(name, value)
    assert columns([mol]) == ["score", "rmsd", "valid", "moved_by_refinement"]
    mol.SetProp("score_vina", "4.5")
    assert columns([mol]) == ["score", "rmsd", "valid", "score_vina", "moved_by_refinement"]


@pytest.fixture(scope="module")
def docked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three poses of a small complex, called what could end a script."""
    folder = tmp_path_factory.mktemp("docked")
    (found,) = (c for c in read()[0] if c.name == "1ia1")
    ligand = folder / "ligand.sdf"
    block = (found.protein.path.parent / "1ia1_ligand.sdf").read_text().split("\n", 1)[1]
    ligand.write_text(f"</script><b>x\n{block}")
    options = ("--nfe", "5", "--samples", "3", "--no-check", "--out", str(folder / "out"))
    assert main(["dock", str(found.protein.path), str(ligand), *options]) == 0
    return folder / "out"


def test_a_report_is_one_file_that_loads_nothing(docked: Path) -> None:
    path = write_report(docked)
    text = path.read_text()
    assert path == docked / "report.html"
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "default-src 'none'" in text
    assert text.count("<script") == text.count("</script>") == 3  # a name cannot add one
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL).group(1))  # type: ignore[union-attr]
    assert [pose["name"] for pose in data["poses"]] == ["</script><b>x"] * 3
    assert data["reference"] is not None and data["reference_contacts"]
    assert all(line.startswith(("ATOM", "HETATM", "END")) for line in data["protein"].splitlines())
    assert data["pictures"][0].startswith("<svg") and "svg>" in data["pictures"][0]


def test_several_ligands_have_a_page_that_leads_to_theirs(docked: Path, tmp_path: Path) -> None:
    for name in ("a b", "c"):
        shutil.copytree(docked, tmp_path / "out" / name)
    path = write_report(tmp_path / "out")
    assert path == tmp_path / "out" / "report.html"
    assert 'href="a%20b/report.html"' in path.read_text()
    assert (tmp_path / "out" / "c" / "report.html").exists()


def test_a_folder_without_results_is_refused(docked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="there are no results in it; give the --out of ld3 dock"):
        write_report(tmp_path)
    shutil.copytree(docked, tmp_path / "out")
    (tmp_path / "out" / "poses.sdf").write_text("nothing")
    assert main(["report", str(tmp_path / "out")]) == 2
    assert re.search(r"poses.sdf: .* dock again", capsys.readouterr().err)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
@pytest.mark.slow
def test_a_browser_shows_it(docked: Path, tmp_path: Path) -> None:
    """The script comes to its end, in 3-D, with a row for each pose and the contacts of the first; also where
    PoseBusters had no answer for a pose, and was not asked about another.
    """
    assert CHROMIUM is not None
    folder = tmp_path / "docked"
    shutil.copytree(docked, folder)
    first, second, third, _ = (folder / "poses.sdf").read_text().split("$$$$\n")
    said = [f"{pose}>  <valid>\n{valid}\n\n" for pose, valid in ((first, "not known"), (second, "yes"))]
    (folder / "poses.sdf").write_text("$$$$\n".join([*said, third, ""]))
    path = write_report(folder)
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--dump-dom")
    quiet = ("--disable-background-networking", f"--user-data-dir={tmp_path}", "--virtual-time-budget=8000")
    command = [CHROMIUM, *options, *quiet, path.as_uri()]
    page = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert 'data-ready="3d"' in page
    assert page.count("<canvas") >= 1
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL).group(1))  # type: ignore[union-attr]
    table = page[page.index('id="poses"') :]
    assert table[: table.index("</table>")].count("<tr data-pose") == 3
    assert table.count('class="words yes"') == 1 and table.count(">not known<") == 1
    rows = page[page.index('id="contacts"') :]
    assert rows[: rows.index("</tbody>")].count("<tr>") == len(data["poses"][0]["contacts"]) > 0
