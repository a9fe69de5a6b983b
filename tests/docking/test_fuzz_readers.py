"""Files that were damaged at random: read as before or refused in one line, never a traceback, never other atoms.

LD3_FUZZ_EXAMPLES says how many damaged files of each kind are tried; ``make fuzz`` tries many.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rdkit import Chem

from domains.docking.networks.shipped import SHIPPED
from domains.docking.networks.weights import load_weights
from domains.docking.structures.csv_rows import read_rows
from domains.docking.structures.ligand import Ligand
from domains.docking.structures.ligand_files import read_ligands
from domains.errors import InputError, InputProblem
from ld3.learn import FitResult

EXAMPLES = int(os.environ.get("LD3_FUZZ_EXAMPLES", "20"))
LONG = EXAMPLES > 100
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=not LONG,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
GRID = Path(__file__).parents[2] / "domains" / "docking" / "weights"


@st.composite
def damage(draw: st.DrawFn, original: bytes) -> bytes:
    """The bytes with some of them replaced, left out or doubled."""
    changed = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(changed) - 1)))
        length = draw(st.integers(1, 40))
        kind = draw(st.sampled_from(("replace", "delete", "double", "cut")))
        if kind == "replace":
            changed[at : at + length] = draw(st.binary(min_size=1, max_size=8) | st.just(b"   nan 1e999 -7 "))
        elif kind == "delete":
            del changed[at : at + length]
        elif kind == "double":
            changed[at:at] = changed[at : at + length]
        else:
            del changed[max(at, 1) :]
    return bytes(changed)


def _ligands(path: Path) -> list[Ligand]:
    """Those that are read; everything else has to be a problem of one line."""
    found = list(read_ligands(path))
    for problem in found:
        assert isinstance(problem, Ligand | InputProblem)
        if isinstance(problem, InputProblem):
            assert problem.message and problem.remedy and "\n" not in str(problem)
    ligands = [entry for entry in found if isinstance(entry, Ligand)]
    for ligand in ligands:
        assert np.isfinite(ligand.positions).all()
        assert Chem.MolFromSmiles(Chem.MolToSmiles(ligand.mol)) is not None
    return ligands


SDF = data("6o5u_ligand.sdf").read_bytes()
MOL2 = data("openbabel.mol2").read_bytes()


@FUZZ
@given(damage(SDF))
def test_sdf(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "x.sdf").write_bytes(damaged)
    _ligands(tmp_path / "x.sdf")


@FUZZ
@given(damage(MOL2[:4000]))
def test_mol2(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "x.mol2").write_bytes(damaged)
    _ligands(tmp_path / "x.mol2")


@FUZZ
@given(st.data())
def test_a_coordinate_that_is_no_number_is_refused(tmp_path: Path, choice: st.DataObject) -> None:
    lines = SDF.decode().split("\n")
    atom = 4 + choice.draw(st.integers(0, int(lines[3][:3]) - 1))
    column = 10 * choice.draw(st.integers(0, 2))
    wrong = choice.draw(
        st.sampled_from(("      nan ", "   1.2.3  ", "  ********", "    1,2345", "       inf", "     abc  "))
    )
    lines[atom] = lines[atom][:column] + wrong + lines[atom][column + 10 :]
    (tmp_path / "x.sdf").write_text("\n".join(lines))
    assert _ligands(tmp_path / "x.sdf") == []


@FUZZ
@given(
    damage(b'complex_name,protein_path,ligand_description\na,p.pdb,CCO\nb,"q.pdb","CC(N)O |a:1,2|"\nc,r.pdb,x.sdf\n')
)
def test_csv(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "x.csv").write_bytes(damaged)
    try:
        rows, problems = read_rows(tmp_path / "x.csv", ("protein_path",), ("protein_path", "ligand_description"))
    except InputError:
        return
    assert all(problem.message and problem.remedy for problem in problems)
    assert all(isinstance(value, str) for _, row in rows for value in row.values())


@FUZZ
@given(damage(sorted(GRID.rglob("*.json"))[0].read_bytes()))
def test_grids(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "x.json").write_bytes(damaged)
    try:
        fit = FitResult.load(tmp_path / "x.json")
    except ValueError:
        return
    assert "nan" not in fit.grid.describe()


@settings(FUZZ, max_examples=max(3, EXAMPLES // 10))
@given(st.integers(0, 400), st.binary(min_size=1, max_size=8))
def test_weights(tmp_path: Path, at: int, put: bytes) -> None:
    """The header of a weights file, which says what everything else is."""
    whole = SHIPPED["demo"].read_bytes()
    (tmp_path / "w.safetensors").write_bytes(whole[:at] + put + whole[at + len(put) :])
    try:
        model = load_weights(tmp_path / "w.safetensors")
    except InputError:
        return
    assert all(bool(value.isfinite().all()) for value in model.network.state_dict().values())


def test_the_files_are_sound(tmp_path: Path) -> None:
    """What is damaged above can be read."""
    (tmp_path / "x.sdf").write_bytes(SDF)
    (tmp_path / "x.mol2").write_bytes(MOL2)
    assert len(_ligands(tmp_path / "x.sdf")) == 1
    assert len(_ligands(tmp_path / "x.mol2")) == 6
    if not sorted(GRID.rglob("*.json")):
        pytest.fail("there is no grid to damage")
