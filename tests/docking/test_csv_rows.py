"""Tables as spreadsheets and people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from domains.docking.structures.csv_rows import read_rows
from domains.errors import InputError

REQUIRED = ("protein", "ligand")
KNOWN = ("name", *REQUIRED)


def _rows(folder: Path, text: str) -> tuple[list[tuple[int, list[str]]], list[str]]:
    path = folder / "table.csv"
    path.write_text(text)
    rows, problems = read_rows(path, REQUIRED, KNOWN)
    lines = [str(problem).removeprefix(f"{path}, ").removeprefix(f"{path}: ") for problem in problems]
    return [(number, [row.get(column, "-") for column in KNOWN]) for number, row in rows], lines


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_separator_and_any_capitals(tmp_path: Path, separator: str, end: str) -> None:
    lines = ["Name,PROTEIN, Ligand ", "a,p.pdb, CCO ", "", 'b,"q.pdb",CCN']
    text = end.join(line.replace(",", separator) for line in lines)
    found, problems = _rows(tmp_path, text)
    assert found == [(2, ["a", "p.pdb", "CCO"]), (4, ["b", "q.pdb", "CCN"])]
    assert problems == []


def test_a_column_that_may_be_missing(tmp_path: Path) -> None:
    assert _rows(tmp_path, "protein,ligand\np.pdb,CCO\n") == ([(2, ["-", "p.pdb", "CCO"])], [])


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("smiles", ["C[C@H](N)C(=O)O |a:1,2|", "CC(N)O |a:1,o1:2,3,&1:4|", "CCO"])
@pytest.mark.parametrize("quote", ['"', ""])
def test_cxsmiles_with_commas(tmp_path: Path, separator: str, smiles: str, quote: str) -> None:
    text = f"name,protein,ligand,more\na,p.pdb,{quote}{{}}{quote},7\n".replace(",", separator).format(smiles)
    found, problems = _rows(tmp_path, text)
    assert found == [(2, ["a", "p.pdb", smiles])]
    assert [p for p in problems if "unknown columns are ignored: more" not in p] == []


def test_an_unclosed_quote_costs_its_own_line(tmp_path: Path) -> None:
    text = 'name,protein,ligand\na,p.pdb,CCO\nb,"p.pdb,CCN\nc,p.pdb,CCC\nd,"p.pdb",CCS\n"e,p.pdb,CCF\n'
    found, problems = _rows(tmp_path, text)
    assert [row[0] for _, row in found] == ["a", "c", "d"]
    message = "a quote opens in this line and is not closed in it; close it, or leave it out"
    assert problems == [f"line 3: {message}", f"line 6: {message}"]


def test_a_quote_that_swallows_rows_is_no_field(tmp_path: Path) -> None:
    text = 'name,protein,ligand\n"b,p.pdb,CCN\nc",p.pdb,CCC\nd,p.pdb,CCS\n'
    found, problems = _rows(tmp_path, text)
    assert found == [(4, ["d", "p.pdb", "CCS"])]
    assert [problem.split(":")[0] for problem in problems] == ["line 2", "line 3"]


def test_a_note_of_several_lines_in_another_column(tmp_path: Path) -> None:
    found, problems = _rows(tmp_path, 'note,protein,ligand\n"two\nlines, ""quoted""",p.pdb,CCO\nx,q.pdb,CCN\n')
    assert found == [(2, ["-", "p.pdb", "CCO"]), (4, ["-", "q.pdb", "CCN"])]
    assert [problem.split(";")[0] for problem in problems] == ["unknown columns are ignored: note"]


def test_rows_that_are_none(tmp_path: Path) -> None:
    found, problems = _rows(tmp_path, "name;protein;ligand\na,p.pdb,CCO\nb;p.pdb;CCN;x;\nc;p.pdb\n")
    assert found == [(4, ["c", "p.pdb", ""])]
    assert problems == [
        "line 2: it is separated by commas, and the header by semicolons; use semicolons in every line",
        "line 3: it has more fields than the header; quote semicolons",
    ]


def test_remarks_are_there_when_no_row_is_left(tmp_path: Path) -> None:
    found, problems = _rows(tmp_path, "name,protein,ligand,extra\na,p.pdb,C,C,C\n")
    assert found == []
    assert problems[0].startswith("line 2: it has more fields than the header")
    assert problems[1].startswith("unknown columns are ignored: extra")
    assert problems[2].startswith("there are no usable rows in it")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,protein\na,p.pdb\n", "there is no column ligand in its header"),
        ("a|b\nc|d\n", "separated by commas, semicolons or tabs"),
        ("protein,ligand,Protein\n", "the column protein is there twice"),
    ],
)
def test_headers_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _rows(tmp_path, text)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_named(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes("name,protein,ligand\na,p.pdb,CCO\n".encode(encoding))
    with pytest.raises(InputError, match="the file is UTF-16 text; save it as UTF-8"):
        read_rows(path, REQUIRED, KNOWN)
