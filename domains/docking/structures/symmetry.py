"""Ligands as graphs of elements and bonds: their symmetries, and which atom of one record is which of another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from domains.docking.structures.ligand import Ligand
from domains.errors import InputError, InputProblem


def automorphisms(ligand: Ligand, limit: int = 100_000) -> NDArray[np.intp]:
    """All permutations (S, A) of the heavy atoms that keep elements and bonds; the identity is one of them.

    Bond orders and charges do not count, as in spyrmsd (Meli & Biggin 2020, doi 10.1186/s13321-020-00455-2): the two
    oxygens of a carboxylate are equivalent although one of their bonds is written double. RDKit's CalcRMS counts bond
    orders, see :func:`keeping_bond_orders`.

    Raises:
        InputError: if there are more than `limit`. A part of them would give an RMSD that is too large.
    """
    graph = _of_ligand(ligand)
    # A match of a graph on itself is onto, and its inverse is a match too: atom i goes where match[i] was.
    matches = graph.GetSubstructMatches(graph, uniquify=False, maxMatches=limit + 1)
    if len(matches) > limit:
        message = f"the molecule has more than {limit} symmetries"
        raise InputError(InputProblem(ligand.name, "", message, "leave it out: its RMSD cannot be corrected for them"))
    return np.array(matches, dtype=np.intp)


def keeping_bond_orders(ligand: Ligand, permutations: NDArray[np.intp]) -> NDArray[np.intp]:
    """Those of the permutations (S, A) that keep bond orders as well, as RDKit's CalcRMS counts symmetry.

    As there, the ends of conjugated terminal groups (the oxygens of acids, nitro groups and phosphates, the nitrogens
    of amidines) are alike. DiffDock and its successors report spyrmsd's RMSD, over all permutations of
    :func:`automorphisms`, and so does this package; RDKit's is never smaller.
    """
    orders = np.zeros((ligand.n_atoms, ligand.n_atoms))
    for bond in ligand.mol.GetBonds():
        a, b = bond.GetBeginAtom(), bond.GetEndAtom()
        alike = _ends_conjugated_group(a, b) or _ends_conjugated_group(b, a)
        order = -1.0 if alike else bond.GetBondTypeAsDouble()
        orders[a.GetIdx(), b.GetIdx()] = orders[b.GetIdx(), a.GetIdx()] = order
    kept = [(orders[np.ix_(p, p)] == orders).all() for p in permutations]
    return permutations[np.array(kept, dtype=np.bool_)]


def _ends_conjugated_group(end: Chem.Atom, centre: Chem.Atom) -> bool:
    """Whether `end` is a terminal O or N on a centre that holds one of them by a double bond."""

    def is_end(atom: Chem.Atom) -> bool:
        return atom.GetAtomicNum() in (7, 8) and atom.GetDegree() == 1

    double = (bond.GetOtherAtom(centre) for bond in centre.GetBonds() if bond.GetBondType() == Chem.BondType.DOUBLE)
    return is_end(end) and any(is_end(other) for other in double)


def same_atoms(ligand: Ligand, atomic_numbers: NDArray[np.int64], bonds: NDArray[np.int64]) -> NDArray[np.intp] | None:
    """For each atom of the ligand (A,) its place in another molecule, ``None`` if that is not the same graph.

    The other molecule: atomic_numbers (A',); bonds (E', 2), each bond once, in either direction. Of several ways that
    the symmetry of the molecule allows, one is given.
    """
    if sorted(atomic_numbers.tolist()) != sorted(a.GetAtomicNum() for a in ligand.mol.GetAtoms()):
        return None
    if len(bonds) != ligand.mol.GetNumBonds():
        return None
    match = _graph(atomic_numbers, bonds).GetSubstructMatch(_of_ligand(ligand))
    return np.array(match, dtype=np.intp) if match else None


def _of_ligand(ligand: Ligand) -> Chem.Mol:
    numbers = np.array([atom.GetAtomicNum() for atom in ligand.mol.GetAtoms()])
    return _graph(numbers, ligand.bond_index[:, ::2].T)


def _graph(atomic_numbers: NDArray[np.int64], bonds: NDArray[np.int64]) -> Chem.Mol:
    """A molecule with elements as the only labels."""
    graph = Chem.RWMol()
    for number in atomic_numbers.tolist():
        graph.AddAtom(Chem.Atom(number))
    for a, b in bonds.tolist():
        graph.AddBond(a, b, Chem.BondType.SINGLE)
    return graph.GetMol()
