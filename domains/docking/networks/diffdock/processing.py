"""From a ligand and a protein to the graphs that DiffDock's weights were trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from scipy.spatial import cKDTree
from torch import Tensor

from domains.docking.networks.diffdock.graphs import LigandGraph, ReceptorAtoms, ReceptorGraph
from domains.docking.structures.atom_features import atom_features, bonds
from domains.docking.structures.protein import Protein
from domains.docking.structures.residues import ATOM_NAME_VOCABULARY, RESIDUE_VOCABULARY, SIDE_CHAINS
from domains.docking.structures.torsions import torsions
from domains.errors import InputError, InputProblem

_READERS: Final[Mapping[str, Callable[..., Chem.Mol | None]]] = {
    ".sdf": Chem.MolFromMolFile,
    ".mol": Chem.MolFromMolFile,
    ".mol2": Chem.MolFromMol2File,
    ".pdb": Chem.MolFromPDBFile,
}
_BOND_TYPES: Final = 4
_UNKNOWN_RESIDUE: Final = 37  # the last of 38; the first 20 are those of RESIDUE_VOCABULARY
_BACKBONE: Final = ("N", "CA", "C", "O")
_NAMES: Final = (*sorted(name for name in ATOM_NAME_VOCABULARY if name != "other"), "misc")
# The element and the letter of the place in the chain; S* stands for no atom of the 20 residues.
_PLACES: Final = (*sorted({f"{name:*<2}"[:2] for name in _NAMES[:-1]} | {"S*"}), "misc")
_ATOMIC_NUMBERS: Final = {"C": 6, "N": 7, "O": 8, "S": 16}


def read_molecule(path: Path) -> Chem.Mol:
    """The first molecule of an SDF, MOL2 or PDB file as the published code reads it: heavy atoms, with coordinates.

    It differs from that of a `Ligand` in its chirality tags: a file with hydrogens gives one to every tetrahedral
    atom, CH2 groups too, by the order of its hydrogens. The weights were trained with them.

    Raises:
        InputError: if RDKit cannot read the file or sanitise the molecule.
    """
    remedy = "correct the file, or give the ligand as SMILES"
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        message = f"files called *{path.suffix} cannot be read"
        raise InputError(InputProblem(str(path), "", message, f"give one of {', '.join(_READERS)}"))
    with rdBase.BlockLogs():
        try:
            mol = reader(str(path), sanitize=False, removeHs=False)
            if mol is None:
                raise InputError(InputProblem(str(path), "", "RDKit cannot read it", remedy))
            Chem.SanitizeMol(mol)
            return Chem.RemoveAllHs(mol)
        except (OSError, ValueError) as error:
            raise InputError(InputProblem(str(path), "", f"RDKit refuses it ({error})", remedy)) from error


def ligand_graph(mol: Chem.Mol, name: str) -> LigandGraph:
    """The graph of a ligand's heavy atoms, of :func:`read_molecule` or `Ligand.mol`.

    Every bond outside rings with two heavy atoms on either side turns, whatever its order, as in the published code.
    Each directed bond that points to the smaller side stands for one torsion, in the order of the bonds.

    Raises:
        InputError: naming `name`, if a bond is none of single, double, triple and aromatic.
    """
    ends, types = bonds(mol)
    if (types >= _BOND_TYPES).any():
        odd = {str(bond.GetBondType()).lower() for bond in mol.GetBonds()} - {"single", "double", "triple", "aromatic"}
        message = f"it has {' and '.join(sorted(odd))} bonds, which DiffDock's features have no place for"
        raise InputError(InputProblem(name, "", message, "dock it with the weights of this package"))
    turning, turned = torsions(mol, "diffdock")
    place = {(u, v): e for e, (u, v) in enumerate(ends.T.tolist())}
    edges = np.array([place[u, v] for u, v in turning.tolist()], dtype=np.int64)
    rotatable = np.zeros(len(types), dtype=np.bool_)
    rotatable[edges] = True
    return LigandGraph(
        torch.from_numpy(atom_features(mol)),
        torch.from_numpy(ends),
        torch.from_numpy(types),
        torch.from_numpy(rotatable),
        torch.from_numpy(turned[np.argsort(edges)]),
    )


def receptor_graph(
    protein: Protein,
    language_model: Tensor | None,
    neighbours: int = 24,
    reach: float | None = None,
    *,
    atoms: tuple[int, float | None] | None = None,
) -> ReceptorGraph:
    """The graph of a receptor, in the frame of :func:`receptor_centre`.

    Args:
        protein: residues with an alpha carbon become nodes, in the order of the file.
        language_model: (residues, 1280) in the same order.
        neighbours: nearest residues, that each residue sends messages to.
        reach: Å; neighbours beyond it are left out, but for the nearest one. None keeps all.
        atoms: with the atoms that the confidence model sees, and this many neighbours within that reach of each.

    Raises:
        InputError: if there are not as many embeddings as residues, or a single residue.
    """
    ca = np.flatnonzero(protein.is_ca)
    if len(ca) < 2:
        message = f"it has {len(ca)} residues with an alpha carbon"
        raise InputError(InputProblem(str(protein.path), "", message, "give a protein of at least 2"))
    if language_model is not None and len(language_model) != len(ca):
        message = f"it has {len(ca)} residues, but there are embeddings for {len(language_model)}"
        remedy = "make the embeddings from this file's sequence"
        raise InputError(InputProblem(str(protein.path), "", message, remedy))
    positions = protein.positions[ca] - receptor_centre(protein)
    return ReceptorGraph(
        residue_types(torch.from_numpy(protein.residue[ca])),
        language_model,
        torch.from_numpy(positions),
        torch.from_numpy(nearest(positions, neighbours, reach)),
        _atoms(protein, *atoms) if atoms else None,
    )


def receptor_centre(protein: Protein) -> NDArray[np.float32]:
    """(3,) Å, mean alpha carbon in the file's frame: the origin of the receptor's graph."""
    centre: NDArray[np.float32] = protein.positions[protein.is_ca].mean(0)
    return centre


def residue_types(vocabulary: Tensor) -> Tensor:
    """DiffDock's 38 types of residues from places in RESIDUE_VOCABULARY."""
    return torch.where(vocabulary < len(RESIDUE_VOCABULARY) - 1, vocabulary, _UNKNOWN_RESIDUE)


