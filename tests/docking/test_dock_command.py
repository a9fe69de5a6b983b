"""`ld3 dock` and the one call from Python, end to end on real complexes with an untrained model."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_runs import write_weights
from docking_models import complexes
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdDepictor, rdDistGeom, rdMolAlign

from domains.command import main
from domains.docking import dock, load_model
from domains.docking.dock_command import print_table
from domains.docking.poses.metrics import symmetric_rmsd
from domains.docking.ranked_poses import RankedPoses
from domains.docking.ranking.ranker import PoseScores
from domains.docking.structures.complexes import read
from domains.docking.structures.ligand import from_smiles
from domains.docking.structures.pairs import Pair
from domains.docking.structures.symmetry import automorphisms
from domains.errors import InputError
from domains.folder_lock import locked

DATA = Path(__file__).parents[1] / "data"
PROTEIN, LIGAND = DATA / "6o5u_protein.pdb", DATA / "6o5u_ligand.sdf"


@dataclass(frozen=True)
class Run:
    status: int
    out: Path
    stdout: str
    stderr: str

    def rows(self, file: str) -> list[dict[str, str]]:
        with (self.out / file).open() as lines:
            return list(csv.DictReader(lines))


def run(capsys: pytest.CaptureFixture[str], out: Path, *words: str | Path) -> Run:
    weights = out.parent / "model.safetensors"
    if not weights.exists():
        write_weights(weights)
    given = [str(word) for word in words]
    status = main(["dock", *given, "--weights", str(weights), "--out", str(out), "--nfe", "3", "--samples", "4"])
    printed = capsys.readouterr()
    return Run(status, out, printed.out, printed.err)


def coordinates(file: Path) -> NDArray[np.float64]:
    """Of all poses, by sample: scores of clashing poses after optimisation can change places by rounding."""
    mols = sorted(Chem.SDMolSupplier(str(file)), key=lambda mol: int(mol.GetProp("sample")))
    return np.stack([mol.GetConformer().GetPositions() for mol in mols])


def test_two_files_become_ranked_poses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every file is there; tags agree with the tables and with figures computed from the coordinates."""
    found = run(capsys, tmp_path / "out", PROTEIN, LIGAND, "--no-check")
    assert found.status == 0, found.stderr
    assert {path.name for path in found.out.glob("[!.]*")} == {
        *("poses.sdf", "best.sdf", "summary.csv", "failures.csv", "run.json"),
        *("receptor.pdb", "reference.sdf", "report.html"),
    }
    mols = list(Chem.SDMolSupplier(str(found.out / "poses.sdf")))
    assert [mol.GetProp("rank") for mol in mols] == ["1", "2", "3", "4"]
    scores = [float(mol.GetProp("score")) for mol in mols]
    assert scores == sorted(scores, reverse=True)
    (best,) = Chem.SDMolSupplier(str(found.out / "best.sdf"))
    assert best.GetPropsAsDict() == mols[0].GetPropsAsDict()
    ligand = read(Pair(PROTEIN, LIGAND))[0][0].ligand
    (reference,) = Chem.SDMolSupplier(str(found.out / "reference.sdf"))
    for mol, row in zip(mols, found.rows("summary.csv"), strict=True):
        assert row["score"] == mol.GetProp("score") and row["nfe"] == "3"
        pose = mol.GetConformer().GetPositions()[None]
        rmsd = symmetric_rmsd(pose, reference.GetConformer().GetPositions(), automorphisms(ligand))
        assert float(mol.GetProp("rmsd")) == pytest.approx(rmsd[0], abs=2e-3)
    content = json.loads((found.out / "run.json").read_text())
    assert content["config"]["seed"] == 0 and content["versions"]["torch"]
    assert "no learned one of 3 evaluations is known to be better" in found.stderr
    assert found.rows("failures.csv") == []


