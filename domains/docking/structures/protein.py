"""Proteins: the atoms that both the network and the checks of poses see, and a record of all that was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

_STRETCH = 0.3  # Å that a bond in a file may exceed the sum of covalent radii; 1.87 Å across a bicyclopentane is none


@dataclass(frozen=True)
class ProteinReport:
    """What of a protein file was kept and dropped, in one line by ``str``.

    Residues are written "A:45B HIS": chain, number with insertion code, name.
    """

    amino_acids: int
    modified: tuple[str, ...]
    hetero: tuple[str, ...]
    waters: int
    additives: tuple[str, ...]
    hydrogens: int
    alternatives: int
    incomplete: int
    missing_atoms: int
    models: int
    notes: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "; ".join((f"{self.amino_acids} amino acids", *self.remarks))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was kept beside amino acids, dropped or changed, one phrase each."""
        parts = [
            f"{len(self.modified)} modified ({_names(self.modified)})" if self.modified else "",
            f"kept {_names(self.hetero)}" if self.hetero else "",
            f"dropped {self.waters} waters" if self.waters else "",
            f"dropped additives {_names(self.additives)}" if self.additives else "",
            f"removed {_names(self.copies)}, the ligand itself ({_places(self.copies)})" if self.copies else "",
            f"left out {', '.join(self.left_out)}" if self.left_out else "",
            f"dropped {self.hydrogens} hydrogens" if self.hydrogens else "",
            f"dropped {self.alternatives} atoms of alternative conformations" if self.alternatives else "",
            self._missing() if self.incomplete else "",
            f"read the first of {self.models} models" if self.models > 1 else "",
            *self.notes,
        ]
        return tuple(part for part in parts if part)

    def _missing(self) -> str:
        found = f"{self.missing_atoms} side-chain atoms missing in {self.incomplete} of {self.amino_acids} residues"
        if 2 * self.incomplete <= self.amino_acids:
            return found
        return f"WARNING: {found}: poses in it mean little; give a model with side chains"


@dataclass(frozen=True, eq=False)
class Protein:
    """Heavy atoms (N) and residues (M) of the first model, in file order, without waters and additives.

    positions (N, 3) float32, Å, in the file's frame; element, residue, atom_name (N,) int64 into the vocabularies;
    residue_index (N,) int64 into the residues; is_ca (N,) bool; atomic_number (N,) int64; pdb_lines (N,) in PDB format;
    residue_ids: M words "A:45B"; residue_names: M words; is_amino_acid (M,) bool; chain_index (M,) int64, equal for
    residues of one chain. other_models: atoms (., 3), Å, of each model of the file that was not read.
    """

    path: Path
    positions: NDArray[np.float32]
    element: NDArray[np.int64]
    residue: NDArray[np.int64]
    atom_name: NDArray[np.int64]
    residue_index: NDArray[np.int64]
    is_ca: NDArray[np.bool_]
    atomic_number: NDArray[np.int64]
    pdb_lines: NDArray[np.str_]
    residue_ids: tuple[str, ...]
    residue_names: tuple[str, ...]
    is_amino_acid: NDArray[np.bool_]
    chain_index: NDArray[np.int64]
    other_models: tuple[NDArray[np.float32], ...]
    report: ProteinReport

    @cached_property
    def tree(self) -> cKDTree:
        """Of the positions."""
        return cKDTree(self.positions)

    @property
    def residue_words(self) -> set[str]:
        """Names and places of residues that are no amino acids, of additives too."""
        labels = (*self.report.hetero, *self.report.additives)
        return {word for label in labels for word in label.split(maxsplit=1)}

    @cached_property
    def bonds(self) -> NDArray[np.int64]:
        """Pairs of atoms (E, 2) whose distance is that of a covalent bond; metals have none."""
        elements = [gemmi.Element(number) for number in range(int(self.atomic_number.max()) + 1)]
        radii = np.array([-np.inf if element.is_metal else element.covalent_r for element in elements])
        radius = radii[self.atomic_number]
        pairs = self.tree.query_pairs(2 * radius.max() + _STRETCH, output_type="ndarray")
        length = np.linalg.norm(self.positions[pairs[:, 0]] - self.positions[pairs[:, 1]], axis=1)
        return np.asarray(pairs[length <= radius[pairs].sum(1) + _STRETCH], dtype=np.int64)

    def without_copies(self, residues: Sequence[int]) -> Protein:
        """The protein without those of its residues that are the ligand; the report says so."""
        return self._without(residues, replace(self.report, copies=(*self.report.copies, *self.labels(residues))))

    def leaving_out(self, reasons: Mapping[int, str]) -> Protein:
        """The protein without some residues, each for a reason that the report gives."""
        names = zip(self.labels(reasons), reasons.values(), strict=True)
        said = tuple(f"{label} ({reason})" for label, reason in names)
        return self._without(list(reasons), replace(self.report, left_out=(*self.report.left_out, *said)))

    def labels(self, residues: Iterable[int]) -> tuple[str, ...]:
        """Places and names, "A:45B HIS"."""
        return tuple(f"{self.residue_ids[i]} {self.residue_names[i]}" for i in residues)

    def _without(self, residues: Sequence[int], report: ProteinReport) -> Protein:
        """Without some residues; a report that says why."""
        if not residues:
            return self
        kept = ~np.isin(np.arange(len(self.residue_ids)), residues)
        atoms = kept[self.residue_index]
        gone = self.labels(residues)
        return replace(
            self,
            **{name: getattr(self, name)[atoms] for name in _OF_ATOMS},
            residue_index=(np.cumsum(kept) - 1)[self.residue_index[atoms]],
            residue_ids=tuple(word for word, own in zip(self.residue_ids, kept, strict=True) if own),
            residue_names=tuple(word for word, own in zip(self.residue_names, kept, strict=True) if own),
            is_amino_acid=self.is_amino_acid[kept],
            chain_index=self.chain_index[kept],
            report=replace(
                report,
                amino_acids=int(self.is_amino_acid[kept].sum()),
                modified=tuple(label for label in report.modified if label not in gone),
                hetero=tuple(label for label in report.hetero if label not in gone),
            ),
        )

    def pdb_block(self, positions: NDArray[Any], reach: float) -> str:
        """PDB text of the atoms within `reach` Å of any of `positions` (A, 3), or of the nearest one alone."""
        near = sorted(set().union(*self.tree.query_ball_point(positions, reach)))
        if not near:
            distance, index = self.tree.query(positions)
            near = [index[distance.argmin()]]
        # Serial numbers start again from 1: RDKit cannot read the hybrid-36 ones of large structures.
        numbered = [f"{line[:6]}{serial:5d}{line[11:]}" for serial, line in enumerate(self.pdb_lines[near], start=1)]
        return "\n".join([*numbered, "END\n"])


_OF_ATOMS = ("positions", "element", "residue", "atom_name", "is_ca", "atomic_number", "pdb_lines")


def _names(labels: tuple[str, ...]) -> str:
    counts = Counter(label.split()[1] for label in labels)
    return ", ".join(name if n == 1 else f"{n} {name}" for name, n in counts.items())


def _places(labels: tuple[str, ...]) -> str:
    return ", ".join(label.split()[0] for label in labels)
