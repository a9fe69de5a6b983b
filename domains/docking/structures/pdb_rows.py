"""Atom lines of PDB and PDBQT files, as the programs of the field write them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from domains.docking.structures.atom_rows import WATER_NAMES, FileError, Row, Rows
from domains.docking.structures.residues import standard_name

_COORDINATES = (slice(30, 38), slice(38, 46), slice(46, 54))
_HYBRID_36 = re.compile(r"[A-Z][0-9A-Z]{3}|[a-z][0-9a-z]{3}")
_AUTODOCK_CHARGE = re.compile(r"\s*[+-]?\d+\.\d{3}\s*")
_CHARGE = re.compile(r"([1-9])([+-])|([+-])([1-9])")
_OVERLAP = 2.0  # Å; atoms of two molecules that exist side by side are farther apart
_LARGE_OVERLAP = 0.2  # of the atoms


def pdb_rows(text: str) -> Rows:
    """Atoms of the first model. Reading goes on after an END, unless what follows is another frame of the same atoms.

    Raises:
        FileError: for an atom line that cannot be read, with its number.
    """
    reader = _Reader()
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        reader.add(number, line)
    ends_in_atoms = len(lines) > 1 and is_atom(lines[-1]) and is_atom(lines[-2])
    if ends_in_atoms and not text.endswith("\n") and len(lines[-1].rstrip()) < len(lines[-2].rstrip()):
        raise FileError(f"line {len(lines)} ends before the line above does")
    return reader.result()


def is_atom(line: str) -> bool:
    return line.startswith(("ATOM  ", "HETATM"))


class _Reader:
    def __init__(self) -> None:
        self._blocks: list[list[Row]] = [[]]  # between END records, of the first model and outside models
        self._others: list[list[tuple[float, float, float]]] = []
        self._waters: set[tuple[object, ...]] = set()
        self._model = 0
        self._inside = False
        self._piece = 0
        self._renamed: dict[str, str] = {}

    def add(self, number: int, line: str) -> None:
        record = line[:6].rstrip()
        if record == "MODEL":
            self._model += 1
            self._inside = True
            if self._model > 1:
                self._others.append([])
        elif record == "ENDMDL" and self._inside:
            self._inside = False
        elif record in ("END", "ENDMDL"):
            if self._blocks[-1]:
                self._blocks.append([])
            self._piece += 1
        elif record == "TER":
            self._piece += 1
        elif is_atom(line):
            self._add_atom(number, line)

    def _add_atom(self, number: int, line: str) -> None:
        position = _position(number, line)
        if self._inside and self._model > 1:
            self._others[-1].append(position)
            return
        chain, residue = _chain_and_residue(line)
        if residue in WATER_NAMES:
            if _is_oxygen(line):
                self._waters.add((chain, line[22:27], line[72:76], self._piece, line[16] == " " and number))
            return
        if len(residue) > 3 and (short := standard_name(residue)) != residue:
            self._renamed[residue] = short
        digits, insertion = _number(number, line)
        element, is_pdbqt, charge = _element(line)
        self._blocks[-1].append(
            Row(
                line=number,
                is_hetero=line.startswith("HETATM"),
                name=line[12:16].strip(),
                column=line[12:16],
                altloc=line[16].strip(),
                residue=residue,
                chain=chain,
                segment=line[72:76].strip() if not is_pdbqt else "",
                number=digits,
                insertion=insertion,
                piece=self._piece,
                position=position,
                occupancy=_occupancy(line),
                element=element,
                is_pdbqt=is_pdbqt,
                charge=charge,
            )
        )

    def result(self) -> Rows:
        blocks = [block for block in self._blocks if block]
        frames = [block for block in blocks[1:] if _is_frame(block, blocks[0])]
        parts = [block for block in blocks if not any(block is frame for frame in frames)]
        others = [*self._others, *([row.position for row in frame] for frame in frames)]
        remarks = []
        if len(parts) > 1:
            atoms = sum(map(len, parts[1:]))
            remarks.append(f"read on after END, where {atoms} more atom lines are")
        if self._renamed:
            pairs = ", ".join(f"{old} as {new}" for old, new in self._renamed.items())
            remarks.append(f"read {pairs}")
        positions = tuple(np.array(other, dtype=np.float32).reshape(-1, 3) for other in others)
        rows = [row for part in parts for row in part]
        return Rows(rows, len(self._waters), 1 + len(positions), positions, tuple(remarks))


def _is_frame(block: list[Row], first: list[Row]) -> bool:
    """Whether atoms after an END are the same as before it at another time: they cannot both be there."""
    if not _keys(block) <= _keys(first):
        return False
    distance, _ = cKDTree(_positions(first)).query(_positions(block))
    return bool(np.mean(distance < _OVERLAP) > _LARGE_OVERLAP)


def _keys(rows: list[Row]) -> set[tuple[object, ...]]:
    return {(row.chain, row.segment, row.number, row.insertion, row.residue, row.name) for row in rows}


def _positions(rows: list[Row]) -> NDArray[np.float64]:
    return np.array([row.position for row in rows])


def _position(number: int, line: str) -> tuple[float, float, float]:
    values = tuple(_coordinates(number, line))
    if line[27:30].strip():
        raise FileError(f"line {number} has '{line[27:30]}' in columns 28-30, where nothing is")
    return values[0], values[1], values[2]


def _coordinates(number: int, line: str) -> Iterator[float]:
    for columns in _COORDINATES:
        try:
            value = float(line[columns])
        except ValueError as error:
            raise FileError(f"line {number} has no number in columns 31-54") from error
        if not math.isfinite(value) or "_" in line[columns]:
            raise FileError(f"line {number} has coordinates that are not numbers")
        yield value


def _chain_and_residue(line: str) -> tuple[str, str]:
    """A letter in column 21 belongs to a residue's name where it then has a known one (Amber's NSER), else to the
    chain."""
    four = line[17:21].strip()
    if line[20] != " " and (standard_name(four) != four or four in WATER_NAMES):
        return line[21].strip(), four
    return line[20:22].strip(), line[17:20].strip()


def _number(number: int, line: str) -> tuple[int, str]:
    """Of the residue, in decimal or hybrid-36, and its insertion code."""
    text, insertion = line[22:26], line[26]
    if insertion.isdigit():  # five digits
        text, insertion = line[22:27], " "
    word = text.strip()
    if re.fullmatch(r"-?\d+", word, re.ASCII):
        return int(word), insertion
    if _HYBRID_36.fullmatch(word):
        value = int(word, 36) - 10 * 36**3 + 10_000
        return value + (26 * 36**3 if word[0].islower() else 0), insertion
    raise FileError(f"line {number} has '{text}' for the number of its residue")


def _occupancy(line: str) -> float:
    try:
        value = float(line[54:60])
    except ValueError:
        return 1.0
    return value if math.isfinite(value) else 1.0


def _element(line: str) -> tuple[str, bool, int]:
    """Element or AutoDock type, which of the two, and formal charge."""
    if _AUTODOCK_CHARGE.fullmatch(line[66:76]) and (kind := line[76:80].strip()):
        return kind, True, 0
    element = line[76:78].strip()
    if not element.isalpha():  # old files have line numbers there
        return "", False, 0
    sign = _CHARGE.fullmatch(line[78:80])
    if sign is None:
        return element, False, 0
    digit, mark = (sign[1], sign[2]) if sign[1] else (sign[4], sign[3])
    return element, False, int(digit) * (1 if mark == "+" else -1)


def _is_oxygen(line: str) -> bool:
    return line[12:16].strip().upper().startswith("O")
