"""Atoms of mmCIF files."""

from __future__ import annotations

import numpy as np
from gemmi import cif

from domains.docking.structures.atom_rows import WATER_NAMES, FileError, Row, Rows

# Where two columns say the same, the first that is there counts: names as authors gave them, as PDB files have them.
_TEXTS = {
    "group": ("group_PDB",),
    "name": ("label_atom_id", "auth_atom_id"),
    "altloc": ("label_alt_id",),
    "residue": ("label_comp_id", "auth_comp_id"),
    "chain": ("auth_asym_id", "label_asym_id"),
    "asym": ("label_asym_id", "auth_asym_id"),
    "number": ("auth_seq_id", "label_seq_id"),
    "insertion": ("pdbx_PDB_ins_code",),
    "element": ("type_symbol",),
    "occupancy": ("occupancy",),
    "model": ("pdbx_PDB_model_num",),
    "charge": ("pdbx_formal_charge",),
    "x": ("Cartn_x",),
    "y": ("Cartn_y",),
    "z": ("Cartn_z",),
}
_NEEDED = ("name", "residue", "x", "y", "z")


def mmcif_rows(text: str) -> Rows:
    """Atoms of the first model in the first data block that has any.

    Raises:
        FileError: for a file that is no CIF, lacks a column, or has an atom that cannot be read.
    """
    try:
        blocks = [block for block in cif.read_string(text) if block.find_values("_atom_site.id")]
    except (RuntimeError, ValueError) as error:
        raise FileError(str(error)) from error
    if not blocks:
        return Rows((), 0, 0, (), ())
    remarks = (f"read the first of {len(blocks)} data blocks",) if len(blocks) > 1 else ()
    table = {key: _column(blocks[0], key) for key in _TEXTS}
    if missing := [key for key in _NEEDED if table[key] is None]:
        raise FileError(f"there is no column _atom_site.{_TEXTS[missing[0]][0]}")
    count = len(blocks[0].find_values("_atom_site.id"))
    columns = {key: [""] * count if column is None else column for key, column in table.items()}
    if any(len(column) != count for column in columns.values()):
        raise FileError("the columns of _atom_site differ in length")
    rows: list[Row] = []
    others: dict[str, list[tuple[float, float, float]]] = {}
    waters: set[tuple[str, ...]] = set()
    first = columns["model"][0] if count else ""
    for i in range(count):
        own = {key: column[i] for key, column in columns.items()}
        position = _position(i, own)
        if own["model"] != first:
            others.setdefault(own["model"], []).append(position)
        elif own["residue"].upper() in WATER_NAMES:
            if own["name"].upper().startswith("O"):
                waters.add((own["asym"], own["number"] or str(i), own["insertion"]))
        else:
            rows.append(_row(i, own, position))
    positions = tuple(np.array(other, dtype=np.float32) for other in others.values())
    return Rows(rows, len(waters), 1 + len(positions), positions, remarks)


def _column(block: cif.Block, key: str) -> list[str] | None:
    for name in _TEXTS[key]:
        if column := block.find_values(f"_atom_site.{name}"):
            return ["" if cif.is_null(value) else cif.as_string(value) for value in column]
    return None


def _row(i: int, own: dict[str, str], position: tuple[float, float, float]) -> Row:
    return Row(
        line=i + 1,
        is_hetero=own["group"] == "HETATM",
        name=own["name"],
        column="",
        altloc=own["altloc"],
        residue=own["residue"],
        chain=own["chain"],
        segment=own["asym"],
        number=_number(i, own["number"]),
        insertion=own["insertion"] or " ",
        piece=0,
        position=position,
        occupancy=_occupancy(own["occupancy"]),
        element=own["element"],
        is_pdbqt=False,
        charge=_charge(own["charge"]),
    )


def _position(i: int, own: dict[str, str]) -> tuple[float, float, float]:
    values = [cif.as_number(own[axis] or "?") for axis in "xyz"]
    if not np.isfinite(values).all():
        raise FileError(f"atom {i + 1} has no number in one of its coordinates")
    return values[0], values[1], values[2]


def _number(i: int, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise FileError(f"atom {i + 1} has '{text}' for the number of its residue") from None


def _occupancy(text: str) -> float:
    value = cif.as_number(text or "?")
    return value if np.isfinite(value) else 1.0


def _charge(text: str) -> int:
    value = cif.as_number(text or "?")
    return int(value) if np.isfinite(value) else 0
