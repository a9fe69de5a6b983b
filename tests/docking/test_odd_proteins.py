"""Protein files as programs and people write them: read as what they are, or refused with the line, and never merged,
mistaken or cut short without a word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import gemmi
import numpy as np
import pytest
from conftest import shared

from domains.docking.structures.complexes import read
from domains.docking.structures.protein import Protein
from domains.docking.structures.protein_files import read_protein
from domains.docking.structures.records import POSEBUSTERS_NAMES
from domains.docking.structures.residues import ELEMENT_VOCABULARY, parent_residue, standard_name
from domains.docking.structures.small_molecules import ADDITIVES, formula, is_additive, is_cofactor
from domains.errors import InputError

SOURCE = next(c for c in read()[0] if c.name == POSEBUSTERS_NAMES[0]).protein
LINES = [line for line in SOURCE.path.read_text().splitlines() if line.startswith("ATOM") and int(line[22:26]) <= 60]
CHAIN = [line for line in LINES if line[21] == LINES[0][21]]
"""Sixty residues of a crystal structure."""


def protein(tmp_path: Path, lines: Sequence[str], name: str = "p.pdb") -> Protein:
    (tmp_path / name).write_text("\n".join([*lines, "END", ""]))
    return read_protein(tmp_path / name)


def refusal(tmp_path: Path, lines: Sequence[str], name: str = "p.pdb") -> str:
    with pytest.raises(InputError) as caught:
        protein(tmp_path, lines, name)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / name}: ") and "\n" not in line
    return line


def moved(lines: Sequence[str], shift: float) -> list[str]:
    return [f"{line[:30]}{float(line[30:38]) + shift:8.3f}{line[38:]}" for line in lines]


def put(line: str, column: int, text: str) -> str:
    """With text from a column on, counted from 1 as the format's description does."""
    return line[: column - 1] + text + line[column - 1 + len(text) :]


@pytest.fixture
def plain(tmp_path: Path) -> Protein:
    found = protein(tmp_path, CHAIN)
    assert found.report.amino_acids == len(set(found.residue_ids)) == 60 - int(CHAIN[0][22:26]) + 1
    assert str(found.report) == f"{found.report.amino_acids} amino acids"
    return found


def same_atoms(found: Protein, plain: Protein, count: int | None = None) -> None:
    """All that the network sees, of the first `count` atoms."""
    for field in ("positions", "element", "residue", "atom_name", "is_ca", "atomic_number"):
        np.testing.assert_array_equal(getattr(found, field)[:count], getattr(plain, field))


def blank_chain(lines: Sequence[str]) -> list[str]:
    return [put(line, 22, " ") for line in lines]


COPIES: dict[str, Callable[[], list[str]]] = {
    "no chain ids, TER": lambda: [*blank_chain(CHAIN), "TER", *blank_chain(moved(CHAIN, 60.0)), "TER"],
    "no chain ids, no TER": lambda: [*blank_chain(CHAIN), *blank_chain(moved(CHAIN, 60.0))],
    "one chain id, no TER": lambda: [*CHAIN, *moved(CHAIN, 60.0)],
    "one chain id, END": lambda: [*CHAIN, "END", *moved(CHAIN, 60.0)],
    "one chain id, TER and END": lambda: [*CHAIN, "TER", "END", *moved(CHAIN, 60.0)],
    "the second begins earlier": lambda: [*CHAIN, *moved(put_number(CHAIN[:20], -3), 75.0), *moved(CHAIN, 60.0)],
    "segment ids": lambda: [put(line, 73, "PROA") for line in CHAIN] + [put(x, 73, "PROB") for x in moved(CHAIN, 60.0)],
}


def put_number(lines: Sequence[str], number: int) -> list[str]:
    """The first residue alone, with another number."""
    return [put(line, 23, f"{number:4d}") for line in lines if line[22:27] == lines[0][22:27]]


