"""Proteins and pockets from files written here line by line, so that every expected number can be counted by hand."""

from __future__ import annotations

import gzip
from pathlib import Path

import gemmi
import numpy as np
import pytest
from numpy.typing import NDArray
from rdkit import Chem

from domains.docking.structures.complexes import Complex
from domains.docking.structures.complexes import read as read_complexes
from domains.docking.structures.pocket import (
    EmptyPocketError,
    pocket_around_ligand,
    pocket_around_point,
    whole_protein,
)
from domains.docking.structures.protein import Protein
from domains.docking.structures.protein_files import read_protein
from domains.docking.structures.residues import (
    ATOM_NAME_VOCABULARY,
    ELEMENT_VOCABULARY,
    RESIDUE_VOCABULARY,
    SIDE_CHAINS,
    parent_residue,
)
from domains.docking.structures.small_molecules import ADDITIVES
from domains.errors import InputError

BACKBONE = ("N", "CA", "C", "O")


def _line(
    atom: str,
    residue: str,
    number: str,
    xyz: tuple[float, float, float],
    *,
    chain: str = "A",
    altloc: str = " ",
    occupancy: float = 1.0,
    element: str = "",
) -> str:
    """An atom line of a PDB file; ``number`` may carry an insertion code ("45B")."""
    record = "ATOM  " if residue in SIDE_CHAINS else "HETATM"
    digits, code = (number[:-1], number[-1]) if number[-1].isalpha() else (number, " ")
    x, y, z = xyz
    element = element or atom[0]
    name = f" {atom:<3}" if len(element) == 1 and len(atom) < 4 else f"{atom:<4}"
    return (
        f"{record}    1 {name}{altloc}{residue:>3} {chain}{digits:>4}{code}   "
        f"{x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}  0.00          {element:>2}\n"
    )


def _residue(name: str, number: str, x: float, atoms: tuple[str, ...] | None = None, chain: str = "A") -> str:
    """A residue whose atoms stand in a column at ``x``, 1.5 Å apart in z."""
    atoms = BACKBONE + SIDE_CHAINS[parent_residue(name) or name] if atoms is None else atoms
    return "".join(_line(atom, name, number, (x, 0.0, 1.5 * i), chain=chain) for i, atom in enumerate(atoms))


def _read(tmp_path: Path, text: str, name: str = "protein.pdb") -> Protein:
    (tmp_path / name).write_text(text)
    return read_protein(tmp_path / name)


def _words(codes: NDArray[np.int64], vocabulary: tuple[str, ...]) -> list[str]:
    return [vocabulary[i] for i in codes]


def test_vocabularies_hold_every_atom_of_the_twenty_residues() -> None:
    assert (len(ELEMENT_VOCABULARY), len(RESIDUE_VOCABULARY), len(ATOM_NAME_VOCABULARY)) == (8, 21, 38)
    assert set(RESIDUE_VOCABULARY) - {"other"} == set(SIDE_CHAINS)
    names = set(BACKBONE) | {"OXT"} | {atom for side in SIDE_CHAINS.values() for atom in side}
    assert names == set(ATOM_NAME_VOCABULARY) - {"other"}
    # Heavy atoms of the residue, from the formulas of the amino acids less water.
    heavy = {"GLY": 4, "ALA": 5, "SER": 6, "CYS": 6, "THR": 7, "VAL": 7, "PRO": 7, "ASP": 8, "ASN": 8, "ILE": 8}
    heavy |= {"LEU": 8, "MET": 8, "LYS": 9, "GLU": 9, "GLN": 9, "HIS": 10, "PHE": 11, "ARG": 11, "TYR": 12, "TRP": 14}
    assert {name: 4 + len(side) for name, side in SIDE_CHAINS.items()} == heavy


