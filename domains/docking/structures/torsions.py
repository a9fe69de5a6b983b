"""Which bonds of a ligand may turn, and which atoms turn with them."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

TorsionRule = Literal["chemical", "diffdock"]

# Carbonyl, thiocarbonyl or imine carbon bound to a nitrogen whose lone pair it shares. A nitrogen of an aromatic ring
# (lower case in SMARTS) keeps its pair for the ring, and one with a double bond of its own has none to share.
_CONJUGATED_NITROGEN = "[CX3](=[O,S,Se,N])-!@[N;X2,X3;!$(N=*);!$(N#*)]"


def torsions(mol: Chem.Mol, rule: TorsionRule = "chemical") -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Rotatable bonds (R, 2) int64 and the atoms that each one turns (R, A) bool, in the order of RDKit's bonds.

    A row (u, v) has v among the turned atoms and u not. The turned side is the smaller one, and on a tie the one with
    the lower atom index, as in DiffDock. Both sides have at least two heavy atoms. ``mol`` is one fragment of heavy
    atoms.

    ``"diffdock"``: every bond outside rings, whatever its order, so double bonds and amides turn as well.

    ``"chemical"``: single bonds outside rings, except

    - the C-N bond of amides, thioamides, ureas, carbamates, amidines and guanidines: conjugation holds it planar
      (15-20 kcal/mol), and a force field or a crystal gives the right isomer already. Esters and bonds between an sp2
      atom and an aromatic ring do turn: their barriers are low enough to be crossed in a binding site;
    - bonds along a straight C-C#N or C-C#C-H, which move nothing, and all but one of the bonds along a straight
      R-C#C-R', which are the same motion.
    """
    if rule not in ("chemical", "diffdock"):
        raise ValueError(f"rule is {rule!r}; use 'chemical' or 'diffdock'")
    rows, sides = [], []
    excluded = _conjugated_bonds(mol) if rule == "chemical" else set()
    for bond in mol.GetBonds():
        if bond.IsInRing() or bond.GetIdx() in excluded:
            continue
        if rule == "chemical" and not (bond.GetBondType() == Chem.BondType.SINGLE and _leads_its_axis(bond)):
            continue
        a, b = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        side_a, side_b = _side(mol, a, b), _side(mol, b, a)
        turned, u, v = (side_a, b, a) if (len(side_a), min(side_a)) < (len(side_b), min(side_b)) else (side_b, a, b)
        if len(turned) > 1:
            rows.append((u, v))
            sides.append(turned)
    mask = np.zeros((len(rows), mol.GetNumAtoms()), dtype=np.bool_)
    for row, turned in enumerate(sides):
        mask[row, sorted(turned)] = True
    return np.array(rows, dtype=np.int64).reshape(-1, 2), mask


def _side(mol: Chem.Mol, start: int, across: int) -> set[int]:
    """Atoms reached from ``start`` without the bond to ``across``."""
    seen, front = {start}, [start]
    while front:
        atom = front.pop()
        for neighbour in mol.GetAtomWithIdx(atom).GetNeighbors():
            index = neighbour.GetIdx()
            if index not in seen and (atom, index) != (start, across):
                seen.add(index)
                front.append(index)
    return seen


def _conjugated_bonds(mol: Chem.Mol) -> set[int]:
    matches = mol.GetSubstructMatches(Chem.MolFromSmarts(_CONJUGATED_NITROGEN), uniquify=False, maxMatches=100_000)
    return {mol.GetBondBetweenAtoms(carbon, nitrogen).GetIdx() for carbon, _, nitrogen in matches}


def _leads_its_axis(bond: Chem.Bond) -> bool:
    """Whether a single bond turns something and is the first one on its straight line through triple bonds."""
    for atom in (bond.GetBeginAtom(), bond.GetEndAtom()):
        while triple := next((b for b in atom.GetBonds() if b.GetBondType() == Chem.BondType.TRIPLE), None):
            far = triple.GetOtherAtom(atom)
            onward = next((b for b in far.GetBonds() if b.GetIdx() != triple.GetIdx()), None)
            if onward is None or onward.GetIdx() < bond.GetIdx():
                return False
            atom = onward.GetOtherAtom(far)
    return True