@pytest.mark.parametrize("kind", COPIES)
def test_copies_that_share_numbers_are_chains_of_their_own(tmp_path: Path, plain: Protein, kind: str) -> None:
    found = protein(tmp_path, COPIES[kind]())
    same_atoms(found, plain, len(plain.positions))
    extra = kind == "the second begins earlier"
    assert found.report.amino_acids == 2 * plain.report.amino_acids + extra
    assert len(set(found.residue_ids)) == found.report.amino_acids
    for i in range(len(found.residue_ids)):
        assert np.ptp(found.positions[found.residue_index == i], axis=0).max() < 15.0
    assert "come again" in str(found.report)
    assert len(set(found.chain_index.tolist())) == 2


def test_a_copy_of_one_residue_right_behind_it(tmp_path: Path) -> None:
    first = [line for line in CHAIN if line[22:26] == CHAIN[0][22:26]]
    found = protein(tmp_path, [*first, *moved(first, 30.0)])
    assert found.report.amino_acids == 2
    assert found.residue_ids[0] != found.residue_ids[1]


def test_numbers_that_fall_back_without_meeting_are_one_chain(tmp_path: Path, plain: Protein) -> None:
    """A fusion protein: 1001-1060 between two stretches; and stretches that end in TER, as Amber writes gaps."""
    fusion = [put(line, 23, f"{int(line[22:26]) + 1000:4d}") for line in moved(CHAIN, 70.0)]
    half = len(CHAIN) // 2
    while CHAIN[half][22:26] == CHAIN[half - 1][22:26]:
        half += 1
    found = protein(tmp_path, [*CHAIN[:half], *fusion, *CHAIN[half:]])
    assert {place.split(":")[0] for place in found.residue_ids} == {CHAIN[0][21]}
    assert str(found.report) == f"{2 * plain.report.amino_acids} amino acids"
    assert set(found.chain_index.tolist()) == {1}
    same_atoms(protein(tmp_path, [*CHAIN[:half], "TER", *CHAIN[half:], "TER"]), plain)


def test_descending_insertion_codes_are_one_chain(tmp_path: Path) -> None:
    """Thrombin's light chain begins with 1H, 1G, ..., 1A, 1."""
    residues = sorted({line[22:27] for line in CHAIN})[:4]
    codes = dict(zip(residues, ("   1C", "   1B", "   1A", "   1 "), strict=True))
    found = protein(tmp_path, [put(line, 23, codes[line[22:27]]) for line in CHAIN if line[22:27] in codes])
    assert [place.split(":")[1] for place in found.residue_ids] == ["1C", "1B", "1A", "1"]
    assert len(set(found.chain_index.tolist())) == 1


def test_the_rest_of_a_residue_may_come_later(tmp_path: Path, plain: Protein) -> None:
    """Side chains, alternatives and hydrogens at the end of a file."""
    backbone = [line for line in CHAIN if line[12:16].strip() in ("N", "CA", "C", "O")]
    rest = [line for line in CHAIN if line not in backbone]
    hydrogens = [put(put(line, 13, " H  "), 77, " H") for line in backbone if line[12:16] == " N  "]
    found = protein(tmp_path, [*backbone, *rest, *hydrogens])
    assert len(found.residue_ids) == len(plain.residue_ids)
    assert found.report.missing_atoms == 0
    assert sorted(map(tuple, found.positions.tolist())) == sorted(map(tuple, plain.positions.tolist()))


@pytest.mark.parametrize("shift", [0.0, 0.3])
@pytest.mark.parametrize("all_of_it", [False, True])
def test_atoms_that_are_there_twice(tmp_path: Path, shift: float, all_of_it: bool) -> None:
    again = CHAIN if all_of_it else CHAIN[4:5]
    line = refusal(tmp_path, [*CHAIN, *moved(again, shift)])
    first = 1 if all_of_it else 5
    assert f"is there twice, in lines {first} and {len(CHAIN) + 1}; correct or remove the line" in line
    doubled = [line for line in CHAIN for _ in range(2)]
    assert "is there twice, in lines 1 and 2" in refusal(tmp_path, doubled)


