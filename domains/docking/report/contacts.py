"""What holds a pose: hydrogen bonds, salt bridges, stacked rings, metals and hydrophobic contacts.

Criteria as in PLIP (Salentin et al. 2015, doi 10.1093/nar/gkv315), on heavy atoms: poses have no hydrogens.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, final

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from scipy.spatial import cKDTree

from domains.docking.report.receptor_groups import ReceptorAtoms

HYDROGEN_BOND: Final = 3.5  # Å between donor and acceptor (PLIP: 4.1 with hydrogens to check the angle by)
SALT_BRIDGE: Final = 4.0  # Å between atoms of opposite charge (Barlow & Thornton 1983)
HYDROPHOBIC: Final = 4.0  # Å between carbons
METAL: Final = 2.8  # Å between a metal and what binds it
RING_DISTANCE: Final = 5.5  # Å between centres of rings
RING_OFFSET: Final = 2.0  # Å of one centre from the other's axis
RING_ANGLE: Final = 30.0  # degrees from parallel, or from perpendicular
LEAST_ANGLE: Final = 90.0  # degrees at donor and acceptor, between what they are bonded to and each other

Kind = Literal["hydrogen bond", "salt bridge", "pi stacking", "metal", "hydrophobic"]
KINDS: Final[tuple[Kind, ...]] = ("salt bridge", "hydrogen bond", "pi stacking", "metal", "hydrophobic")

_POSITIVE: Final = ("[+1,+2;!$(*~[-])]", "[NX3;H2,H1,H0;!$(N-[#6]=,:[!#6,#6]);!$(N-a);!$(N-[S,P,O,N]);!$(N-C#*)]")
_AMIDINE: Final = "[NX3,NX2;$(N-C(=N)),$(N=C(-N))]"
_NEGATIVE: Final = ("[-1,-2;!$(*~[+])]", "[$([OX1]=[C,S,P]-[OX2H1,OX1-]),$([OX2H1]-[C,S,P]=[OX1])]")
_ACCEPTOR: Final = "[$([O;!+]),$([n;H0;X2]),$([N;X1,X2;!+]),$([N;X3;!+;!$(N-*=,:*);!$(N-a);!$(N-S)]),$([S;X1])]"
_DONOR: Final = "[#7,#8,#16;!H0]"
_CARBON: Final = "[#6;!$([#6]~[!#6;!#1])]"


@final
@dataclass(frozen=True)
class Contact:
    """One contact.

    Attributes:
        residue: "A:45 HIS".
        kind: one of KINDS.
        distance: Å, between the two ends.
        ligand: where it is on the ligand, Å.
        protein: where it is on the protein, Å.
        atoms: of the ligand.
        detail: the protein's atom, or how rings are stacked.
    """

    residue: str
    kind: Kind
    distance: float
    ligand: tuple[float, float, float]
    protein: tuple[float, float, float]
    atoms: tuple[int, ...]
    detail: str


def contacts(mol: Chem.Mol, receptor: ReceptorAtoms) -> list[Contact]:
    """Of a pose (heavy atoms with a conformer, in the protein's frame), strongest kinds first, then by distance.

    A residue has one hydrophobic contact, its closest, and none where its ring is stacked; a pair of atoms in a salt
    bridge is no hydrogen bond too. Acids, amines, amidines and guanidines count as charged, whatever the file says.
    """
    at = mol.GetConformer().GetPositions()
    tree = cKDTree(receptor.positions)
    near = np.array(sorted(set().union(*tree.query_ball_point(at, RING_DISTANCE + 3.0))), dtype=np.int64)
    if not len(near):
        return []
    bridges = _salt_bridges(mol, at, receptor, near)
    joined = {(contact.residue, atom) for contact in bridges for atom in contact.atoms}
    bonds = [c for c in _hydrogen_bonds(mol, at, receptor, near, tree) if (c.residue, c.atoms[0]) not in joined]
    rings = _stacked_rings(mol, at, receptor)
    stacked = {contact.residue for contact in rings}
    carbons = [c for c in _closest(_hydrophobic(mol, at, receptor, near)) if c.residue not in stacked]
    found = [*bridges, *bonds, *rings, *_metals(mol, at, receptor, near), *carbons]
    return sorted(found, key=lambda c: (KINDS.index(c.kind), c.distance))


def _matches(mol: Chem.Mol, patterns: Iterable[str]) -> set[int]:
    return {match[0] for pattern in patterns for match in mol.GetSubstructMatches(_query(pattern))}


@cache
def _query(pattern: str) -> Chem.Mol:
    return Chem.MolFromSmarts(pattern)


def _pairs(
    kind: Kind,
    mine: Iterable[int],
    theirs: NDArray[np.int64],
    reach: float,
    at: NDArray[np.float64],
    receptor: ReceptorAtoms,
) -> list[Contact]:
    """Contacts of atoms at most `reach` Å apart."""
    found = []
    for atom in sorted(mine):
        distance = np.linalg.norm(receptor.positions[theirs] - at[atom], axis=1)
        for place in np.flatnonzero(distance <= reach):
            index = int(theirs[place])
            found.append(
                Contact(
                    receptor.residue[index],
                    kind,
                    float(distance[place]),
                    _xyz(at[atom]),
                    _xyz(receptor.positions[index]),
                    (atom,),
                    receptor.name[index],
                )
            )
    return found


def _salt_bridges(
    mol: Chem.Mol, at: NDArray[np.float64], receptor: ReceptorAtoms, near: NDArray[np.int64]
) -> list[Contact]:
    positive, negative = _matches(mol, (*_POSITIVE, _AMIDINE)), _matches(mol, _NEGATIVE)
    found = _pairs("salt bridge", positive, near[receptor.negative[near]], SALT_BRIDGE, at, receptor)
    found += _pairs("salt bridge", negative, near[receptor.positive[near]], SALT_BRIDGE, at, receptor)
    best: dict[tuple[str, int], Contact] = {}
    for contact in sorted(found, key=lambda c: c.distance):
        best.setdefault((contact.residue, contact.atoms[0]), contact)
    return list(best.values())


def _hydrogen_bonds(
    mol: Chem.Mol, at: NDArray[np.float64], receptor: ReceptorAtoms, near: NDArray[np.int64], tree: cKDTree
) -> list[Contact]:
    donors, acceptors = _matches(mol, (_DONOR,)), _matches(mol, (_ACCEPTOR,))
    found = _pairs("hydrogen bond", donors, near[receptor.acceptor[near]], HYDROGEN_BOND, at, receptor)
    found += _pairs("hydrogen bond", acceptors, near[receptor.donor[near]], HYDROGEN_BOND, at, receptor)
    best: dict[tuple[int, str, str], Contact] = {}
    for contact in sorted(found, key=lambda c: c.distance):
        if _angles_allow(mol, at, contact, receptor, tree):
            best.setdefault((contact.atoms[0], contact.residue, contact.detail), contact)
    return list(best.values())


def _angles_allow(
    mol: Chem.Mol, at: NDArray[np.float64], contact: Contact, receptor: ReceptorAtoms, tree: cKDTree
) -> bool:
    """Whether neither end has a bonded atom between itself and the other end."""
    (atom,), here, there = contact.atoms, np.array(contact.ligand), np.array(contact.protein)
    own = [at[other.GetIdx()] for other in mol.GetAtomWithIdx(atom).GetNeighbors()]
    theirs = [receptor.positions[i] for i in tree.query_ball_point(there, 2.0)]
    theirs = [x for x in theirs if np.linalg.norm(x - there) > 0.1]
    return all(angle(x, here, there) >= LEAST_ANGLE for x in own) and all(
        angle(x, there, here) >= LEAST_ANGLE for x in theirs
    )


def _metals(mol: Chem.Mol, at: NDArray[np.float64], receptor: ReceptorAtoms, near: NDArray[np.int64]) -> list[Contact]:
    mine = {a.GetIdx() for a in mol.GetAtoms() if a.GetAtomicNum() in (7, 8, 16)}
    return _pairs("metal", mine, near[receptor.metal[near]], METAL, at, receptor)


def _hydrophobic(
    mol: Chem.Mol, at: NDArray[np.float64], receptor: ReceptorAtoms, near: NDArray[np.int64]
) -> list[Contact]:
    mine = _matches(mol, (_CARBON,))
    return _pairs("hydrophobic", mine, near[receptor.hydrophobic[near]], HYDROPHOBIC, at, receptor)


def _closest(found: Iterable[Contact]) -> list[Contact]:
    """Of each residue the closest one."""
    best: dict[str, Contact] = {}
    for contact in sorted(found, key=lambda c: c.distance):
        best.setdefault(contact.residue, contact)
    return list(best.values())


def _stacked_rings(mol: Chem.Mol, at: NDArray[np.float64], receptor: ReceptorAtoms) -> list[Contact]:
    found = []
    info = mol.GetRingInfo()
    for ring in info.AtomRings():
        if not all(mol.GetAtomWithIdx(i).GetIsAromatic() for i in ring):
            continue
        mine = at[list(ring)]
        for other in receptor.rings:
            theirs = receptor.positions[list(other)]
            if stacking := stacked(mine, theirs):
                here, there = mine.mean(0), theirs.mean(0)
                distance = float(np.linalg.norm(here - there))
                residue = receptor.residue[other[0]]
                found.append(Contact(residue, "pi stacking", distance, _xyz(here), _xyz(there), tuple(ring), stacking))
    return found


def stacked(first: NDArray[np.float64], second: NDArray[np.float64]) -> str:
    """How two flat rings (n, 3), Å, are stacked: "parallel", "T-shaped", or "" if they are not."""
    between = second.mean(0) - first.mean(0)
    distance = float(np.linalg.norm(between))
    if not 0 < distance <= RING_DISTANCE:
        return ""
    axes = [normal(first), normal(second)]
    tilt = float(np.degrees(np.arccos(np.clip(abs(axes[0] @ axes[1]), 0.0, 1.0))))
    offset = min(float(np.linalg.norm(between - (between @ axis) * axis)) for axis in axes)
    if offset > RING_OFFSET:
        return ""
    return "parallel" if tilt <= RING_ANGLE else "T-shaped" if tilt >= 90 - RING_ANGLE else ""


def normal(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """The unit vector across a flat ring (n, 3): the direction in which its atoms spread least."""
    _, _, axes = np.linalg.svd(ring - ring.mean(0))
    return np.asarray(axes[-1], dtype=np.float64)


def angle(first: NDArray[np.float64], vertex: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """At the vertex, in degrees."""
    a, b = first - vertex, second - vertex
    cosine = (a @ b) / (np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def _xyz(point: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (round(float(v), 3) for v in point)
    return x, y, z
