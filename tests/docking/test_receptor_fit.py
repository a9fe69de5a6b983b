"""`ld3 fit docking`: which ligands are drawn, and what is compared with what."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import screens
from rdkit import Chem

from domains.command import main
from domains.docking.screen.library import Library
from domains.docking.screen.receptor import read_receptor
from domains.docking.screen.receptor_fit import FITTED, OTHERS, _near, draw_ligands
from domains.docking.structures.complexes import read
from ld3.learn import FitResult

FOUND = read()[0][1]
LIGAND = FOUND.protein.path.parent / f"{FOUND.name}_ligand.sdf"


def test_ligands_are_drawn_by_what_they_are(tmp_path: Path) -> None:
    """Each once, whatever the order of the library; another seed draws others; bad records are passed over."""
    smiles = screens.many_smiles(40)
    (tmp_path / "a.smi").write_text("\n".join([*smiles, *smiles[:20], "nonsense"]))
    (tmp_path / "b.smi").write_text("\n".join(smiles[::-1]))
    receptor = read_receptor(FOUND.protein.path, str(LIGAND))

    def drawn(name: str, seed: int) -> list[str]:
        own = draw_ligands(Library(tmp_path / name), receptor, 6, seed)
        assert all(c.pocket is receptor.pocket and c.reference is None for c in own)
        return [Chem.MolToSmiles(c.ligand.mol, isomericSmiles=False) for c in own]

    first = drawn("a.smi", 0)
    assert len(set(first)) == 6
    assert drawn("b.smi", 0) == first
    assert set(drawn("a.smi", 1)) != set(first)


def test_a_pose_is_near_within_two_angstroms_of_its_goal() -> None:
    goals = np.zeros((3, 4, 3), dtype=np.float32)
    moved = goals + np.array([1.9, 2.1, np.nan], dtype=np.float32)[:, None, None] * np.array(
        [1.0, 0, 0], dtype=np.float32
    )
    assert _near(moved, goals).tolist() == [1.0, 0.0, 0.0]


@pytest.mark.slow
def test_the_command_learns_a_grid_and_compares_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, grid = screens.write_grid(tmp_path)
    library = tmp_path / "l.smi"
    library.write_text("\n".join(screens.many_smiles(12)))
    words = ["--receptor", FOUND.protein.path, "--ligands", library, "--pocket", LIGAND, "--weights", weights]
    few = ["--nfe", "2", "--sample", "3", "--others", "2", "--poses", "10", "--test-poses", "2"]
    command = ["fit", "docking", *map(str, words), *few, "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert "'edm', made by hand, " in " ".join(capsys.readouterr().out.split())
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "model.grids").mkdir()
    replace(FitResult.load(grid), test=None).save(tmp_path / "model.grids" / "dpmpp_2m_2.json")  # too few poses for it
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "other ligands (2 x 2 poses)" in out
    assert "dpmpp_2m_2.json" in out
    content = json.loads((tmp_path / "out" / "fit.json").read_text())
    assert content["comparisons"].keys() == {FITTED, OTHERS}
    assert [c["ligands"] for c in content["comparisons"].values()] == [3, 2]
    fit = FitResult.load(tmp_path / "out" / "grid.json")
    assert fit.nfe == 2
    if not fit.learned:  # too few pairs for the final test
        for c in content["comparisons"].values():
            assert c["gain"][0] == pytest.approx(c["fitted"][0] - c["usual"][0])