@pytest.mark.parametrize("text", ["****", "271a", "1.5 ", "A00 "])
def test_numbers_of_residues_that_are_none(tmp_path: Path, text: str) -> None:
    line = refusal(tmp_path, [*CHAIN[:7], put(CHAIN[7], 23, text), *CHAIN[8:]])
    assert f"line 8 has '{text}' for the number of its residue" in line


def test_waters_need_no_number(tmp_path: Path, plain: Protein) -> None:
    water = f"{put(put(CHAIN[0], 1, 'HETATM'), 13, ' O   HOH ')[:22]}****{CHAIN[0][26:76]} O"
    found = protein(tmp_path, [*CHAIN, "TER", water, *moved([water], 9.0)])
    same_atoms(found, plain)


def test_hybrid_36_and_five_digits(tmp_path: Path) -> None:
    first = [line for line in CHAIN if line[22:26] == CHAIN[0][22:26]]
    lines = [put(line, 23, "A00B") for line in first] + [put(x, 23, "12345") for x in moved(first, 30.0)]
    assert [place.split(":")[1] for place in protein(tmp_path, lines).residue_ids] == ["10011", "12345"]


@pytest.mark.parametrize("between", ["END", "ENDMDL", "TER\nEND"])
def test_what_follows_an_end_is_read(tmp_path: Path, plain: Protein, between: str) -> None:
    half = len(CHAIN) // 2
    found = protein(tmp_path, [*CHAIN[:half], between, *CHAIN[half:]])
    same_atoms(found, plain)
    assert f"read on after END, where {len(CHAIN) - half} more atom lines are" in found.report.remarks


def test_frames_between_ends_are_models(tmp_path: Path, plain: Protein) -> None:
    found = protein(tmp_path, [*CHAIN, "END", *moved(CHAIN, 0.8), "END", *moved(CHAIN, -0.5)])
    same_atoms(found, plain)
    assert "read the first of 3 models" in str(found.report)


def left_aligned(line: str) -> str:
    return put(line, 13, f"{line[12:16].strip():<4}")[:66]


def upper_element(line: str) -> str:
    """What a program makes of a name in the first column: CA is calcium, CD cadmium, and CB nothing."""
    name = line[12:16].strip()
    symbol = next((s for s in (name[:2], name[:1]) if gemmi.Element(s).atomic_number), "X")
    return put(f"{left_aligned(line):<80}", 77, f"{symbol:>2}")


def pdbqt(line: str) -> str:
    kind = {"O": "OA", "S": "SA"}.get(line[77], line[77])
    kind = "A" if line[12:16].strip() in ("CG", "CD1", "CE1", "CZ") and line[17:20] in ("PHE", "TYR") else kind
    return f"{line[:66]}    {0.1:6.3f} {kind:<2}"