def test_atoms_get_their_words(tmp_path: Path) -> None:
    text = _residue("SER", "7", 0.0) + _line("ZN", "ZN", "301", (9.0, 0.0, 0.0), element="ZN")
    text += _line("BR1", "XYZ", "302", (5.0, 0.0, 0.0), element="BR") + _line("B1", "XYZ", "302", (5.0, 2.0, 0.0))
    text += _line("CA", "XYZ", "302", (5.0, 4.0, 0.0))
    protein = _read(tmp_path, text)
    elements = ["N", "C", "C", "O", "C", "O", "metal", "halogen", "other", "C"]
    assert _words(protein.element, ELEMENT_VOCABULARY) == elements
    assert _words(protein.residue, RESIDUE_VOCABULARY) == ["SER"] * 6 + ["other"] * 4
    assert _words(protein.atom_name, ATOM_NAME_VOCABULARY) == [*BACKBONE, "CB", "OG"] + ["other"] * 4
    np.testing.assert_array_equal(protein.residue_index, [0] * 6 + [1] + [2] * 3)
    np.testing.assert_array_equal(np.flatnonzero(protein.is_ca), [1])
    assert protein.residue_ids == ("A:7", "A:301", "A:302")
    np.testing.assert_allclose(protein.positions[5], [0.0, 0.0, 7.5])


def test_what_is_dropped_is_reported(tmp_path: Path) -> None:
    text = _residue("LYS", "1", 0.0, (*BACKBONE, "CB")) + _residue("GLY", "2", 3.0)
    text += _line("H", "GLY", "2", (3.0, 1.0, 0.0)) + _line("D", "GLY", "2", (3.0, 1.0, 1.0))
    text += _line("O", "HOH", "401", (6.0, 0.0, 0.0)) + _line("O", "SPC", "402", (9.0, 0.0, 0.0))
    text += _line("O1", "GOL", "403", (12.0, 0.0, 0.0)) + _line("C1", "GOL", "403", (12.0, 1.4, 0.0))
    text += _line("S", "SO4", "404", (15.0, 0.0, 0.0)) + _line("CL", "CL", "405", (18.0, 0.0, 0.0), element="CL")
    text += _line("FE", "HEM", "406", (21.0, 0.0, 0.0), element="FE") + _line("NA", "HEM", "406", (23.0, 0.0, 0.0))
    protein = _read(tmp_path, text)
    assert len(protein.positions) == 5 + 4 + 1 + 2
    report = protein.report
    assert (report.amino_acids, report.waters, report.hydrogens) == (2, 2, 2)
    assert report.additives == ("A:403 GOL", "A:404 SO4")
    assert report.hetero == ("A:405 CL", "A:406 HEM")
    assert (report.incomplete, report.missing_atoms) == (1, 4)
    assert str(report) == (
        "2 amino acids; kept CL, HEM; dropped 2 waters; dropped additives GOL, SO4; dropped 2 hydrogens; "
        "4 side-chain atoms missing in 1 of 2 residues"
    )


def test_a_trace_without_side_chains_is_warned_of(tmp_path: Path) -> None:
    """One residue of two is not most of them."""
    half = _read(tmp_path, _residue("LYS", "1", 0.0, BACKBONE) + _residue("GLY", "2", 3.0))
    assert half.report.remarks == ("5 side-chain atoms missing in 1 of 2 residues",)
    trace = _read(tmp_path, _residue("LYS", "1", 0.0, BACKBONE) + _residue("SER", "2", 3.0, BACKBONE))
    (remark,) = trace.report.remarks
    assert remark.startswith("WARNING: 7 side-chain atoms missing in 2 of 2 residues: poses in it mean little")


def test_additives_are_no_amino_acids_ions_or_cofactors() -> None:
    kept = ("ZN", "MG", "CL", "PO4", "HEM", "NAD", "ATP", "FAD", "SAH", "NAG", "GLC", "PLP", "MSE", "ACE", "UNK")
    assert not ADDITIVES.keys() & {*SIDE_CHAINS, *kept}