def nearest(positions: NDArray[np.float32], neighbours: int, reach: float | None) -> NDArray[np.int64]:
    """(2, E): for each node in turn its nearest others (row 0), nearest first, and itself (row 1)."""
    k = min(neighbours, len(positions) - 1)
    distance, index = cKDTree(positions).query(positions, k + 1)
    itself = np.arange(len(positions))[:, None]
    other = index != itself
    other[other.all(1), -1] = False  # another point in the same place came first
    keep = other if reach is None else other & ((distance < reach) | (np.cumsum(other, 1) == 1))
    return np.stack([index[keep], np.broadcast_to(itself, index.shape)[keep]]).astype(np.int64)


def _atoms(protein: Protein, neighbours: int, reach: float | None) -> ReceptorAtoms:
    """Backbone and side-chain atoms of the 20 residues, by residues that have an alpha carbon."""
    place = np.full(len(protein.residue_ids), -1)
    place[protein.residue_index[protein.is_ca]] = np.arange(int(protein.is_ca.sum()))
    types = residue_types(torch.from_numpy(protein.residue)).tolist()
    rows, features = [], []
    for i, name in enumerate(ATOM_NAME_VOCABULARY[name] for name in protein.atom_name):
        known = types[i] != _UNKNOWN_RESIDUE
        if place[protein.residue_index[i]] < 0 or not known:
            continue
        if name not in _BACKBONE and name not in SIDE_CHAINS[RESIDUE_VOCABULARY[types[i]]]:
            continue
        rows.append(i)
        element = _ATOMIC_NUMBERS[name[0]] - 1
        features.append((types[i], element, _PLACES.index(f"{name:*<2}"[:2]), _NAMES.index(name)))
    positions = protein.positions[rows] - receptor_centre(protein)
    return ReceptorAtoms(
        torch.tensor(np.array(features, dtype=np.int64)),
        torch.from_numpy(positions),
        torch.from_numpy(nearest(positions, neighbours, reach)),
        torch.from_numpy(place[protein.residue_index[rows]]),
    )
