"""Rows of a user's CSV file, as spreadsheets and people write them, and the line of each that cannot be read."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from domains.docking.structures.text_files import read_text
from domains.errors import InputError, InputProblem

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_MOST_LINES = 100  # of one quoted field

Row = tuple[int, dict[str, str]]


def read_rows(table: Path, required: Sequence[str], known: Sequence[str]) -> tuple[list[Row], list[InputProblem]]:
    """(line, column -> field) of each row, and what was ignored or cannot be read.

    Commas, semicolons or tabs separate the fields, whichever makes most sense of the header, whose capitals do not
    count. An unquoted field may hold a CXSMILES ("CC(N)O |a:1,2|").

    Args:
        table: the file.
        required: columns that must be there.
        known: columns that are used; others are ignored, and that is said.

    Raises:
        InputError: if the file cannot be read as text, or a column is missing.
    """

    def problem(record: str, message: str, remedy: str) -> InputProblem:
        return InputProblem(str(table), record, message, remedy)

    use = f"use the columns {', '.join(known)}"
    lines = read_text(table, "a CSV file").split("\n")
    start = next(i for i, line in enumerate(lines) if line.strip())
    separator, columns = _header(lines[start], known)
    if missing := [column for column in required if column not in columns]:
        message = f"there is no column {', '.join(missing)} in its header (line {start + 1})"
        raise InputError(problem("", message, f"{use}, separated by commas, semicolons or tabs"))
    if doubled := sorted({column for column in columns if column in known and columns.count(column) > 1}):
        raise InputError(problem("", f"the column {doubled[0]} is there twice", use))
    rows: list[Row] = []
    said: list[InputProblem] = []
    ignored = {i for i, column in enumerate(columns) if column not in known}
    for number, fields in _rows(lines, start + 1, separator, len(columns), ignored):
        if isinstance(fields, _Fault):
            said.append(problem(f"line {number}", fields.message, fields.remedy))
        else:
            padded = [*fields, *[""] * (len(columns) - len(fields))]
            rows.append((number, dict(zip(columns, padded, strict=True))))
    if unknown := [column for column in columns if column and column not in known]:
        said.append(problem("", f"unknown columns are ignored: {', '.join(unknown)}", use))
    if not rows:
        said.append(problem("", "there are no usable rows in it", "add one line for each complex"))
    return rows, said


def _header(line: str, known: Sequence[str]) -> tuple[str, list[str]]:
    """The separator that finds most known columns, commas if none finds any, and the columns in small letters."""
    found = {}
    for separator in _SEPARATORS:
        fields = _fields(line, separator)
        found[separator] = [] if isinstance(fields, _Fault) else [field.lower() for field in fields]
    best = max(found, key=lambda separator: sum(column in known for column in found[separator]))
    return best, found[best]


class _Fault(NamedTuple):
    message: str
    remedy: str


_OPEN = _Fault("a quote opens in this line and is not closed in it", "close it, or leave it out")


def _rows(
    lines: Sequence[str], at: int, separator: str, width: int, ignored: set[int]
) -> Iterator[tuple[int, list[str] | _Fault]]:
    """Line number, from 1, and fields of each row from lines[at] on."""
    while at < len(lines):
        number, line = at + 1, lines[at]
        at += 1
        if not line.strip():
            continue
        fields = _fields(line, separator)
        if fields is _OPEN:
            fields, at = _over_lines(lines, number, separator, width, ignored)
        yield number, fields if isinstance(fields, _Fault) else _checked(fields, line, separator, width, ignored)


def _over_lines(
    lines: Sequence[str], number: int, separator: str, width: int, ignored: set[int]
) -> tuple[list[str] | _Fault, int]:
    """Fields of a row that begins in line `number` with an open quote, and how many lines are read by then.

    A note of several lines is legal CSV; in a column that is used it is a quote that somebody forgot.
    """
    for end in range(number + 1, min(number + _MOST_LINES, len(lines)) + 1):
        fields = _fields("\n".join(lines[number - 1 : end]), separator)
        if fields is _OPEN:
            continue
        if isinstance(fields, _Fault) or len(fields) != width:
            break
        if all(i in ignored for i, field in enumerate(fields) if "\n" in field):
            return fields, end
        break
    return _OPEN, number


def _fields(text: str, separator: str) -> list[str] | _Fault:
    """Fields of a row without the spaces around them."""
    try:
        (fields,) = csv.reader(text.splitlines(keepends=True), delimiter=separator, skipinitialspace=True, strict=True)
    except csv.Error as error:
        return _OPEN if "unexpected end" in str(error) else _Fault(f"it is no CSV ({error})", "correct its quotes")
    return [field.strip() for field in fields]


def _checked(fields: list[str], line: str, separator: str, width: int, ignored: set[int]) -> list[str] | _Fault:
    fields = _with_extensions(fields, separator, width)
    used = _SEPARATORS[separator]
    if len(fields) > width:
        return _Fault("it has more fields than the header", f"quote {used}")
    others = [name for mark, name in _SEPARATORS.items() if mark != separator and mark in line]
    if len(fields) == 1 and width > 1 and others:
        return _Fault(f"it is separated by {others[0]}, and the header by {used}", f"use {used} in every line")
    if any('"' in field for i, field in enumerate(fields) if i not in ignored):
        return _Fault("there is a quote inside a field", "leave it out, or close it where the field ends")
    return fields


def _with_extensions(fields: list[str], separator: str, width: int) -> list[str]:
    """Fields in which the parts of a CXSMILES extension, "|...|", that the separators cut are joined again."""
    if len(fields) <= width:
        return fields
    joined = fields[:1]
    for field in fields[1:]:
        if joined[-1].count("|") % 2:
            joined[-1] += separator + field
        else:
            joined.append(field)
    return joined
