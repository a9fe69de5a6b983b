"""What is bound in a pocket, lies on the protein or is far away: left out, kept or refused, and always said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_runs import write_weights
from conftest import shared
from numpy.typing import NDArray

from benchmarks.docking.inputs import load
from benchmarks.docking.options import Options
from domains import docking
from domains.docking.screen.receptor import read_receptor
from domains.docking.structures.complexes import Complex, read
from domains.errors import InputError, InputProblem

PLAIN = next(c for c in read()[0] if c.name == "1ia1")
"""A reductase with NADPH (NDP); TQ3 of its other chain is far from the pocket."""
LINES = [line for line in PLAIN.protein.path.read_text().splitlines() if line.startswith(("ATOM", "HETATM"))]
CENTRE = PLAIN.ligand.positions.mean(0)
POINT = "point:" + ",".join(f"{x:.3f}" for x in CENTRE)
OTHER = "CC(=O)Nc1ccc(O)cc1"  # is not the ligand that is bound


def line(name: str, residue: str, xyz: NDArray[Any], number: int = 900, element: str = "C") -> str:
    x, y, z = xyz
    start = f"HETATM    1 {name:<4} {residue:>3} X{number:4d}    "
    return f"{start}{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {element:>2}"


def near(x: float, y: float, z: float) -> NDArray[Any]:
    """A place by the middle of the pocket."""
    return CENTRE + np.array([x, y, z])


def put(text: str, xyz: NDArray[Any]) -> str:
    x, y, z = xyz
    return f"{text[:30]}{x:8.3f}{y:8.3f}{z:8.3f}{text[54:]}"


def bound(residue: str = "LIG") -> list[str]:
    """The crystal's ligand as a residue of the protein file."""
    atoms = zip(PLAIN.ligand.mol.GetAtoms(), PLAIN.ligand.positions, strict=True)
    return [line(f" {a.GetSymbol()}{i}", residue, xyz, element=a.GetSymbol()) for i, (a, xyz) in enumerate(atoms)]


def table(folder: Path, lines: list[str], ligand: str = OTHER) -> Path:
    (folder / "p.pdb").write_text("\n".join([*lines, "END", ""]))
    (folder / "t.csv").write_text(f"complex_name,protein_path,ligand_description\na,p.pdb,{ligand}\n")
    return folder / "t.csv"


def one(found: tuple[list[Complex], list[InputProblem]]) -> Complex:
    (complex_,), problems = found
    assert problems == []
    return complex_


@pytest.mark.parametrize("pocket", [POINT, "protein"])
def test_a_bound_ligand_is_left_out_of_a_pocket_that_it_fills(tmp_path: Path, pocket: str) -> None:
    path = table(tmp_path, [*LINES, *bound()])
    found = one(read(path, pocket=pocket))
    assert "LIG" not in found.protein.residue_names
    assert "NDP" in found.protein.residue_names
    assert any("X:900 LIG (19 heavy atoms bound in the pocket" in remark for remark in found.remarks)
    assert any("--keep LIG keeps it" in remark for remark in found.remarks)
    empty = one(read(table(tmp_path, LINES), pocket=pocket))
    np.testing.assert_array_equal(found.pocket.positions, empty.pocket.positions)
    for name in ("LIG", "X:900", "all-ligands"):
        kept = one(read(table(tmp_path, [*LINES, *bound()]), pocket=pocket, keep=[name]))
        assert "LIG" in kept.protein.residue_names
        assert "X:900" in kept.pocket.residue_ids


def test_what_lies_where_the_pockets_ligand_is(tmp_path: Path) -> None:
    """The ligand of another file says where the pocket is; in the protein file it is in the way, cofactor or not."""
    sdf = PLAIN.protein.path.with_name("1ia1_ligand.sdf")
    found = one(read(table(tmp_path, [*LINES, *bound("SAM")]), pocket=str(sdf)))
    assert "SAM" not in found.protein.residue_names
    assert "NDP" in found.protein.residue_names


