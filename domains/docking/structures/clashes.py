"""Whether a pose can be where it is said to be: how much of it lies on the protein's atoms."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domains.docking.structures.protein import Protein
from domains.docking.structures.residues import ATOM_NAME_VOCABULARY, ELEMENT_VOCABULARY

_TOUCH = 2.0  # Å; only atoms that are bonded, or a metal with its ligands, come nearer
_ON_TOP = 1.5  # Å; a modelled pose may have one atom that near, and a covalent ligand has
_LOUD, _IMPOSSIBLE = 0.2, 0.5  # of the ligand's atoms; of 1684 bound poses at hand none has more than 0.11
_FEW = 2
_BACKBONE = [ATOM_NAME_VOCABULARY.index(name) for name in ("N", "CA", "C", "O", "OXT")]


@dataclass(frozen=True)
class Clash:
    """atoms: of a ligand with `of` atoms that are within 2 Å of the protein's; elsewhere: of these, on others than
    the side chain that most of them touch; residues: that they lie on."""

    atoms: int
    elsewhere: int
    of: int
    residues: tuple[str, ...]

    @property
    def is_impossible(self) -> bool:
        """No ligand lies like that, even if one side chain is where it goes: the two files are in different frames."""
        return self.atoms > _IMPOSSIBLE * self.of and self.elsewhere > _LOUD * self.of

    def __str__(self) -> str:
        names = ", ".join(self.residues[:5]) + (" and others" if len(self.residues) > 5 else "")
        on = f" ({names})" if names else ""
        return f"{self.atoms} of the ligand's {self.of} atoms are within {_TOUCH:g} Å of the protein's{on}"

    @property
    def remark(self) -> str:
        """Empty if there is nothing to say."""
        if self.atoms > _LOUD * self.of:
            return f"WARNING: {self}: is it in the protein's frame, and bound to this conformation of it?"
        return f"the bound pose clashes: {self}" if self.residues else ""


def clash_of(protein: Protein, pose: NDArray[np.float32]) -> Clash:
    """Of a pose (A, 3), Å, in the protein's frame. Metals do not count: ligands bind them."""
    metal = protein.element == ELEMENT_VOCABULARY.index("metal")
    near = protein.tree.query_ball_point(pose, _TOUCH)
    side = ~np.isin(protein.atom_name, _BACKBONE) & protein.is_amino_acid[protein.residue_index]
    touched: list[set[tuple[int, bool]]] = []
    on_top: Counter[int] = Counter()
    for own, xyz in zip(near, pose, strict=True):
        atoms = np.array([i for i in own if not metal[i]], dtype=np.int64)
        gaps = np.linalg.norm(protein.positions[atoms] - xyz, axis=1)
        touched.append(set(zip(protein.residue_index[atoms].tolist(), side[atoms].tolist(), strict=True)))
        on_top.update(set(protein.residue_index[atoms[gaps < _ON_TOP]].tolist()))
    most = Counter(place for own in touched for place in own if place[1]).most_common(1)
    elsewhere = sum(bool(own - {place for place, _ in most}) for own in touched)
    residues = sorted(i for i, count in on_top.items() if count >= _FEW)
    return Clash(sum(map(bool, touched)), elsewhere, len(pose), protein.labels(residues))
