"""Protein files into gemmi structures, refusing what gemmi would quietly read as something else."""

from __future__ import annotations

import math
from pathlib import Path

import gemmi

from domains.docking.structures.text_files import read_text
from domains.errors import InputError, InputProblem

_KIND = "a PDB or mmCIF file (.gz is fine)"
_COORDINATES = (slice(30, 38), slice(38, 46), slice(46, 54))  # columns of x, y, z in a PDB atom line


def read_structure(path: Path) -> gemmi.Structure:
    """Structure from a PDB file, or mmCIF where the name ends in .cif or .mmcif, gzipped or not.

    Raises ``InputError`` for a file that is missing, empty, binary, cut off, malformed, or without atoms.
    """
    text = read_text(path, _KIND)
    is_mmcif = any(suffix.lower() in (".cif", ".mmcif") for suffix in path.suffixes[-2:])
    try:
        if not is_mmcif:
            _check_atom_lines(text)
        file_format = gemmi.CoorFormat.Mmcif if is_mmcif else gemmi.CoorFormat.Pdb
        structure = gemmi.read_structure_string(text, format=file_format)
    except (RuntimeError, ValueError) as error:
        message = f"it is cut off or malformed ({error})"
        raise InputError(InputProblem(str(path), "", message, "download or write the file again")) from error
    if not len(structure) or not structure[0].count_atom_sites():
        raise InputError(InputProblem(str(path), "", "there are no atoms in it", f"give {_KIND}, and name it so"))
    if not all(math.isfinite(site.atom.pos.length()) for site in structure[0].all()):
        raise InputError(InputProblem(str(path), "", "some coordinates are not numbers", "write the file again"))
    return structure


def _check_atom_lines(text: str) -> None:
    """``ValueError`` for coordinates that gemmi reads as zero, and for a last line that ends before the one above."""
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        if _is_atom(line):
            for columns in _COORDINATES:
                try:
                    float(line[columns])
                except ValueError as error:
                    raise ValueError(f"line {number} has no number in columns 31-54") from error
    ends_in_atoms = len(lines) > 1 and _is_atom(lines[-1]) and _is_atom(lines[-2])
    if ends_in_atoms and not text.endswith("\n") and len(lines[-1].rstrip()) < len(lines[-2].rstrip()):
        raise ValueError(f"line {len(lines)} ends before the line above does")


def _is_atom(line: str) -> bool:
    return line.startswith(("ATOM", "HETATM"))