def test_a_table_with_a_bad_row_docks_the_others_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "jobs.csv"
    smiles = "CC(=O)Nc1ccc(O)cc1"
    lines = [
        f"good,{PROTEIN},{LIGAND},",
        f"bad,{PROTEIN},none.sdf,",
        f"worse,none.pdb,{LIGAND},",
        f"new,{PROTEIN},{smiles},",
    ]
    table.write_text("\n".join(["complex_name,protein_path,ligand_description,protein_sequence", *lines]) + "\n")
    words = ("--csv", table, "--no-check", "--no-refine", "--pocket", LIGAND, "--diffdock-layout")
    found = run(capsys, tmp_path / "out", *words)
    assert found.status == 0, found.stderr
    assert [row["name"] for row in found.rows("summary.csv")] == ["good", "new"]
    failures = [" ".join(row.values()) for row in found.rows("failures.csv")]
    assert all(file in failure for file, failure in zip(("none.sdf", "none.pdb"), failures, strict=True))
    layout = sorted(path.name for path in (found.out / "new").glob("rank*"))
    assert layout[0] == "rank1.sdf" and len(layout) == 5 and layout[1].startswith("rank1_confidence")
    before = (found.out / "good" / "poses.sdf").stat().st_mtime_ns
    poses = coordinates(found.out / "new" / "poses.sdf")
    (found.out / "new" / "run.json").unlink()
    again = run(capsys, tmp_path / "out", *words)
    assert "1 of 2 are docked already" in again.stderr
    assert (found.out / "good" / "poses.sdf").stat().st_mtime_ns == before
    # What is docked beside a ligand changes it by rounding.
    np.testing.assert_allclose(coordinates(again.out / "new" / "poses.sdf"), poses, atol=1e-3)
    assert [row["name"] for row in again.rows("summary.csv")] == ["good", "new"]