def test_a_screen_does_the_same(tmp_path: Path) -> None:
    table(tmp_path, [*LINES, *bound()])
    receptor = read_receptor(tmp_path / "p.pdb", POINT)
    assert "X:900" not in receptor.pocket.residue_ids
    assert any("X:900 LIG (19 heavy atoms bound in the pocket" in remark for remark in receptor.remarks)
    assert "X:900" in read_receptor(tmp_path / "p.pdb", POINT, keep=["LIG"]).pocket.residue_ids
    with pytest.raises(InputError, match="no residue in it is called LGI"):
        read_receptor(tmp_path / "p.pdb", POINT, drop=["LGI"])


def test_around_the_ligands_own_pose_neighbours_stay(tmp_path: Path) -> None:
    sdf = PLAIN.protein.path.with_name("1ia1_ligand.sdf")
    found = one(read(table(tmp_path, LINES, str(sdf))))
    assert "TQ3" in found.protein.residue_names
    dropped = one(read(table(tmp_path, LINES, str(sdf)), drop=["all-ligands"]))
    assert "TQ3" not in dropped.protein.residue_names
    assert "NDP" in dropped.protein.residue_names
    assert any("TQ3 (as asked)" in remark for remark in dropped.remarks)
    bare = one(read(table(tmp_path, LINES, str(sdf)), drop=["NDP"]))
    assert "NDP" not in bare.protein.residue_names


def test_additives_are_kept_if_asked_for(tmp_path: Path) -> None:
    glycerol = [line(f" C{i}", "GOL", near(0, 0, 1.5 * i)) for i in range(3)]
    path = table(tmp_path, [*LINES, *glycerol])
    assert "X:900" not in one(read(path, pocket=POINT)).pocket.residue_ids
    assert "X:900" in one(read(path, pocket=POINT, keep=["GOL"])).pocket.residue_ids


def test_names_that_nothing_has(tmp_path: Path) -> None:
    path = table(tmp_path, [*LINES, *bound()])
    found, problems = read(path, pocket=POINT, drop=["LGI"], keep=["XYZ"])
    assert len(found) == 1
    remedy = "give the name of a residue as the file has it (LIG), its place (A:301), or all-ligands"
    assert [str(problem) for problem in problems] == [
        f"{option}, {name}: no residue of any protein is called so; {remedy}"
        for option, name in (("drop", "LGI"), ("keep", "XYZ"))
    ]
    with pytest.raises(ValueError, match="drop and keep both name LIG"):
        read(path, pocket=POINT, drop=["LIG"], keep=["LIG"])


def test_what_belongs_to_the_site_stays(tmp_path: Path) -> None:
    """Ions, small anions, a metal complex, a cofactor under another name, and a sugar on an asparagine."""
    ndp = [x for x in LINES if x[17:20] == "NDP" and x[21] == next(y[21] for y in LINES if y[17:20] == "NDP")]
    rest = [x for x in LINES if x not in ndp]
    renamed = [x[:17] + "UNL" + x[20:] for x in ndp]
    zinc = [line("ZN  ", "ZN", CENTRE, 910, "ZN")]
    phosphate = [line(f" O{i}", "PO4", near(1.5 * i, 3.0, 0), 911, "O") for i in range(4)]
    heme = [line(f" C{i}", "HEX", near(1.4 * i, -3.0, 0), 912) for i in range(9)]
    heme += [line("FE  ", "HEX", near(1.0, -5.0, 0), 912, "FE")]
    found = one(read(table(tmp_path, [*rest, *renamed, *zinc, *phosphate, *heme]), pocket=POINT))
    assert {"UNL", "ZN", "PO4", "HEX"} <= set(found.protein.residue_names)