@pytest.mark.parametrize(
    ("name", "parent"),
    [
        *(("MSE", "MET"), ("SEP", "SER"), ("TPO", "THR"), ("PTR", "TYR"), ("CSO", "CYS"), ("TYS", "TYR")),
        *(("HIE", "HIS"), ("HSD", "HIS"), ("CYX", "CYS"), ("ASH", "ASP"), ("LYN", "LYS"), ("KCX", "LYS")),
        *(("UNK", "other"), ("ZN", None), ("HEM", None), ("GOL", None), ("DA", None), ("NAG", None), ("ACE", None)),
    ],
)
def test_parents(name: str, parent: str | None) -> None:
    assert parent_residue(name) == parent


def test_modified_residues(tmp_path: Path) -> None:
    text = _residue("SEP", "5", 0.0, (*BACKBONE, "CB", "OG", "P")) + _residue("HIE", "6", 4.0)
    text += _residue("MSE", "7", 8.0, BACKBONE) + _line("SE", "MSE", "7", (8.0, 5.0, 0.0), element="SE")
    protein = _read(tmp_path, text)
    assert _words(protein.residue, RESIDUE_VOCABULARY) == ["SER"] * 7 + ["HIS"] * 10 + ["MET"] * 5
    assert ATOM_NAME_VOCABULARY[protein.atom_name[6]] == "other"
    assert ELEMENT_VOCABULARY[protein.element[-1]] == "S"
    assert protein.report.modified == ("A:5 SEP", "A:7 MSE")
    assert "2 modified (SEP, MSE)" in str(protein.report)
    assert protein.report.missing_atoms == 0


def test_unknown_molecule_called_unk_is_no_residue(tmp_path: Path) -> None:
    text = _residue("GLY", "1", 0.0) + _residue("UNK", "2", 4.0, (*BACKBONE, "CB"))
    text += _line("C1", "UNK", "3", (8.0, 0.0, 0.0)) + _line("O1", "UNK", "3", (8.0, 1.4, 0.0))
    protein = _read(tmp_path, text)
    assert protein.report.amino_acids == 2
    assert protein.report.hetero == ("A:3 UNK",)
    assert int(protein.is_ca.sum()) == 2


def test_alternative_with_the_highest_occupancy_is_kept(tmp_path: Path) -> None:
    text = _residue("SER", "1", 0.0, BACKBONE)
    for altloc, occupancy, y in (("A", 0.3, 1.0), ("B", 0.5, 2.0), ("C", 0.2, 3.0)):
        text += _line("CB", "SER", "1", (0.0, y, 0.0), altloc=altloc, occupancy=occupancy)
        text += _line("OG", "SER", "1", (0.0, y, 1.0), altloc=altloc, occupancy=occupancy)
    protein = _read(tmp_path, text)
    np.testing.assert_allclose(protein.positions[4:], [[0, 2, 0], [0, 2, 1]])
    assert protein.report.alternatives == 4
    assert protein.report.missing_atoms == 0


def test_alternatives_do_not_mix_and_ties_take_the_first(tmp_path: Path) -> None:
    # By itself the oxygen of B is fuller, but conformation A as a whole is.
    text = _residue("SER", "1", 0.0, BACKBONE)
    for altloc, carbon, oxygen, y in (("A", 0.9, 0.4, 1.0), ("B", 0.1, 0.6, 2.0)):
        text += _line("CB", "SER", "1", (0.0, y, 0.0), altloc=altloc, occupancy=carbon)
        text += _line("OG", "SER", "1", (0.0, y, 1.0), altloc=altloc, occupancy=oxygen)
    np.testing.assert_allclose(_read(tmp_path, text).positions[4:, 1], [1, 1])
    tie = _residue("GLY", "1", 0.0, ("N", "CA", "C"))
    tie += _line("O", "GLY", "1", (0.0, 1.0, 0.0), altloc="A", occupancy=0.5)
    tie += _line("O", "GLY", "1", (0.0, 2.0, 0.0), altloc="B", occupancy=0.5)
    np.testing.assert_allclose(_read(tmp_path, tie).positions[3], [0, 1, 0])