def test_results_of_another_kind_are_not_written_among(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table's run does not land in one ligand's folder; other poses of one ligand replace those, and it is said."""
    table = tmp_path / "jobs.csv"
    table.write_text(
        f"complex_name,protein_path,ligand_description\na,{PROTEIN},CCOC=O\nb,{PROTEIN},CCO\nc,{PROTEIN},CCN\n"
    )
    pocket = ("--pocket", LIGAND, "--no-check", "--no-refine")
    first = run(capsys, tmp_path / "one", PROTEIN, "CCOC=O ester", *pocket)
    assert first.status == 0
    before = (first.out / "poses.sdf").read_bytes()
    refused = run(capsys, tmp_path / "one", "--csv", table, *pocket)
    assert refused.status == 2 and "holds one ligand's poses; give another folder" in refused.stderr
    assert (first.out / "poses.sdf").read_bytes() == before
    other = run(capsys, tmp_path / "one", PROTEIN, "CCO ethanol", *pocket)
    assert other.status == 0 and "holds poses of ester" in other.stderr and "they are replaced" in other.stderr
    several = run(capsys, tmp_path / "several", "--csv", table, *pocket)
    assert several.status == 0 and "c/report.html" in (several.out / "report.html").read_text()
    table.write_text("\n".join(table.read_text().splitlines()[:3]) + "\n")
    fewer = run(capsys, tmp_path / "several", "--csv", table, *pocket)
    assert "2 of 2 are docked already" in fewer.stderr
    page = (fewer.out / "report.html").read_text()
    assert "a/report.html" in page and "c/report.html" not in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "PROTEIN and LIGAND and --csv are missing"),
        ((PROTEIN,), "LIGAND and --csv are missing"),
        ((PROTEIN, LIGAND, "--csv", "a.csv"), "a protein or a ligand was given as well"),
        ((PROTEIN, "none.sdf"), "nothing can be docked"),
        ((LIGAND, PROTEIN), "it is a ligand's file, where a protein's is due; give the protein before the ligand"),
        ((PROTEIN, "CCO"), "a SMILES has no pose to put the pocket around"),
        ((PROTEIN, LIGAND, "--pocket", "hole"), "pocket is 'hole'"),
        ((PROTEIN, LIGAND, "--conformers", "0"), "--conformers: got 0"),
        ((PROTEIN, LIGAND, "--grid", "none.json"), "--grid"),
        ((PROTEIN, LIGAND, "--device", "abacus"), "'abacus' cannot be used"),
    ],
)
def test_what_cannot_run_says_so_and_ends_with_status_2(
    words: tuple[str | Path, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(capsys, tmp_path / "out", *words)
    assert found.status == 2
    assert message in found.stderr
    assert not (found.out / "run.json").exists()


def test_both_rmsds_are_in_the_tags_where_they_differ() -> None:
    """A pose with the two oxygens of 4-hydroxycyclohexadienone exchanged: no error by elements, one by bond orders."""
    ligand = from_smiles("O=C1C=CC(O)C=C1", "dienone", seed=1)
    found = replace(read(Pair(PROTEIN, LIGAND))[0][0], ligand=ligand, reference=ligand.positions)
    exchanged = next(p for p in automorphisms(ligand) if p[0] != 0)
    positions = np.stack([ligand.positions, ligand.positions[exchanged]]).astype(np.float32)
    scores = PoseScores(np.array([1.0, 0.0]), {})
    ranked = RankedPoses(found, positions, np.arange(2), scores, None, None, (), {}, {})
    same, other = ranked
    assert same.rmsd == same.rmsd_keeping_bond_orders == pytest.approx(0.0, abs=1e-6)
    assert "rmsd_keeping_bond_orders" not in ranked.sdf_tags(same)
    assert other.rmsd == pytest.approx(0.0, abs=1e-6)
    moved = Chem.Mol(other.mol)
    expected = rdMolAlign.CalcRMS(moved, Chem.Mol(ligand.mol))
    assert expected > 1.0
    assert float(ranked.sdf_tags(other)["rmsd_keeping_bond_orders"]) == pytest.approx(expected, abs=1e-3)


def test_one_call_from_python_gives_molecules_with_scores(tmp_path: Path) -> None:
    """The same poses as the command line's engine makes; a ligand with a pose of its own, and a SMILES without."""
    weights = write_weights(tmp_path / "model.safetensors")
    found = dock(PROTEIN, LIGAND, weights=weights, nfe=3, samples=3, check=False)
    assert [pose.rank for pose in found.poses] == [1, 2, 3]
    assert all(isinstance(pose.mol, Chem.Mol) and pose.rmsd is not None for pose in found.poses)
    assert found.best.mol.GetProp("score") == f"{found.best.score:.4f}"
    (whole,) = dock(PROTEIN, "CCOC=O", pocket="protein", weights=weights, nfe=2, samples=1, check=False).ligands
    assert any("were trained on pockets, not on whole proteins" in remark for remark in whole.complex.remarks)
    from_smiles = dock(PROTEIN, "CCOC=O", pocket=str(LIGAND), weights=weights, nfe=3, samples=2, check=False)
    assert [pose.rmsd for pose in from_smiles.poses] == [None, None]
    with pytest.raises(InputError, match="no pose to put the pocket around"):
        dock(PROTEIN, "CCO", weights=weights)
    with pytest.raises(TypeError, match="method is missing"):
        dock(load_model(weights), list(complexes()))  # type: ignore[call-overload]


def test_rdkit_molecules_are_docked_as_they_are(tmp_path: Path) -> None:
    """In the pose of their conformer, atom for atom; without one as their SMILES, stereo and all; bad ones are said."""
    weights = write_weights(tmp_path / "model.safetensors")
    how: dict[str, Any] = {"weights": weights, "nfe": 2, "samples": 2, "check": False, "refine": False}
    (mol,) = Chem.SDMolSupplier(str(LIGAND), removeHs=False)
    by_file, by_mol = dock(PROTEIN, LIGAND, **how), dock(PROTEIN, mol, **how)
    np.testing.assert_array_equal(by_mol.ligands[0].positions, by_file.ligands[0].positions)
    np.testing.assert_array_equal(by_mol.ligands[0].rmsd, by_file.ligands[0].rmsd)
    shuffled = Chem.RenumberAtoms(Chem.RemoveHs(mol), list(reversed(range(Chem.RemoveHs(mol).GetNumAtoms()))))
    (own,) = dock(PROTEIN, shuffled, **how).ligands
    symbols = [[atom.GetSymbol() for atom in found.GetAtoms()] for found in (own.best.mol, shuffled)]
    assert symbols[0] == symbols[1]

    flat = Chem.MolFromSmiles("N[C@@H](C)C(=O)O")
    flat.SetProp("_Name", "alanine")
    rdDepictor.Compute2DCoords(flat)
    open_ = Chem.MolFromSmiles("CC(O)C(=O)O.[Na]")
    ester = Chem.AddHs(Chem.MolFromSmiles("CCOC=O"))
    rdDistGeom.EmbedMolecule(ester, randomSeed=1)
    mols = [flat, open_, None, ester]
    found = dock(PROTEIN, mols, pocket=str(LIGAND), stereo="enumerate", **how)
    assert [own.complex.name for own in found.ligands] == ["alanine", "isomer_1", "isomer_2", "ligand_4"]
    assert Chem.MolToSmiles(found.best.mol) == Chem.CanonSmiles("N[C@@H](C)C(=O)O")
    assert [problem.record for problem in found.problems] == ["molecule 3"]
    bond = [np.linalg.norm(m.GetConformer().GetPositions()[0] - m.GetConformer().GetPositions()[1]) for m in (ester,)]
    start = found.ligands[3].best.mol.GetConformer().GetPositions()
    assert np.linalg.norm(start[0] - start[1]) == pytest.approx(bond[0], abs=1e-3)  # its own conformer, not another
    with pytest.raises(InputError, match="there is none in the list"):
        dock(PROTEIN, [], **how)
    with pytest.raises(TypeError, match="got int at 1"):
        dock(PROTEIN, [3], **how)  # type: ignore[list-item]


def test_what_a_notebook_gets_can_be_shown_tabled_and_written(tmp_path: Path) -> None:
    """Rows are the poses; the table in a notebook escapes names; files are those of the command line."""
    weights = write_weights(tmp_path / "model.safetensors")
    mols = [Chem.MolFromSmiles("CCOC=O"), Chem.MolFromSmiles("CCO")]
    mols[0].SetProp("_Name", "<b>bold</b>")
    found = dock(PROTEIN, mols, pocket=str(LIGAND), weights=weights, nfe=2, samples=2, check=False)
    assert [(row["name"], row["rank"]) for row in found.rows] == [
        *(("<b>bold</b>", 1), ("<b>bold</b>", 2)),
        *(("ligand_2", 1), ("ligand_2", 2)),
    ]
    assert [row["score"] for row in found.rows] == [pose.score for pose in found.poses]
    page = found._repr_html_()
    assert "&lt;b&gt;bold" in page and "<b>bold" not in page
    assert page.count("<tr>") == 1 + 4 and f"{found.best.score:.3f}" in page
    out = found.write(tmp_path / "out")
    with (out / "summary.csv").open() as file:
        assert [row["score"] for row in csv.DictReader(file)] == [f"{own.best.score:.4f}" for own in found.ligands]
    assert (out / "report.html").exists() and (out / "ligand_2" / "poses.sdf").exists()
    assert json.loads((out / "run.json").read_text())["config"]["nfe"] == 2


def test_conformers_share_the_samples(tmp_path: Path) -> None:
    """Of a ligand with rings, two conformers: even samples have the input's bond geometry, odd ones another."""
    weights = write_weights(tmp_path / "model.safetensors")
    found = dock(PROTEIN, LIGAND, weights=weights, nfe=3, samples=5, conformers=2, check=False, refine=False)
    alone = dock(PROTEIN, LIGAND, weights=weights, nfe=3, samples=3, check=False, refine=False)
    (own,), (input_only,) = found.ligands, alone.ligands
    assert sorted(own.samples.tolist()) == [0, 1, 2, 3, 4]
    by_sample = own.positions[np.argsort(own.samples)]
    expected = input_only.positions[np.argsort(input_only.samples)]
    np.testing.assert_allclose(by_sample[::2], expected, atol=1e-3)
    bonds = own.complex.ligand.bond_index
    lengths = np.linalg.norm(by_sample[:, bonds[0]] - by_sample[:, bonds[1]], axis=-1)
    np.testing.assert_allclose(lengths[1], lengths[3], atol=1e-3)
    assert np.abs(lengths[0] - lengths[1]).max() > 0.005


def test_the_table_has_the_best_pose_of_each_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"rank": str(i), "score": f"{9 - i}.0", "cluster": cluster} for i, cluster in enumerate("1121342", 1)]
    print_table([{"name": "lig", "poses": rows}])
    printed = capsys.readouterr().out
    ranks = [words[0] for words in map(str.split, printed.splitlines()) if len(words) == 3 and words[0].isdigit()]
    assert ranks == ["1", "3", "5", "6"]
    assert "the best pose of each cluster; all 7 are in poses.sdf" in " ".join(printed.split())
    print_table([{"name": "a", "summary": rows[0]}, {"name": "b", "summary": rows[1]}])
    assert "of each cluster" not in capsys.readouterr().out