def test_a_side_chain_in_the_way_of_the_reference_is_reported_and_stays(tmp_path: Path) -> None:
    """As in cross-docking: a phenylalanine turned to where the ligand of another structure is."""
    ligand = PLAIN.ligand.positions
    names = dict(zip(PLAIN.protein.residue_ids, PLAIN.protein.residue_names, strict=True))
    residue = next(i for i in PLAIN.pocket.residue_ids if names[i] == "PHE")
    chain, number = residue.split(":")
    own = [i for i, x in enumerate(LINES) if x[21] == chain and x[22:26].strip() == number and x[17:20] == "PHE"]
    side = [i for i in own if LINES[i][12:16].strip() not in ("N", "CA", "C", "O")]
    lines = list(LINES)
    beta = np.array([float(lines[side[0]][j : j + 8]) for j in (30, 38, 46)])
    nearest = ligand[np.argsort(np.linalg.norm(ligand - beta, axis=1))[: len(side)]]
    for i, xyz in zip(side, nearest, strict=True):
        lines[i] = put(lines[i], xyz + 0.2)
    sdf = PLAIN.protein.path.with_name("1ia1_ligand.sdf")
    fragment = [x for x in lines if f"{x[21]}:{x[22:26].strip()}" in PLAIN.pocket.residue_ids]
    found = one(read(table(tmp_path, fragment, str(sdf))))
    assert residue in found.pocket.residue_ids
    assert found.protein.report.copies == ()
    assert any(f"within 2 Å of the protein's ({residue} PHE" in remark for remark in found.remarks)


def test_a_ligand_in_another_frame_is_no_bound_pose(tmp_path: Path) -> None:
    """Both files centred at the origin."""
    atoms = np.array([[float(x[j : j + 8]) for j in (30, 38, 46)] for x in LINES])
    crowded = max(range(0, len(atoms), 7), key=lambda i: (np.linalg.norm(atoms - atoms[i], axis=1) < 7.0).sum())
    lines = [put(x, xyz + PLAIN.ligand.positions.mean(0) - atoms[crowded]) for x, xyz in zip(LINES, atoms, strict=True)]
    sdf = PLAIN.protein.path.with_name("1ia1_ligand.sdf")
    path = table(tmp_path, lines, str(sdf))
    found, (problem,) = read(path)
    assert found == []
    assert "of the ligand's 19 atoms are within 2 Å of the protein's" in str(problem)
    assert "give both in one frame, or choose the pocket around a point" in str(problem)
    moved = one(read(path, pocket=POINT))
    assert moved.reference is None


def test_small_pockets_are_reported(tmp_path: Path) -> None:
    path = table(tmp_path, LINES)
    small = one(read(path, pocket=f"{POINT},{PLAIN.protein.tree.query(CENTRE)[0] + 0.2:.2f}"))
    assert 0 < len(small.pocket.residue_ids) < 5
    assert small.remarks[0] == f"the pocket is small ({small.pocket.spec}): is it where the ligand binds?"
    assert not any("small" in remark for remark in one(read(path, pocket=POINT)).remarks)


def test_symmetries_matter_only_where_a_bound_pose_is_known(tmp_path: Path) -> None:
    """A tetraarylborate has more than can be counted."""
    ring = "c1cc(C(F)(F)F)cc(C(F)(F)F)c1"
    path = table(tmp_path, LINES, f"[B-]({ring})({ring})({ring}){ring}")
    weights = write_weights(tmp_path / "model.safetensors")
    found = load(Options(complexes=path, pocket=POINT, weights=weights), docking.load_model(weights))
    assert found.problems == ()
    (borate,) = found.complexes
    np.testing.assert_array_equal(found.symmetries["a"], np.arange(borate.ligand.n_atoms)[None])
    assert any("are not corrected for them" in remark for remark in borate.remarks)


def test_the_cases_that_were_reported() -> None:
    (found,), problems = read(shared("cases/odd_inputs/08_clash_removes_residue/in.csv"))
    assert problems == [] and found.protein.report.copies == ()
    assert found.remarks[0].startswith("WARNING: 9 of the ligand's 25 atoms are within 2 Å of the protein's (A:80 PHE)")
    nothing, (problem,) = read(shared("cases/odd_inputs/b07_ligand_in_another_frame/in.csv"))
    assert nothing == []
    assert "12 of the ligand's 13 atoms are within 2 Å" in str(problem)
    _, (problem,) = read(shared("cases/odd_inputs/b20_assembly_models/in.csv"))
    assert "of whose 2 models only the first is read; it is at model 2" in str(problem)
    (found,), _ = read(shared("cases/odd_inputs/09_holo_point/in.csv"), pocket="point:0.891,27.445,8.069")
    assert "LIG" not in found.protein.residue_names
