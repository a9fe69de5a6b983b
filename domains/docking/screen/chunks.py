"""The library in chunks: fixed runs of its records, whatever was done before and by whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import final

from domains.docking.screen.library import Entry, Library
from domains.docking.screen.molecules import Molecule, identify
from domains.docking.screen.seen import Seen


@final
@dataclass(frozen=True)
class Item:
    """One record of a chunk, and what is to be done with it.

    Attributes:
        row: in the library, from 1.
        name: as the library has it.
        given: the SMILES as the library has it; "" for a record of an SDF file.
        molecule: what it is; None if it cannot be used.
        reason: why not; "" if it can.
        duplicate_of: the row that has the same ligand before; None if there is none.
    """

    row: int
    name: str
    given: str
    molecule: Molecule | None = None
    reason: str = ""
    duplicate_of: int | None = None


@final
@dataclass(frozen=True)
class Chunk:
    """Records number * size + 1 and following: what is docked together and kept as one file.

    Attributes:
        number: from 0.
        items: in the order of the library.
    """

    number: int
    items: tuple[Item, ...]


def chunks(library: Library, size: int, seen: Seen, is_done: Callable[[int], bool]) -> Iterator[Chunk]:
    """The chunks that are still to do, in order. Records of finished ones are read and not looked at.

    Raises:
        InputError: as :meth:`Library.entries`.
    """
    records = library.entries()
    runs = iter(lambda: tuple(islice(records, size)), ())
    for number, entries in enumerate(runs):
        if not (is_done(number) and seen.has(number)):
            chunk = _chunk(number, entries, seen)
            if not is_done(number):
                yield chunk


def _chunk(number: int, entries: tuple[Entry, ...], seen: Seen) -> Chunk:
    found = [identify(entry) for entry in entries]
    ligands = [(m.key, e.row) for e, m in zip(entries, found, strict=True) if isinstance(m, Molecule)]
    first = iter(seen.enter(number, ligands))
    items = []
    for entry, molecule in zip(entries, found, strict=True):
        given = entry.text if entry.kind == "smiles" else ""
        if isinstance(molecule, str):
            items.append(Item(entry.row, entry.name, given, None, molecule))
        else:
            row = next(first)
            items.append(Item(entry.row, entry.name, given, molecule, "", None if row == entry.row else row))
    return Chunk(number, tuple(items))
