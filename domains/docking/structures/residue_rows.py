"""Which atoms of a protein file make a residue, and which residues a chain: by order, numbers, names and distance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import cdist, pdist

from domains.docking.structures.atom_rows import FileError, Row
from domains.docking.structures.residues import parent_residue

_TWICE = 2.0  # Å; copies of a residue are farther apart than that
_BONDED = 2.5  # Å; atoms of a residue that are listed apart from the others are that near to one of them
_GAP = 5.0  # Å between two parts of a residue; one missing atom leaves 3.9 Å
_WIDE = 15.0  # Å
_HELD = 2.2  # Å; no covalent bond in a molecule is longer

_Key = tuple[int, str, str]
_Place = tuple[int, str]


@dataclass(eq=False)
class ResidueRows:
    """One residue: its heavy atoms, and the chain's label, which is unique together with number and insertion code
    for amino acids. part: counts chains as they were found, so that copies without ids of their own are told apart."""

    rows: list[Row]
    chain: str = ""
    part: int = 0

    @property
    def key(self) -> _Key:
        return self.rows[0].number, self.rows[0].insertion, self.rows[0].residue

    @property
    def place(self) -> _Place:
        return self.key[:2]

    @property
    def is_amino_acid(self) -> bool:
        return parent_residue(self.rows[0].residue) is not None

    def __str__(self) -> str:
        number, insertion, name = self.key
        return f"{self.chain}:{number}{insertion.strip()} {name}"


@dataclass(eq=False)
class _Part:
    """A stretch of a chain in which every residue is there once; whether it begins at a TER or a new segment."""

    piece: int
    segment: str
    is_apart: bool
    residues: dict[_Key, ResidueRows] = field(default_factory=dict)
    last: int | None = None  # number of the last amino acid

    def places(self) -> set[_Place]:
        return {residue.place for residue in self.residues.values() if residue.is_amino_acid}

    def is_hetero(self) -> bool:
        return all(residue.rows[0].is_hetero for residue in self.residues.values())

    def collides(self, other: _Part) -> bool:
        return not self.residues.keys().isdisjoint(other.residues) or not self.places().isdisjoint(other.places())


def residues(rows: Sequence[Row]) -> tuple[list[ResidueRows], list[str]]:
    """Residues by chain and in the order of the file, and remarks. Hydrogens are not among the rows.

    A new chain starts at TER and where the numbers of amino acids fall back. Stretches that have no number in common
    keep the chain's id; where they have, the later ones are copies, and get an id of their own.

    Raises:
        FileError: if an atom is there twice, or an amino acid is in parts far from each other.
    """
    found: list[ResidueRows] = []
    chains: dict[str, list[_Part]] = {}
    for run in _runs(rows):
        parts = chains.setdefault(run.rows[0].chain, [])
        if _continue(parts, run):
            continue
        _part_for(parts, run).residues[run.key] = run
        found.append(run)
    remarks = _label(chains)
    for residue in found:
        _check_spread(residue)
    order = {chain: i for i, chain in reversed(list(enumerate(row.chain for row in rows)))}
    return sorted(found, key=lambda residue: order[residue.rows[0].chain]), remarks


def _runs(rows: Sequence[Row]) -> Iterator[ResidueRows]:
    """Neighbouring rows of one residue; a run in which names come again is split where they do."""
    for _, group in groupby(rows, key=lambda r: (r.chain, r.segment, r.number, r.insertion, r.residue, r.piece)):
        run = list(group)
        is_unique = len({(row.name, row.altloc) for row in run}) == len(run)
        if parent_residue(run[0].residue) is not None:
            yield from map(ResidueRows, [run] if is_unique else _split_at_repeats(run))
        elif is_unique and _width(run) <= _WIDE:
            yield ResidueRows(run)
        else:
            yield from map(ResidueRows, _molecules(run, _GAP if is_unique else _HELD))


def _split_at_repeats(run: list[Row]) -> list[list[Row]]:
    parts: list[list[Row]] = [[]]
    seen: dict[tuple[str, str], Row] = {}
    for row in run:
        if (row.name, row.altloc) in seen:
            parts.append([])
            seen.clear()
        parts[-1].append(row)
        seen[row.name, row.altloc] = row
    first = {row.name for row in parts[0]}
    for part in parts[1:]:
        # A copy has every atom; less is an atom that is there twice.
        if {row.name for row in part} != first:
            raise FileError(_twice(parts[0], part))
    return parts


def _molecules(run: list[Row], gap: float) -> list[list[Row]]:
    """A run of something that is no amino acid, by what hangs together."""
    positions = _positions(run)
    marks = np.array([row.altloc for row in run])
    distance = cdist(positions, positions)
    same = (distance < 0.4) & (marks[:, None] == marks) & ~np.eye(len(run), dtype=np.bool_)
    if same.any():
        first, second = np.argwhere(same)[0]
        raise FileError(_two_lines(run[first], run[second]))
    labels = _clusters(positions, gap)
    return [[row for row, own in zip(run, labels, strict=True) if own == label] for label in dict.fromkeys(labels)]


def _continue(parts: list[_Part], run: ResidueRows) -> bool:
    """Whether the run was the rest of a residue that began before; it is then a part of it."""
    for part in reversed(parts):
        known = part.residues.get(run.key)
        if known is None:
            continue
        near = cdist(_positions(known.rows), _positions(run.rows))
        names = {(row.name, row.altloc) for row in known.rows}
        if names.isdisjoint((row.name, row.altloc) for row in run.rows):
            if near.min() < _BONDED:
                known.rows.extend(run.rows)
                return True
        elif _closest_namesake(known.rows, run.rows) < _TWICE:
            raise FileError(_twice(known.rows, run.rows))
    return False


def _part_for(parts: list[_Part], run: ResidueRows) -> _Part:
    """The part of its chain that a residue belongs to; a new one where it begins a copy."""
    first = run.rows[0]
    if parts:
        part = parts[-1]
        goes_on = run.key not in part.residues
        if run.is_amino_acid:
            goes_on = goes_on and first.piece == part.piece and (part.last is None or first.number >= part.last)
            goes_on = goes_on and not (first.segment and part.segment and first.segment != part.segment)
        if goes_on:
            if run.is_amino_acid:
                part.last, part.segment = first.number, first.segment or part.segment
            return part
    is_apart = bool(parts) and (first.piece, first.segment) != (parts[-1].piece, parts[-1].segment)
    parts.append(_Part(first.piece, first.segment, is_apart, last=first.number if run.is_amino_acid else None))
    return parts[-1]


def _label(chains: dict[str, list[_Part]]) -> list[str]:
    """Give each part its id and its number, and say which chains are there more than once."""
    taken: dict[str, list[_Part]] = {}
    copies: dict[str, list[str]] = {}
    numbers: dict[str, int] = {}
    count = 0
    for chain, parts in chains.items():
        for part in parts:
            label, k = chain, 1
            while (label != chain and label in chains) or _is_taken(taken.get(label, ()), part):
                k += 1
                label = f"{chain}{k}"
            if label != chain:
                copies.setdefault(chain, []).append(label)
            # A stretch that goes on in the numbers of its chain is part of it, but amino acids among the small
            # molecules after its end are not.
            if label not in numbers or (part.is_apart and part.is_hetero()):
                count += 1
                numbers.setdefault(label, count)
                own = count
            else:
                own = numbers[label]
            taken.setdefault(label, []).append(part)
            for residue in part.residues.values():
                residue.chain, residue.part = label, own
    return [_said(chain, list(dict.fromkeys(labels))) for chain, labels in copies.items()]


def _is_taken(taken: Iterable[_Part], part: _Part) -> bool:
    return any(other.collides(part) for other in taken)


def _said(chain: str, labels: list[str]) -> str:
    name = f"chain {chain}" if chain else "the chain without an id"
    new = ", ".join(labels[:4]) + (f" and {len(labels) - 4} more" if len(labels) > 4 else "")
    return f"residue numbers of {name} come again in the file: took what follows for chains of its own, {new}"


def _check_spread(residue: ResidueRows) -> None:
    """The atoms of an amino acid are near each other, whatever is missing."""
    if not residue.is_amino_acid:
        return
    positions = _positions(residue.rows)
    if (np.linalg.norm(np.diff(positions, axis=0), axis=1) < _GAP).all():
        return
    labels = np.array(_clusters(positions, _GAP))
    if len(set(labels.tolist())) == 1:
        return
    is_stray = labels == min(labels.tolist(), key=labels.tolist().count)
    first = int(np.flatnonzero(is_stray)[0])
    apart, row = cdist(positions[[first]], positions[~is_stray]).min(), residue.rows[first]
    raise FileError(f"line {row.line}: atom {row.name} of {residue} is {apart:.0f} Å away from the rest of it")


def _width(rows: Sequence[Row]) -> float:
    return float(np.ptp(_positions(rows), axis=0).max())


def _clusters(positions: NDArray[np.float64], gap: float) -> list[int]:
    """A label for each position (N, 3): those within `gap` Å of each other, and of each other's neighbours."""
    if len(positions) < 2:
        return [0] * len(positions)
    found: list[int] = fcluster(linkage(pdist(positions), "single"), gap, "distance").tolist()
    return found


def _positions(rows: Sequence[Row]) -> NDArray[np.float64]:
    return np.array([row.position for row in rows])


def _closest_namesake(one: Sequence[Row], other: Sequence[Row]) -> float:
    places = {(row.name, row.altloc): row.position for row in one}
    pairs = [(places[key], row.position) for row in other if (key := (row.name, row.altloc)) in places]
    return min(float(np.linalg.norm(np.subtract(a, b))) for a, b in pairs)


def _twice(one: Sequence[Row], other: Sequence[Row]) -> str:
    names = {(row.name, row.altloc): row for row in one}
    first = next(row for row in other if (row.name, row.altloc) in names)
    return _two_lines(names[first.name, first.altloc], first)


def _two_lines(one: Row, other: Row) -> str:
    residue = ResidueRows([one], one.chain)
    return f"atom {one.name} of {residue} is there twice, in lines {one.line} and {other.line}"