def test_a_part_that_is_the_whole_score_is_not_printed_twice(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"rank": "1", "score": "9.5", "score_vina": "9.5", "cluster": "1"}
    print_table([{"name": "lig", "poses": [row]}])
    printed = capsys.readouterr().out
    assert "score_vina" not in printed and "a higher score is better" in printed
    print_table([{"name": "lig", "poses": [row | {"score": "11.5", "score_consensus": "2.0"}]}])
    printed = capsys.readouterr().out
    assert "score_vina" in printed and "score_consensus" in printed


def test_two_runs_do_not_share_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locked(tmp_path / "out"):
        found = run(capsys, tmp_path / "out", PROTEIN, LIGAND)
    assert found.status == 2 and "another run is at work in it" in found.stderr
    assert not (found.out / "poses.sdf").exists()


def test_a_run_with_a_bad_ligand_leaves_the_failures_of_the_run_at_work_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, failures = tmp_path / "bad.sdf", tmp_path / "out" / "failures.csv"
    bad.write_text("no molecule")
    with locked(tmp_path / "out"):
        failures.write_text("of the run at work")
        found = run(capsys, tmp_path / "out", PROTEIN, bad)
    assert found.status == 2 and "another run is at work in it" in found.stderr
    assert failures.read_text() == "of the run at work"
    found = run(capsys, tmp_path / "out", PROTEIN, bad)
    assert found.status == 2 and "bad.sdf" in failures.read_text(), "alone it writes why"
