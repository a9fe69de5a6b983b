"""`ld3 dock` and `ld3 screen` with a DiffDock release as weights, from published files to files of poses.

The networks are tiny and random, the folder is as the real one: a score model, a confidence model, and ESM-2.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from language_models import write_language_model, write_release, write_release_of_published_size
from pyarrow import dataset
from rdkit import Chem
from small_receptors import around_ligand

from domains.command import main
from domains.docking import dock
from domains.docking.convert import cli as convert

DATA = Path(__file__).parents[1] / "data"
PROTEIN, LIGAND = DATA / "6o5u_protein.pdb", DATA / "6o5u_ligand.sdf"
SMILES = "CC(=O)Nc1ccc(O)cc1"


pytestmark = pytest.mark.usefixtures("own_cache")


def poses_of(file: Path) -> list[Chem.Mol]:
    return list(Chem.SDMolSupplier(str(file)))


def test_a_smiles_is_docked_blind_and_ranked_by_the_confidence_model(diffdock_release: Path, tmp_path: Path) -> None:
    """No pocket is given: starts spread over the whole protein; the order is that of the confidence model's logits."""
    words = [
        "dock",
        str(PROTEIN),
        SMILES,
        "--weights",
        str(diffdock_release),
        "--nfe",
        "2",
        "--samples",
        "3",
        "--no-check",
    ]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["pocket"]["spec"] == "whole protein: 268 residues"
    mols = poses_of(tmp_path / "out" / "poses.sdf")
    logits = [float(mol.GetProp("score_confidence")) for mol in mols]
    assert logits == [float(mol.GetProp("score")) for mol in mols] == sorted(logits, reverse=True)
    assert len(mols) == 3 and "rmsd" not in mols[0].GetPropsAsDict()
    # The same from Python, and the tags of a logit are the model's own.
    found = dock(PROTEIN, SMILES, weights=diffdock_release, nfe=2, samples=3, check=False)
    assert [pose.score for pose in found.poses] == pytest.approx(logits, abs=1e-3)


def test_a_pocket_is_respected_whatever_its_file_is_called(diffdock_release: Path, tmp_path: Path) -> None:
    """Around a file called ligand_of_mine.sdf; a known pose gives RMSDs; another ranker can be asked for."""
    reference = tmp_path / "ligand_of_mine.sdf"
    reference.write_bytes(LIGAND.read_bytes())
    words = [
        "dock",
        str(PROTEIN),
        str(LIGAND),
        "--weights",
        str(diffdock_release),
        "--nfe",
        "2",
        "--samples",
        "2",
        "--no-check",
    ]
    more = ["--pocket", f"{reference}:9", "--known-poses", "--ranking", "consensus", "--out", str(tmp_path / "out")]
    assert main([*words, *more]) == 0
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["pocket"]["spec"] == "ligand_of_mine.sdf, 9 Å: 57 residues"
    assert all(mol.HasProp("rmsd") and mol.HasProp("score_consensus") for mol in poses_of(tmp_path / "out/poses.sdf"))


def test_a_library_is_screened_blind(diffdock_release: Path, tmp_path: Path) -> None:
    """Each ligand's score is the confidence model's of its best pose, as `dock` gives it for the same conformer."""
    library = tmp_path / "library.smi"
    library.write_text(f"{SMILES} paracetamol\nOCCN1CCCC1 pyrrolidine\nnonsense\n")
    words = ["screen", str(PROTEIN), str(library), "--out", str(tmp_path / "out"), "--weights", str(diffdock_release)]
    assert main([*words, "--nfe", "2", "--samples", "2", "--no-refine"]) == 0
    rows = dataset.dataset(tmp_path / "out" / "parts").to_table().to_pylist()
    assert [row["status"] for row in rows] == ["docked", "docked", "failed"]
    assert [dict(row["parts"]).keys() for row in rows[:2]] == [{"confidence"}] * 2
    assert all(row["score"] == dict(row["parts"])["confidence"] for row in rows[:2])
    about = json.loads((tmp_path / "out" / "run.json").read_text())["depends_on"]
    assert (about["pocket"], about["ranker"]) == ("whole protein: 268 residues", "confidence")
    with (tmp_path / "out" / "best.csv").open() as file:
        scores = [float(row["score_confidence"]) for row in csv.DictReader(file)]
    assert scores == sorted(scores, reverse=True)
    # The pose lies in the protein's frame: on the protein, not around the origin.
    at = np.array(rows[0]["pose"]).reshape(-1, 3).mean(0)
    middle = poses_of(LIGAND)[0].GetConformer().GetPositions().mean(0)
    assert np.linalg.norm(at - middle) < 200


def test_without_the_language_model_the_command_says_what_to_get(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    bare = write_release(tmp_path)
    library = tmp_path / "library.smi"
    library.write_text(f"{SMILES}\n")
    given = ["--weights", str(bare), "--out", str(tmp_path / "out")]
    for words in (["dock", str(PROTEIN), SMILES], ["screen", str(PROTEIN), str(library)]):
        assert main([*words, *given]) == 2
        assert "hf download facebook/esm2_t33_650M_UR50D" in capsys.readouterr().err


def test_a_protein_too_long_for_memory_ends_with_the_option_that_crops(
    diffdock_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a machine with 10 MB left a pose in 268 residues does not fit; one in a pocket of them does."""
    left = tmp_path / "meminfo"
    left.write_text("MemTotal: 20000 kB\nMemAvailable: 10000 kB\n")
    monkeypatch.setattr("domains.memory._MEMINFO", left)
    out = tmp_path / "out"
    words = ["dock", str(PROTEIN), str(LIGAND), "--weights", str(diffdock_release), "--nfe", "2", "--samples", "1"]
    words += ["--no-check", "--out", str(out)]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "a pose in 268 residues takes about" in said and "--pocket point:X,Y,Z,RADIUS" in said
    assert not (out / "poses.sdf").exists()
    assert main([*words, "--pocket", f"{LIGAND}:6"]) == 0
    assert len(poses_of(out / "poses.sdf")) == 1


@pytest.mark.slow
def test_a_release_of_the_published_size_docks_and_converts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """30 million random weights and a confidence model of its size, on the residues around the ligand: the folder and
    the file that it becomes dock to the same poses, with the same logits."""
    release = write_release_of_published_size(tmp_path)
    write_language_model(tmp_path)
    receptor = tmp_path / "receptor.pdb"
    receptor.write_text(around_ligand(PROTEIN, LIGAND, 4.0))
    file = tmp_path / "diffdock_l.safetensors"
    convert([str(release), str(file)])
    said = capsys.readouterr().out
    assert "score network of 30,222,796 numbers, with its confidence model" in " ".join(said.split())
    found = []
    for weights in (release, file):
        words = ["dock", str(receptor), str(LIGAND), "--weights", str(weights), "--nfe", "2", "--samples", "2"]
        assert main([*words, "--no-check", "--no-refine", "--out", str(tmp_path / weights.stem)]) == 0
        found.append(poses_of(tmp_path / weights.stem / "poses.sdf"))
    for mine, other in zip(*found, strict=True):
        np.testing.assert_array_equal(mine.GetConformer().GetPositions(), other.GetConformer().GetPositions())
        assert mine.GetProp("score_confidence") == other.GetProp("score_confidence")