def test_an_atom_that_the_kept_alternative_lacks_is_not_lost(tmp_path: Path) -> None:
    text = _residue("SER", "1", 0.0, BACKBONE)
    text += _line("CB", "SER", "1", (0.0, 1.0, 0.0), altloc="A", occupancy=0.7)
    text += _line("OG", "SER", "1", (0.0, 1.0, 1.0), altloc="B", occupancy=0.3)
    assert len(_read(tmp_path, text).positions) == 6


def test_two_residues_in_one_place(tmp_path: Path) -> None:
    text = ""
    for name, altloc, occupancy in (("SER", "A", 0.4), ("THR", "B", 0.6)):
        for i, atom in enumerate(BACKBONE):
            text += _line(atom, name, "1", (0.0, 0.0, 1.5 * i), altloc=altloc, occupancy=occupancy)
    protein = _read(tmp_path, text + _residue("GLY", "2", 4.0))
    assert protein.residue_names == ("THR", "GLY")
    assert protein.report.alternatives == 4
    two_molecules = _residue("GLY", "1", 0.0) + _line("ZN", "ZN", "1", (9.0, 0.0, 0.0), element="ZN")
    assert _read(tmp_path, two_molecules).residue_names == ("GLY", "ZN")


def test_insertion_codes_and_chains_name_residues(tmp_path: Path) -> None:
    text = _residue("GLY", "60", 0.0) + _residue("GLY", "60A", 4.0) + _residue("GLY", "60B", 8.0)
    text += _residue("GLY", "60", 12.0, chain="B")
    protein = _read(tmp_path, text)
    assert protein.residue_ids == ("A:60", "A:60A", "A:60B", "B:60")
    np.testing.assert_array_equal(protein.residue_index, np.repeat(np.arange(4), 4))


def test_first_model_only(tmp_path: Path) -> None:
    models = [f"MODEL     {n:4d}\n{_residue('GLY', '1', 10.0 * n)}ENDMDL\n" for n in (1, 2, 3)]
    protein = _read(tmp_path, "".join(models))
    np.testing.assert_allclose(protein.positions[:, 0], 10.0)
    assert str(protein.report) == "1 amino acids; read the first of 3 models"


def test_mmcif_and_gzip_say_the_same(tmp_path: Path) -> None:
    text = _residue("SER", "60A", 0.0) + _residue("MSE", "61", 4.0, BACKBONE)
    text += _line("ZN", "ZN", "301", (9.0, 0.0, 0.0), element="ZN") + _line("O", "HOH", "401", (6.0, 6.0, 0.0))
    pdb = _read(tmp_path, text)
    cif = gemmi.read_pdb_string(text)
    cif.setup_entities()
    cif.assign_label_seq_id()
    document = cif.make_mmcif_document().as_string()
    others = [_read(tmp_path, document, "protein.cif")]
    for name, content in (("protein.pdb.gz", text), ("protein.cif.gz", document)):
        (tmp_path / name).write_bytes(gzip.compress(content.encode()))
        others.append(read_protein(tmp_path / name))
    for other in others:
        np.testing.assert_allclose(other.positions, pdb.positions)
        for field in ("element", "residue", "atom_name", "residue_index", "is_ca"):
            np.testing.assert_array_equal(getattr(other, field), getattr(pdb, field))
        assert other.residue_ids == pdb.residue_ids
        assert other.report == pdb.report


