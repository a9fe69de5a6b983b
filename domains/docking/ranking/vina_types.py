"""What AutoDock Vina's score wants to know of an atom: radius, hydrophobic or not, hydrogen-bond donor, acceptor.

Vina (Trott & Olson 2010, doi 10.1002/jcc.21334) works on heavy atoms; hydrogens only decide who is a donor. A ligand's
come from its valences. A protein file without hydrogens leaves both nitrogens of histidine open, and every N and O of
a hetero group: they count as donor and acceptor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

import gemmi
import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from domains.docking.structures.ligand import Ligand
from domains.docking.structures.protein import Protein
from domains.docking.structures.residues import ATOM_NAME_VOCABULARY, RESIDUE_VOCABULARY

RADII: Final = {6: 1.9, 7: 1.8, 8: 1.7, 9: 1.5, 14: 2.2, 15: 2.1, 16: 2.0, 17: 1.8, 35: 2.0, 53: 2.2, 85: 2.3}
"""Å, by atomic number: the "XS" radii of Vina 1.2. Metals have `METAL_RADIUS`, other elements carbon's."""

METAL_RADIUS: Final = 1.2

_HALOGENS: Final = (9, 17, 35, 53)
_DONORS: Final = {
    **{"ARG": ("NE", "NH1", "NH2"), "ASN": ("ND2",), "GLN": ("NE2",), "HIS": ("ND1", "NE2"), "LYS": ("NZ",)},
    **{"SER": ("OG",), "THR": ("OG1",), "TRP": ("NE1",), "TYR": ("OH",)},
}
"""Side-chain atoms with a hydrogen on nitrogen or oxygen; the backbone's N is one outside of proline."""

_ACCEPTING_NITROGENS: Final = {"HIS": ("ND1", "NE2")}

# As Meeko types them for AutoDock: nitrogens without a lone pair to give.
_NO_LONE_PAIR: Final = ("[#7X3v3][a]", "[#7X3v3][#6X3v4]", "[#7X3v3][NX2]=[*]", "[#7+1]")


@final
@dataclass(frozen=True, eq=False)
class AtomTypes:
    """Of N atoms.

    Attributes:
        radius: (N,) Å.
        hydrophobic, donor, acceptor: (N,) bool.
    """

    radius: NDArray[np.float64]
    hydrophobic: NDArray[np.bool_]
    donor: NDArray[np.bool_]
    acceptor: NDArray[np.bool_]

    def __getitem__(self, rows: NDArray[np.intp]) -> AtomTypes:
        return AtomTypes(self.radius[rows], self.hydrophobic[rows], self.donor[rows], self.acceptor[rows])


def ligand_types(ligand: Ligand) -> AtomTypes:
    """Of the heavy atoms of a ligand."""
    atoms = list(ligand.mol.GetAtoms())
    numbers = np.array([atom.GetAtomicNum() for atom in atoms])
    hydrogens = np.array([atom.GetTotalNumHs() for atom in atoms])
    polar = np.isin(numbers, (7, 8))
    paired = np.isin(numbers, (7, 8))
    # The patterns count hydrogens as connections, which RDKit does with implicit ones too.
    for smarts in _NO_LONE_PAIR:
        for match in ligand.mol.GetSubstructMatches(Chem.MolFromSmarts(smarts)):
            paired[match[0]] = False
    paired |= numbers == 8
    return _types(numbers, ligand.bond_index, polar & (hydrogens > 0), paired)


def protein_types(protein: Protein) -> AtomTypes:
    """Of the atoms of a protein."""
    numbers = protein.atomic_number
    residue, name = protein.residue, protein.atom_name
    other = RESIDUE_VOCABULARY.index("other")
    polar, hetero = np.isin(numbers, (7, 8)), residue == other
    amide = (name == ATOM_NAME_VOCABULARY.index("N")) & (residue != RESIDUE_VOCABULARY.index("PRO")) & ~hetero
    donor = (numbers == 7) & amide | polar & hetero | _is_metal(numbers)
    acceptor = (numbers == 8) | (numbers == 7) & hetero
    donor |= _named(residue, name, _DONORS)
    acceptor |= _named(residue, name, _ACCEPTING_NITROGENS)
    ends = protein.bonds.T
    return _types(numbers, np.concatenate([ends, ends[::-1]], axis=1), donor, acceptor)


def _named(
    residue: NDArray[np.int64], name: NDArray[np.int64], atoms: Mapping[str, tuple[str, ...]]
) -> NDArray[np.bool_]:
    found = np.zeros(len(residue), dtype=np.bool_)
    for kind, names in atoms.items():
        wanted = [ATOM_NAME_VOCABULARY.index(own) for own in names]
        found |= (residue == RESIDUE_VOCABULARY.index(kind)) & np.isin(name, wanted)
    return found


def _types(
    numbers: NDArray[np.int64], ends: NDArray[np.int64], donor: NDArray[np.bool_], acceptor: NDArray[np.bool_]
) -> AtomTypes:
    """`ends` (2, E): every bond in both directions."""
    radius = np.array([RADII.get(int(number), RADII[6]) for number in numbers])
    radius[_is_metal(numbers)] = METAL_RADIUS
    hetero = ~np.isin(numbers, (1, 6))
    bound = np.zeros(len(numbers), dtype=np.bool_)
    bound[ends[0][hetero[ends[1]]]] = True
    hydrophobic = (numbers == 6) & ~bound | np.isin(numbers, _HALOGENS)
    return AtomTypes(radius, hydrophobic, donor, acceptor)


def _is_metal(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    kinds, inverse = np.unique(numbers, return_inverse=True)
    return np.array([gemmi.Element(int(number)).is_metal for number in kinds], dtype=np.bool_)[inverse]