WRITERS: dict[str, Callable[[str], str]] = {
    "left aligned, no element": left_aligned,
    "left aligned, wrong element": upper_element,
    "no element": lambda line: line[:66],
    "unknown element": lambda line: put(line, 77, " X"),
    "line numbers in the element's columns": lambda line: put(f"{line[:72]:<80}", 73, "1ABC  17"),
    "pdbqt": pdbqt,
    "short": lambda line: line[:54],
    "two letters of chain": lambda line: put(line, 21, "AB"),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_elements_of_amino_acids_come_from_their_names(tmp_path: Path, plain: Protein, kind: str) -> None:
    found = protein(tmp_path, list(map(WRITERS[kind], CHAIN)), "p.pdbqt" if kind == "pdbqt" else "p.pdb")
    same_atoms(found, plain)
    assert ("from their names" in str(found.report)) == (kind == "left aligned, wrong element")


def hetero(name: str, residue: str, element: str, *, number: int = 301, x: float = 90.0, y: float = 0.0) -> str:
    """A line; the name is placed as it is written."""
    start = f"HETATM    1 {name:<4} {residue:>3} A{number:4d}    "
    return f"{start}{x:8.3f}{y:8.3f}{0:8.3f}  1.00  0.00          {element:>2}"


@pytest.mark.parametrize(
    ("name", "residue", "element", "expected"),
    [
        *((" C1 ", "LIG", "", "C"), ("C1  ", "LIG", "", "C"), ("CL1 ", "LIG", "", "Cl"), (" CA ", "LIG", "", "C")),
        *(("CA  ", "CA", "", "Ca"), (" CA ", " CA", "", "Ca"), ("CAL ", "CAL", "", "Ca"), ("ZN  ", "ZN", "", "Zn")),
        *(("FE  ", "HEM", "", "Fe"), ("CA  ", "LIG", "CA", "Ca"), (" CA ", "LIG", "C", "C"), ("O5' ", "LIG", "", "O")),
        *(("SOD ", "SOD", "", "Na"), ("NA+ ", "NA+", "", "Na"), ("CLA ", "CLA", "", "Cl"), ("MG  ", "MG", "", "Mg")),
    ],
)
def test_elements_elsewhere(tmp_path: Path, name: str, residue: str, element: str, expected: str) -> None:
    found = protein(tmp_path, [*CHAIN, hetero(name, residue, element)])
    assert gemmi.Element(int(found.atomic_number[-1])).name == expected


@pytest.mark.parametrize(
    ("name", "residue", "element"),
    [("CA  ", "LIG", ""), ("NA  ", "HEM", ""), ("CB  ", "LIG", ""), (" C1 ", "LIG", "Q"), (" C1 ", "LIG", "A")],
)
def test_elements_that_are_missing_or_impossible(tmp_path: Path, name: str, residue: str, element: str) -> None:
    line = refusal(tmp_path, [*CHAIN, hetero(name, residue, element)])
    assert f"line {len(CHAIN) + 1}: atom {name.strip()} of {residue} A:301 has " in line


def test_a_metal_with_a_carbon_at_the_length_of_a_bond_is_none(tmp_path: Path) -> None:
    lines = [*CHAIN, hetero("CA  ", "LIG", "CA"), hetero(" C1 ", "LIG", "C", x=91.5)]
    assert f"line {len(CHAIN) + 1}: atom CA of A:301 LIG is Ca" in refusal(tmp_path, lines)


def test_anisou_records_of_atoms_that_are_gone(tmp_path: Path, plain: Protein) -> None:
    anisou = [put(line, 1, "ANISOU")[:28] + "   2406   1892   1614    198    519   -328" for line in moved(CHAIN, 9.0)]
    same_atoms(protein(tmp_path, [*anisou[:5], *CHAIN, *anisou[5:]]), plain)


def test_models_that_are_not_read_are_named_where_the_ligand_is_far(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    ligand = next(c for c in read()[0] if c.name == "1ia1")
    whole = [line for line in SOURCE.path.read_text().splitlines() if line.startswith(("ATOM", "HETATM"))]
    text = ["MODEL        1", *moved(whole, 90.0), "ENDMDL", "MODEL        2", *whole, "ENDMDL"]
    protein(tmp_path / "s", text, "protein.pdb")
    sdf = ligand.protein.path.with_name("1ia1_ligand.sdf")
    (tmp_path / "s" / "ligands.sdf").write_text(sdf.read_text())
    found, (problem,) = read(tmp_path)
    assert found == []
    assert "away from protein.pdb, of whose 2 models only the first is read; it is at model 2; give" in str(problem)
    (kept,), _ = read(tmp_path, pocket="protein")
    assert any("read the first of 2 models" in remark for remark in kept.remarks)


def test_two_structures_on_top_of_each_other(tmp_path: Path) -> None:
    """Superposed, with chain ids of their own."""
    other = [put(line, 22, "Z") for line in moved(CHAIN, 0.4)]
    line = refusal(tmp_path, [*CHAIN, *other])
    assert f"are in one place, and {len({x[22:27] for x in CHAIN})} such pairs in all" in line


def test_names_of_terminal_and_protonated_residues(tmp_path: Path, plain: Protein) -> None:
    numbers = sorted({int(line[22:26]) for line in CHAIN})
    lines = []
    for line in CHAIN:
        letter = {numbers[0]: "N", numbers[-1]: "C"}.get(int(line[22:26]))
        lines.append(put(line, 18, f"{letter}{line[17:20]} ") if letter else put(line, 22, " "))
    found = protein(tmp_path, lines)
    same_atoms(found, plain)
    assert found.report.hetero == found.report.modified == ()
    assert f"read N{CHAIN[0][17:20]} as {CHAIN[0][17:20]}" in str(found.report)
    assert f" {CHAIN[0][17:20]} " in found.pdb_lines[0]


@pytest.mark.parametrize(
    ("name", "parent"),
    [
        *(("NSER", "SER"), ("CVAL", "VAL"), ("NHIE", "HIS"), ("CHIP", "HIS"), ("CCYX", "CYS"), ("NLYN", "LYS")),
        *(("HID", "HIS"), ("ASH", "ASP"), ("GLH", "GLU"), ("LYN", "LYS"), ("HISE", "HIS"), ("LYSH", "LYS")),
        *(("NSE", None), ("NAG", None), ("CHOL", None), ("NLIG", None)),
    ],
)
def test_parents_of_force_field_names(name: str, parent: str | None) -> None:
    assert parent_residue(name) == parent
    assert parent is None or standard_name(name) == parent


def test_a_residue_in_two_places_is_refused(tmp_path: Path) -> None:
    line = refusal(tmp_path, [*CHAIN[:6], *moved(CHAIN[6:7], 40.0), *CHAIN[7:]])
    assert "line 7: atom" in line and "Å away from the rest of it" in line


def test_a_molecule_in_two_places_is_two(tmp_path: Path) -> None:
    """Both called LIG 301, with atoms of the same names; or of other names, farther apart than a molecule is."""
    for names in (("C1", "O1", "C1", "O1"), ("C1", "O1", "C2", "O2")):
        places = ((90.0, 0.0), (91.4, 0.0), (90.0, 40.0), (91.4, 40.0))
        lines = [hetero(f" {name} ", "LIG", name[0], x=x, y=y) for name, (x, y) in zip(names, places, strict=True)]
        found = protein(tmp_path, [*CHAIN, *lines])
        assert found.residue_names[-2:] == ("LIG", "LIG")
        assert found.residue_ids[-1] != found.residue_ids[-2]


def test_a_molecule_may_be_long_and_have_no_names(tmp_path: Path) -> None:
    """Programs call every carbon C, and a lipid is more than 15 Å long."""
    lines = [hetero(" C  ", "LIP", "C", x=90.0 + 1.3 * i) for i in range(20)]
    found = protein(tmp_path, [*CHAIN, *lines])
    assert found.residue_names[-1] == "LIP"
    assert (found.residue_index == found.residue_index[-1]).sum() == 20
    assert "there twice" in refusal(tmp_path, [*CHAIN, *lines, lines[0]])


def mmcif(lines: Sequence[str], tmp_path: Path, **replaced: str) -> Protein:
    """Through a file with one atom_site loop; some columns with one value in every row."""
    columns: tuple[str, ...] = (
        "group_PDB",
        "id",
        "type_symbol",
        "label_atom_id",
        "label_alt_id",
        "label_comp_id",
        "label_asym_id",
    )
    columns = (*columns, "auth_seq_id", "pdbx_PDB_ins_code", "Cartn_x", "Cartn_y", "Cartn_z")
    columns = (*columns, "occupancy", "auth_asym_id")
    text = "data_x\nloop_\n" + "".join(f"_atom_site.{column}\n" for column in columns)
    asym = "A"
    for i, line in enumerate(lines):
        if line == "TER":
            asym = chr(ord(asym) + 1)
            continue
        values = ("ATOM", str(i), line[77], line[12:16].strip(), ".", line[17:20], asym, line[22:26].strip(), "?")
        row = dict(zip(columns, (*values, *(line[j : j + 8] for j in (30, 38, 46)), "1.0", "A"), strict=True))
        text += " ".join((row | replaced).values()) + "\n"
    (tmp_path / "p.cif").write_text(text)
    return read_protein(tmp_path / "p.cif")


def test_mmcif(tmp_path: Path, plain: Protein) -> None:
    same_atoms(mmcif(CHAIN, tmp_path), plain)
    found = mmcif([*CHAIN, "TER", *moved(CHAIN, 60.0)], tmp_path)
    same_atoms(found, plain, len(plain.positions))
    assert len(set(found.residue_ids)) == 2 * plain.report.amino_acids
    same_atoms(mmcif(CHAIN, tmp_path, type_symbol="Ca"), plain)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("Cartn_x", "?", "atom 1 has no number in one of its coordinates"),
        ("Cartn_y", "1.x", "atom 1 has no number in one of its coordinates"),
        ("auth_seq_id", "****", "atom 1 has '****' for the number of its residue"),
    ],
)
def test_mmcif_that_cannot_be_read(tmp_path: Path, column: str, value: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        mmcif(CHAIN, tmp_path, **{column: value})
    assert message in str(caught.value)


def test_additives_and_cofactors_by_composition() -> None:
    assert all(is_additive(name, formula(text)) for name, text in ADDITIVES.items())
    assert all(
        is_additive(*pair) for pair in (("GOL", formula("C2O2")), ("UNL", formula("C3O3")), ("UNX", formula("O")))
    )
    nadph, inhibitor = formula("C21N7O17P3"), formula("C20N4O4S")
    assert not any(is_additive(*pair) for pair in (("UNL", nadph), ("GOL", nadph), ("MES", inhibitor)))
    assert is_cofactor("UNL", nadph) and is_cofactor("NDP", nadph) and is_cofactor("NDP", formula("C15N2O10P2"))
    assert not is_cofactor("NDP", formula("C17FN3O2")) and not is_cofactor("UNL", formula("C20N7O17P3"))
    assert not is_cofactor("ATP", formula("C10N5O13P3"))


@pytest.mark.parametrize(
    ("case", "file", "residues", "atoms"),
    [
        *((name, "in.csv", 23, 184) for name in ("00_reference", "01_blank_chains_ter", "02_same_chain_twice")),
        *((name, "in.csv", 23, 184) for name in ("04_end_in_middle", "05_left_aligned_no_element", "07_pdbqt")),
        ("08_clash_removes_residue", "in.csv", 23, 184),
        ("18_orphan_anisou", "in.csv", 22, 173),  # PHE 80 was deleted from it
        ("b06_native_ligand_kept", "in.csv", 36, 275),
        ("b18_cofactor_named_UNL", "in.csv", 21, 214),
    ],
)
def test_the_cases_that_were_reported(case: str, file: str, residues: int, atoms: int) -> None:
    (found,), problems = read(shared(f"cases/odd_inputs/{case}/{file}"))
    assert problems == []
    assert (len(found.pocket.residue_ids), len(found.pocket.positions)) == (residues, atoms)
    if atoms == 184 and not case.startswith("08"):
        (plain,), _ = read(shared("cases/odd_inputs/00_reference/in.csv"))
        for field in ("positions", "element", "residue", "atom_name"):
            np.testing.assert_array_equal(getattr(found.pocket, field), getattr(plain.pocket, field))
    assert ELEMENT_VOCABULARY.index("other") not in found.pocket.element