GOOD = _residue("SER", "1", 0.0) + _residue("GLY", "2", 4.0)
BAD_FILES = {
    "empty": ("a.pdb", b"", "the file is empty"),
    "blank": ("a.pdb", b" \n\n", "the file is empty"),
    "binary": ("a.pdb", bytes(range(256)) * 4, "the file is binary"),
    "prose": ("a.pdb", b"This is a letter.\n", "no atoms"),
    "prose cif": ("a.cif", b"This is a letter.\n", "malformed"),
    "cif in pdb clothes": ("a.cif", GOOD.encode(), "malformed"),
    "pdb cut in a number": ("a.pdb", GOOD.encode()[:-32], "cut off"),
    "pdb cut in the occupancy": ("a.pdb", GOOD.encode()[:-20], "cut off"),
    "cif cut in a row": ("a.cif", b"data_x\nloop_\n_atom_site.id\n_atom_site.type_symbol\n1 C\n2", "cut off"),
    "no number": ("a.pdb", GOOD.replace("   4.000", "   4.0x0", 1).encode(), "no number in columns 31-54"),
    "nan": ("a.pdb", GOOD.replace("   4.000", "     nan", 1).encode(), "not numbers"),
    "gzip cut off": ("a.pdb.gz", gzip.compress(GOOD.encode())[:-20], "cut off"),
    "no gzip": ("a.pdb.gz", GOOD.encode(), "damaged"),
    "water only": ("a.pdb", _line("O", "HOH", "1", (0.0, 0.0, 0.0)).encode(), "no amino acids"),
    "ligand only": ("a.pdb", _line("C1", "LIG", "1", (0.0, 0.0, 0.0)).encode(), "no amino acids"),
}


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files(name: str, content: bytes, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_protein(tmp_path / name)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / name}: ")
    assert "\n" not in line
    assert caught.value.problem.remedy
    assert capfd.readouterr() == ("", "")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_protein(tmp_path / "nothing.pdb")
    with pytest.raises(InputError, match="cannot be read"):
        read_protein(tmp_path)


def test_pocket_takes_whole_residues_within_the_radius(tmp_path: Path) -> None:
    protein = _read(tmp_path, "".join(_residue("GLY", str(i), 4.0 * i) for i in range(10)))
    ligand = np.array([[16.0, 5.0, 0.0], [17.0, 5.0, 0.0]], dtype=np.float32)
    for radius in (5.0, 5.2, 6.0, 9.0):
        distance = np.linalg.norm(protein.positions[:, None] - ligand[None], axis=-1).min(1)
        expected = sorted({int(i) for i in protein.residue_index[distance <= radius]})
        pocket = pocket_around_ligand(protein, ligand, radius)
        assert pocket.residue_ids == tuple(f"A:{i}" for i in expected)
        inside = np.isin(protein.residue_index, expected)
        np.testing.assert_array_equal(pocket.positions, protein.positions[inside])
        np.testing.assert_array_equal(pocket.atom_name, protein.atom_name[inside])
        np.testing.assert_array_equal(pocket.residue_index, np.repeat(np.arange(len(expected)), 4))
        np.testing.assert_allclose(pocket.origin, protein.positions[inside & protein.is_ca].mean(0), rtol=1e-6)
    assert pocket.spec == "ligand, 9 Å: 4 residues"


def test_pocket_around_a_point_and_whole(tmp_path: Path) -> None:
    protein = _read(tmp_path, "".join(_residue("GLY", str(i), 4.0 * i) for i in range(10)))
    point = pocket_around_point(protein, np.array([8.0, 0.0, 1.5], dtype=np.float32), 5.0)
    assert point.residue_ids == ("A:1", "A:2", "A:3")
    np.testing.assert_allclose(point.origin, [8.0, 0.0, 1.5])
    assert point.spec == "point 8, 0, 1.5, 5 Å: 3 residues"
    whole = whole_protein(protein)
    np.testing.assert_array_equal(whole.positions, protein.positions)
    assert whole.spec == "whole protein: 10 residues"
    with pytest.raises(EmptyPocketError, match=r"no residue in the pocket \(point 90, 0, 0, 5 Å\)"):
        pocket_around_point(protein, np.array([90.0, 0.0, 0.0], dtype=np.float32), 5.0)
    with pytest.raises(ValueError, match="radius is -1"):
        pocket_around_ligand(protein, protein.positions[:2] + 3, -1.0)


