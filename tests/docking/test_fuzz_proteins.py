"""Protein files with random damage: read as what is in them, or refused in one line.

LD3_FUZZ_EXAMPLES says how many files of each kind are tried.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import gemmi
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domains.docking.structures.complexes import read
from domains.docking.structures.protein import Protein
from domains.docking.structures.protein_files import read_protein
from domains.errors import InputError

EXAMPLES = int(os.environ.get("LD3_FUZZ_EXAMPLES", "40"))
FUZZ = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)

SOURCE = read()[0][0].protein.path.read_text().splitlines()
_SLICE = [line for line in SOURCE if line.startswith(("ATOM", "HETATM"))][150:330]
PDB = [line for line in _SLICE if line[21:27] not in (_SLICE[0][21:27], _SLICE[-1][21:27])]
"""About twenty whole residues."""


def _mmcif() -> list[str]:
    structure = gemmi.read_pdb_string("\n".join(PDB))
    structure.setup_entities()
    structure.assign_label_seq_id()
    return str(structure.make_mmcif_document().as_string()).splitlines()


CIF = _mmcif()
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)


def attempt(text: str, name: str) -> Protein | None:
    """The protein, or None if it is refused as it should be: in one line, with the file's name and a remedy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text(text)
        return outcome(path)


def outcome(path: Path) -> Protein | None:
    refusal = None
    try:
        found = read_protein(path)
    except InputError as error:
        refusal = error
    if refusal is not None:
        assert str(refusal).startswith(str(path)) and "\n" not in str(refusal) and refusal.problem.remedy
        return None
    check_sound(found)
    return found


def check_sound(found: Protein) -> None:
    """What every protein has that is not refused."""
    atoms, count = len(found.positions), len(found.residue_ids)
    assert np.isfinite(found.positions).all()
    assert len(found.pdb_lines) == atoms
    assert sorted(set(found.residue_index.tolist())) == list(range(count))
    for i in np.flatnonzero(found.is_amino_acid):
        own = found.positions[found.residue_index == i]
        steps = np.linalg.norm(own[:, None] - own[None], axis=-1) + 99 * np.eye(len(own))
        assert len(own) == 1 or steps.min(1).max() < 5.0
    places = [place for place, is_own in zip(found.residue_ids, found.is_amino_acid, strict=True) if is_own]
    assert len(set(places)) == len(places)


@FUZZ
@given(st.integers(0, len(PDB) - 1), st.integers(0, 79), TEXT, st.sampled_from(["replace", "insert", "delete"]))
def test_a_damaged_line(row: int, column: int, text: str, way: str) -> None:
    line = PDB[row]
    end = column + (len(text) if way != "insert" else 0)
    damaged = line[:column] + ("" if way == "delete" else text) + line[end:]
    found = attempt("\n".join([*PDB[:row], damaged, *PDB[row + 1 :], "END", ""]), "p.pdb")
    if found is None or not damaged.startswith(("ATOM  ", "HETATM")):
        return
    # Every coordinate that was read is in the file, in the columns of the format.
    written = {tuple(np.float32(float(x[i : i + 8])) for i in (30, 38, 46)) for x in (*PDB, damaged) if _has_xyz(x)}
    assert {tuple(xyz) for xyz in found.positions} <= written


def _has_xyz(line: str) -> bool:
    try:
        return [float(line[i : i + 8]) for i in (30, 38, 46)] != []
    except ValueError:
        return False


@FUZZ
@given(st.integers(0, len(PDB) - 1), st.integers(0, 2), st.floats(-999, 999))
def test_a_coordinate_that_is_another(row: int, axis: int, value: float) -> None:
    """An atom far from its residue is refused; a near one cannot be told from a strained structure."""
    start = 30 + 8 * axis
    line = f"{PDB[row][:start]}{value:8.3f}{PDB[row][start + 8 :]}"
    apart = abs(value - float(PDB[row][start : start + 8]))
    found = attempt("\n".join([*PDB[:row], line, *PDB[row + 1 :], ""]), "p.pdb")
    is_amino_acid = line.startswith("ATOM")
    if is_amino_acid and apart > 20.0:
        assert found is None


@FUZZ
@given(st.lists(st.sampled_from(PDB), max_size=60), st.sampled_from(["", "TER", "END", "MODEL        1", "ENDMDL"]))
def test_lines_in_any_order(lines: list[str], between: str) -> None:
    half = len(lines) // 2
    attempt("\n".join([*lines[:half], between, *lines[half:], ""]), "p.pdb")


@FUZZ
@given(st.integers(0, sum(map(len, PDB)) + len(PDB)))
def test_a_file_that_is_cut(length: int) -> None:
    text = "\n".join(PDB)[:length]
    found = attempt(text, "p.pdb")
    whole = [line for line in text.split("\n") if len(line) >= 78]
    if found is not None and text.rstrip():
        assert len(found.positions) + found.report.hydrogens + found.report.waters >= len(whole) - 1


@FUZZ
@given(st.integers(0, len(CIF) - 1), st.integers(0, 60), TEXT)
def test_a_damaged_line_of_mmcif(row: int, column: int, text: str) -> None:
    line = CIF[row]
    attempt("\n".join([*CIF[:row], line[:column] + text + line[column + len(text) :], *CIF[row + 1 :], ""]), "p.cif")


@FUZZ
@given(st.integers(0, len(CIF) - 1), st.integers(1, 40))
def test_lines_that_are_missing_in_mmcif(row: int, count: int) -> None:
    attempt("\n".join([*CIF[:row], *CIF[row + count :], ""]), "p.cif")


@FUZZ
@given(st.binary(max_size=300), st.sampled_from(["p.pdb", "p.cif", "p.pdb.gz", "p.pdbqt"]))
def test_any_bytes(data: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        outcome(path)
