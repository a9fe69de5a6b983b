"""Copies of the ligand in a protein file, which would tell the network the answer and clash with every good pose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from domains.docking.structures.ligand import Ligand
from domains.docking.structures.protein import Protein
from domains.docking.structures.symmetry import same_atoms

_SAME_PLACE = 1.0  # Å; no two atoms that are not the same one come this close
_TOUCH = 2.0  # Å; nor do two molecules, one of which is not a copy of the other


def without_copies(protein: Protein, ligand: Ligand, pose: NDArray[np.float32] | None) -> Protein:
    """The protein without what is the ligand in it; ``pose`` (A, 3), Å, is where the ligand binds, if that is known.

    With a pose: residues in its place, whatever they are called (half of its atoms, or half of the residue's, have one
    of the other within 1 Å), and the same molecule anywhere within 2 Å of it. Without one: the same molecule anywhere.
    The same molecule is one that is bonded to nothing else and has the ligand's elements and bonds, the latter judged
    by distance; bond orders, charges and stereochemistry do not count.

    Amino acids go only if half of their chain does: a peptide in the ligand's place is the ligand; the residue that a
    covalent ligand's file repeats is not, nor is a side chain that is in the way of a ligand of another structure.
    """
    molecules = _Molecules(protein)
    if pose is None:
        return protein.without_copies(molecules.same_as(ligand, np.arange(len(protein.positions))))
    distance, _ = cKDTree(pose).query(protein.positions)
    same = molecules.same_as(ligand, np.flatnonzero(distance <= _TOUCH))
    return protein.without_copies(sorted({*same, *molecules.in_place_of(pose, distance)}))


def in_place_of(protein: Protein, pose: NDArray[np.float32]) -> list[int]:
    """Residues that lie where a pose (A, 3), Å, is."""
    distance, _ = cKDTree(pose).query(protein.positions)
    return _Molecules(protein).in_place_of(pose, distance)


class _Molecules:
    """Residues of a protein file by the bonds between them."""

    def __init__(self, protein: Protein) -> None:
        self._protein = protein
        ends = protein.residue_index[protein.bonds]
        self._of_residue = _components(ends, len(protein.residue_ids))

    def same_as(self, ligand: Ligand, atoms: NDArray[np.int64]) -> list[int]:
        """Residues of the molecules that have one of the atoms and are the ligand by their elements and bonds."""
        protein = self._protein
        molecule = self._of_residue[protein.residue_index]
        sizes = np.bincount(molecule)
        found: list[int] = []
        for candidate in np.unique(molecule[atoms]):
            if sizes[candidate] != ligand.n_atoms:
                continue
            own = np.flatnonzero(molecule == candidate)
            bonds = np.searchsorted(own, protein.bonds[np.isin(protein.bonds[:, 0], own)])
            if same_atoms(ligand, protein.atomic_number[own], bonds) is not None:
                found += np.flatnonzero(self._of_residue == candidate).tolist()
        return found

    def in_place_of(self, pose: NDArray[np.float32], distance: NDArray[np.float64]) -> list[int]:
        """Residues in the place of a pose (A, 3); distance (N,) Å, of the protein's atoms to it."""
        protein = self._protein
        covered = np.zeros(len(protein.residue_ids), dtype=np.bool_)
        for index in np.unique(protein.residue_index[distance <= _SAME_PLACE]):
            own = protein.residue_index == index
            to_residue, _ = cKDTree(protein.positions[own]).query(pose)
            covered[index] = max(np.mean(to_residue <= _SAME_PLACE), np.mean(distance[own] <= _SAME_PLACE)) >= 0.5
        chain, amino = protein.chain_index, protein.is_amino_acid
        sizes = np.bincount(chain, weights=amino)
        share = np.bincount(chain, weights=covered & amino) / np.maximum(sizes, 1)
        return np.flatnonzero(covered & (~amino | (share[chain] >= 0.5))).tolist()


def _components(edges: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """A label (n,) for the connected component of each node; edges (E, 2)."""
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