def test_origin_without_alpha_carbons_is_the_mean_atom(tmp_path: Path) -> None:
    metals = "".join(_line("ZN", "ZN", str(300 + i), (50.0 + 3 * i, 0.0, 0.0), element="ZN") for i in range(3))
    protein = _read(tmp_path, GOOD + metals)
    pocket = pocket_around_point(protein, np.array([53.0, 0.0, 0.0], dtype=np.float32), 4.0)
    np.testing.assert_allclose(pocket.origin, [53.0, 0.0, 0.0])


@pytest.fixture(scope="module")
def complex_() -> Complex:
    return next(complex_ for complex_ in read_complexes()[0] if complex_.name == "1ia1")


def described(mol: Chem.Mol, keep: np.ndarray | None = None) -> list[tuple[object, ...]]:
    """Element, name, residue, kind of record and position of atoms."""
    rows = []
    for atom, position in zip(mol.GetAtoms(), mol.GetConformer().GetPositions().round(3).tolist(), strict=True):
        info = atom.GetPDBResidueInfo()
        residue = (info.GetChainId(), info.GetResidueNumber(), info.GetResidueName(), info.GetIsHeteroAtom())
        if keep is None or keep[atom.GetIdx()]:
            rows.append((atom.GetSymbol(), info.GetName(), *residue, *position))
    return rows


def molecule(block: str) -> Chem.Mol:
    return Chem.MolFromPDBBlock(block, sanitize=False, removeHs=False, proximityBonding=False)


@pytest.mark.parametrize("reach", [4.0, 8.0])
def test_atoms_within_reach(complex_: Complex, reach: float) -> None:
    assert complex_.reference is not None
    block = complex_.protein.pdb_block(complex_.reference, reach)
    whole = molecule(complex_.protein.path.read_text())
    distance = np.linalg.norm(whole.GetConformer().GetPositions()[:, None] - complex_.reference, axis=-1).min(1)
    near = described(molecule(block))
    assert near == described(whole, distance <= reach)
    assert any(row[5] for row in near) and not all(row[5] for row in near)  # residues, and the cofactor NDP


def test_nearest_atom_of_a_pose_far_away(complex_: Complex) -> None:
    assert complex_.reference is not None
    far = complex_.reference + 500.0
    whole = molecule(complex_.protein.path.read_text())
    distance = np.linalg.norm(whole.GetConformer().GetPositions()[:, None] - far, axis=-1).min(1)
    block = complex_.protein.pdb_block(far, 8.0)
    assert described(molecule(block)) == described(whole, distance == distance.min())


def test_serial_numbers_beyond_the_format(complex_: Complex, tmp_path: Path) -> None:
    """Past 99 999 atoms PDB files count in hybrid-36, which RDKit refuses."""
    structure = gemmi.read_structure(str(complex_.protein.path))
    for copy in range(80):
        chain = structure[0][0].clone()
        chain.name = f"copy{copy}"
        for residue in chain:
            for atom in residue:
                atom.pos += gemmi.Position(100.0 * (copy + 1), 0.0, 0.0)
        structure[0].add_chain(chain)
    structure.setup_entities()
    path = tmp_path / "crowd.cif"
    structure.make_mmcif_document().write_file(str(path))
    protein = read_protein(path)
    assert len(protein.pdb_lines) > 100_000 and not protein.pdb_lines[-1][6:11].strip().isdigit()
    last = protein.positions[-1:]
    neighbours = molecule(protein.pdb_block(last, 3.0))
    assert neighbours.GetNumAtoms() == len(protein.tree.query_ball_point(last[0], 3.0)) > 1
