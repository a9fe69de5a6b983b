"""The element of an atom in a protein file: from its residue where that is standard, else from what is written."""

from __future__ import annotations

import gemmi

from domains.docking.structures.atom_rows import FileError, Row
from domains.docking.structures.residues import ATOM_NAME_VOCABULARY, parent_residue, standard_name

_TERMINAL_OXYGENS = frozenset(("O1", "O2", "OT", "OT1", "OT2", "O'", "O''", "OXT1", "OXT2", "OCT1", "OCT2"))
_AUTODOCK = {
    **{"A": "C", "NA": "N", "NS": "N", "OA": "O", "OS": "O", "SA": "S", "HD": "H", "HS": "H"},
    **{"C": "C", "N": "N", "O": "O", "S": "S", "H": "H", "P": "P", "F": "F", "I": "I", "CL": "CL", "BR": "BR"},
    **{"MG": "MG", "MN": "MN", "ZN": "ZN", "CA": "CA", "FE": "FE", "NI": "NI", "CO": "CO", "CU": "CU", "K": "K"},
    **{"SI": "SI", "B": "B", "SE": "SE"},
}
_IONS = {
    **{"CAL": "CA", "SOD": "NA", "POT": "K", "CLA": "CL", "CES": "CS", "ZN2": "ZN", "MG2": "MG", "FE2": "FE"},
    **{"NA+": "NA", "K+": "K", "CL-": "CL", "CA+": "CA", "CIO": "CS", "IB": "BR", "CA2": "CA", "CU1": "CU"},
    **{"MN2": "MN", "CO2": "CO", "NI2": "NI", "CU2": "CU", "FE3": "FE", "LIT": "LI", "RUB": "RB", "BAR": "BA"},
}
"""Ions as force fields and the PDB call them, where that is not their element."""

_LONG = frozenset(("CL", "BR", "FE", "ZN", "MG", "MN", "SE", "SI"))
"""Elements of two letters that nobody takes for a carbon or nitrogen with a name of its own."""

_ONE_LETTER = frozenset("HDBCNOFPSKIVWUY")
_NOBLE = frozenset(("He", "Ne", "Ar", "Kr", "Xe", "Rn"))
_SHORT = 1.55  # Å; no metal has a carbon that near


def element_of(row: Row) -> tuple[gemmi.Element, bool]:
    """The element, and whether it is another one than the file has in its column.

    In an amino acid the atoms of the backbone and of the standard side chains have the element that their name says:
    CA is a carbon, whatever a program has made of it.

    Raises:
        FileError: if none is written where one is needed, or there is no such element.
    """
    written = _written(row)
    known = _by_residue(row)
    if known is not None:
        return known, bool(row.element) and written is not None and not _same(written, known)
    if written is not None:
        return written, False
    if row.element and not row.element[0].isdigit():
        raise FileError(f"{_place(row)} has the element '{row.element}', which there is not")
    guess = _by_name(row)
    if guess is None:
        raise FileError(f"{_place(row)} has no element, and its name does not tell which it is")
    return guess, False


def _written(row: Row) -> gemmi.Element | None:
    symbol = row.element.upper()
    if row.is_pdbqt:
        symbol = _AUTODOCK.get(symbol, "")
    return _element(symbol)


def _element(symbol: str) -> gemmi.Element | None:
    found = gemmi.Element(symbol)
    return found if found.atomic_number else None


def _same(one: gemmi.Element, other: gemmi.Element) -> bool:
    return one.atomic_number == other.atomic_number


def _by_residue(row: Row) -> gemmi.Element | None:
    """In an amino acid, by the names that its atoms have in the PDB and in force fields."""
    parent = parent_residue(row.residue)
    if parent is None:
        return None
    name = row.name.upper()
    if name in ATOM_NAME_VOCABULARY or name in _TERMINAL_OXYGENS:
        return gemmi.Element(name[0])
    if standard_name(row.residue) == parent:
        letters = name.lstrip("0123456789")
        if letters[:1] in ("H", "D"):
            return gemmi.Element(letters[0])
    return None


def _by_name(row: Row) -> gemmi.Element | None:
    """Where no element is written: of an ion by its name, else by where a PDB file has the name of an atom.

    The element ends in the second of the four columns. Programs that put every name into the first column leave
    "CA" open; it is then decided only for names like C1 and CL2, which have one meaning.
    """
    name = row.name.upper()
    if row.residue.upper() in (name, name.rstrip("+-0123456789")) or row.residue.upper() in _IONS:
        return _element(_IONS.get(row.residue.upper(), name.rstrip("+-0123456789")))
    column = row.column.upper()
    if not column:
        return None
    letters = name.lstrip("0123456789'\"*")
    if column[0] in " 0123456789":
        return _element(letters[0]) if letters[:1] and letters[0] in _ONE_LETTER else None
    if letters[:2] in _LONG:
        return _element(letters[:2])
    if len(letters) > 1 and letters[1].isalpha() and not (len(name) == 4 and letters[0] in "HD"):
        return None
    return _element(letters[0]) if letters[:1] and letters[0] in _ONE_LETTER else None


def _place(row: Row) -> str:
    return f"line {row.line}: atom {row.name or '?'} of {row.residue} {row.chain}:{row.number}{row.insertion.strip()}"


def impossible_metal(residue: gemmi.Residue) -> gemmi.Atom | None:
    """An atom of the residue that is said to be a metal or noble gas and has a carbon as near as carbons are: a
    program has taken the name of a carbon (CA, CD, CE) for it."""
    for atom in residue:
        if not (atom.element.is_metal or atom.element.name in _NOBLE) or atom.element.name == "Be":
            continue
        if any(other.element.name == "C" and other.pos.dist(atom.pos) < _SHORT for other in residue):
            return atom
    return None
