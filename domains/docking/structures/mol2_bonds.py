"""Orders of a MOL2 file's bonds and formal charges of its atoms, as a small integer programme.

Each atom is in one of the states of its element (number of bonds, charge); the bonds that the file calls aromatic are
single or double. Of all ways that fill every atom's bonds the one with the least charge is taken. What the file says
outright (orders 1, 2, 3 and am, declared charges, hydrogens) is not changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

_FIXED = {"1": 1, "2": 2, "3": 3, "am": 1}
_CHARGED, _HYPERVALENT = 10.0, 5.0
_STATES: Mapping[int, tuple[tuple[int, int, float], ...]] = {  # element: (bonds, charge, cost)
    1: ((1, 0, 0.0),),
    5: ((3, 0, 0.0), (4, -1, _CHARGED)),
    6: ((4, 0, 0.0),),
    7: ((3, 0, 0.0), (4, 1, _CHARGED), (2, -1, _CHARGED), (5, 0, 1.5 * _CHARGED)),
    8: ((2, 0, 0.0), (1, -1, _CHARGED), (3, 1, 1.5 * _CHARGED)),
    14: ((4, 0, 0.0),),
    15: ((5, 0, 0.0), (3, 0, 0.0), (4, 1, _CHARGED)),
    16: ((2, 0, 0.0), (4, 0, _HYPERVALENT), (6, 0, _HYPERVALENT), (1, -1, _CHARGED), (3, 1, 1.5 * _CHARGED)),
    34: ((2, 0, 0.0), (4, 0, _HYPERVALENT), (6, 0, _HYPERVALENT), (1, -1, _CHARGED), (3, 1, 1.5 * _CHARGED)),
    **dict.fromkeys((9, 17, 35, 53), ((1, 0, 0.0),)),
}
_RESONANCE = 0.01
_HYDROGEN = 1.0  # of an aromatic nitrogen that its file does not show


@dataclass(frozen=True)
class Assignment:
    """Of each bond its order, of each atom its charge and the hydrogens that the file leaves out.

    is_ambiguous: other places of these hydrogens are as good.
    """

    orders: list[int]
    charges: list[int]
    hydrogens: list[int]
    is_ambiguous: bool

    @staticmethod
    def single(elements: Sequence[int], bonds: Sequence[tuple[int, int, str]]) -> Assignment:
        """Nothing but which atoms are bonded."""
        return Assignment([1] * len(bonds), [0] * len(elements), [0] * len(elements), False)


def hydrogens_of(elements: Sequence[int], bonds: Sequence[tuple[int, int, str]]) -> str:
    """Which hydrogens a file shows: "all", "polar" (none at carbon), or "none"."""
    if 1 not in elements:
        return "none"
    pairs = {frozenset((elements[a], elements[b])) for a, b, _ in bonds}
    return "all" if frozenset((1, 6)) in pairs else "polar"


def assigned(
    elements: Sequence[int],
    types: Sequence[str],
    bonds: Sequence[tuple[int, int, str]],
    declared: Mapping[int, int],
) -> Assignment | None:
    """The assignment for A atoms of SYBYL types, bonds (atom, atom, type), and declared charges (atom -> e).

    ``None`` if no assignment fills every atom's bonds, or a bond or an element is of no known kind.
    """
    if any(kind not in (*_FIXED, "ar") for *_, kind in bonds) or any(e not in _STATES for e in elements):
        return None
    programme = _Programme(elements, types, bonds, declared)
    best = programme.solve()
    if best is None:
        return None
    orders, charges, hydrogens = programme.read(best)
    is_ambiguous = False
    if programme.shown == "none":
        cost = programme.cost @ best
        for atom in programme.movable:
            for other in programme.solve(atom, 0, hydrogens[atom] - 1), programme.solve(atom, hydrogens[atom] + 1, 4):
                is_ambiguous |= other is not None and bool(programme.cost @ other < cost + 0.5)
    return Assignment(orders, charges, hydrogens, is_ambiguous)


class _Programme:
    """Variables: aromatic bonds (1 = double), states of all atoms, hydrogens that are not shown."""

    def __init__(
        self,
        elements: Sequence[int],
        types: Sequence[str],
        bonds: Sequence[tuple[int, int, str]],
        declared: Mapping[int, int],
    ) -> None:
        self.bonds, self.shown = bonds, hydrogens_of(elements, bonds)
        self.aromatic = [i for i, (*_, kind) in enumerate(bonds) if kind == "ar"]
        self.states = [(atom, state) for atom, e in enumerate(elements) for state in _STATES[e]]
        self.atoms = len(elements)
        first = len(self.aromatic)
        self.first_hydrogen = first + len(self.states)
        size = self.first_hydrogen + self.atoms
        one_state = np.zeros((self.atoms, size))
        filled = np.zeros((self.atoms, size))
        sigma = np.zeros(self.atoms)
        self.cost = np.zeros(size)
        lower, upper = np.zeros(size), np.ones(size)
        neighbours: list[list[int]] = [[] for _ in elements]
        for a, b, _ in bonds:
            neighbours[a].append(elements[b])
            neighbours[b].append(elements[a])
        for column, (atom, (valence, charge, cost)) in enumerate(self.states, start=first):
            one_state[atom, column] = 1
            filled[atom, column] = -valence
            # Resonance leaves a choice: + goes where most hydrogens are, - to the nitrogen beside a carbon.
            carbons, hydrogens = neighbours[atom].count(6), neighbours[atom].count(1)
            bonus = hydrogens if charge > 0 else carbons if charge < 0 else 0
            self.cost[column] = cost + self._by_type(types[atom], charge) - _RESONANCE * bonus
            if atom in declared and declared[atom] != charge:
                upper[column] = 0
        for a, b, kind in bonds:
            sigma[[a, b]] += _FIXED.get(kind, 1)
        rows = []
        for column, bond in enumerate(self.aromatic):
            filled[list(bonds[bond][:2]), column] = 1
        aromatic_atoms = {end for bond in self.aromatic for end in bonds[bond][:2]}
        for atom in aromatic_atoms:  # an sp2 carbon has one double bond
            if elements[atom] == 6:
                double = sum(_FIXED.get(kind, 1) - 1 for a, b, kind in bonds if atom in (a, b))
                row = np.zeros(size)
                row[[c for c, bond in enumerate(self.aromatic) if atom in bonds[bond][:2]]] = 1
                rows.append((row, 1.0 - double))
        for atom in range(self.atoms):
            column = self.first_hydrogen + atom
            filled[atom, column] = 1
            upper[column] = 4 if self._may_gain(elements[atom], types[atom]) else 0
            self.cost[column] = _HYDROGEN if elements[atom] == 7 and atom in aromatic_atoms else 0.0
        self.movable = [atom for atom in sorted(aromatic_atoms) if elements[atom] == 7]
        matrix = np.vstack([one_state, filled, *(row for row, _ in rows)])
        right = np.concatenate([np.ones(self.atoms), -sigma, [value for _, value in rows]])
        self.constraint = LinearConstraint(matrix, right, right)
        self.lower, self.upper = lower, upper

    def _by_type(self, kind: str, charge: int) -> float:
        """What a type says of the charge where hydrogens do not."""
        return 2 * _CHARGED if kind.upper() == "N.4" and charge != 1 and self.shown == "none" else 0.0

    def _may_gain(self, element: int, kind: str) -> bool:
        if self.shown == "none":
            return element != 1 and kind.lower() != "o.co2"
        return self.shown == "polar" and element == 6

    def solve(self, atom: int | None = None, least: int = 0, most: int = 4) -> NDArray[np.float64] | None:
        """The cheapest solution; with at least and at most so many hydrogens added to an atom, if one is given."""
        lower, upper = self.lower.copy(), self.upper.copy()
        if atom is not None:
            column = self.first_hydrogen + atom
            lower[column], upper[column] = max(lower[column], least), min(upper[column], most)
        if (lower > upper).any():
            return None
        found = milp(
            self.cost, constraints=self.constraint, integrality=np.ones(len(lower)), bounds=Bounds(lower, upper)
        )
        return None if found.x is None else np.round(found.x)

    def read(self, solution: NDArray[np.float64]) -> tuple[list[int], list[int], list[int]]:
        """Orders of bonds, charges and added hydrogens of atoms."""
        double = {bond: int(solution[column]) for column, bond in enumerate(self.aromatic)}
        orders = [_FIXED.get(kind, 1 + double.get(i, 0)) for i, (*_, kind) in enumerate(self.bonds)]
        charges = [0] * self.atoms
        for column, (atom, (_, charge, _)) in enumerate(self.states, start=len(self.aromatic)):
            charges[atom] += charge * int(solution[column])
        return orders, charges, [int(n) for n in solution[self.first_hydrogen :]]
