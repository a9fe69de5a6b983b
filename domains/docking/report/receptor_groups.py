"""Groups of a protein that a ligand can touch, by names: donors, acceptors, charges, carbons, rings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import gemmi
import numpy as np
from numpy.typing import NDArray

from domains.docking.structures.residues import standard_name

_DONORS: Final = {
    "ARG": ("NE", "NH1", "NH2"),
    "ASN": ("ND2",),
    "CYS": ("SG",),
    "GLN": ("NE2",),
    "HIS": ("ND1", "NE2"),
    "LYS": ("NZ",),
    "SER": ("OG",),
    "THR": ("OG1",),
    "TRP": ("NE1",),
    "TYR": ("OH",),
}
_ACCEPTORS: Final = {
    "ASN": ("OD1",),
    "ASP": ("OD1", "OD2"),
    "GLN": ("OE1",),
    "GLU": ("OE1", "OE2"),
    "HIS": ("ND1", "NE2"),  # which of the two has the hydrogen is not known
    "SER": ("OG",),
    "THR": ("OG1",),
    "TYR": ("OH",),
}
_POSITIVE: Final = {"ARG": ("NE", "NH1", "NH2"), "LYS": ("NZ",)}
_NEGATIVE: Final = {"ASP": ("OD1", "OD2"), "GLU": ("OE1", "OE2")}
_RINGS: Final = {
    "HIS": (("CG", "ND1", "CD2", "CE1", "NE2"),),
    "PHE": (("CG", "CD1", "CD2", "CE1", "CE2", "CZ"),),
    "TRP": (("CG", "CD1", "NE1", "CE2", "CD2"), ("CD2", "CE2", "CE3", "CZ3", "CH2", "CZ2")),
    "TYR": (("CG", "CD1", "CD2", "CE1", "CE2", "CZ"),),
}
_HYDROPHOBIC: Final = {
    "ALA": ("CB",),
    "ARG": ("CB", "CG"),
    "GLN": ("CB",),
    "GLU": ("CB",),
    "ILE": ("CB", "CG1", "CG2", "CD1"),
    "LEU": ("CB", "CG", "CD1", "CD2"),
    "LYS": ("CB", "CG", "CD"),
    "MET": ("CB",),
    "PHE": ("CB", "CG", "CD1", "CD2", "CE1", "CE2", "CZ"),
    "PRO": ("CB", "CG"),
    "THR": ("CG2",),
    "TRP": ("CB", "CG", "CD2", "CE3", "CZ2", "CZ3", "CH2"),
    "TYR": ("CB", "CG", "CD1", "CD2", "CE1", "CE2"),
    "VAL": ("CB", "CG1", "CG2"),
}
"""Carbons that are bonded to carbons alone."""


@final
@dataclass(frozen=True, eq=False)
class ReceptorAtoms:
    """Heavy atoms (N) of a protein file, and what they can do.

    positions  (N, 3) Å; residue: N words "A:45 HIS"; name: N atom names.
    donor, acceptor, positive, negative, hydrophobic, metal  (N,) bool.
    rings      groups of atoms that are aromatic rings.
    """

    positions: NDArray[np.float64]
    residue: tuple[str, ...]
    name: tuple[str, ...]
    donor: NDArray[np.bool_]
    acceptor: NDArray[np.bool_]
    positive: NDArray[np.bool_]
    negative: NDArray[np.bool_]
    hydrophobic: NDArray[np.bool_]
    metal: NDArray[np.bool_]
    rings: tuple[tuple[int, ...], ...]


def read_receptor_atoms(path: Path) -> ReceptorAtoms:
    """The atoms of a PDB file, as docking has written it. Groups that are no amino acids touch by their elements."""
    model = gemmi.read_pdb(str(path))[0]
    rows: list[tuple[gemmi.Atom, gemmi.Residue, str]] = []
    rings: list[tuple[int, ...]] = []
    for chain in model:
        for residue in chain:
            label = f"{chain.name}:{residue.seqid} {residue.name}"
            first = len(rows)
            rows += [(atom, residue, label) for atom in residue if not atom.is_hydrogen()]
            places = {atom.name: first + i for i, (atom, _, _) in enumerate(rows[first:])}
            for ring in _RINGS.get(standard_name(residue.name), ()):
                if all(name in places for name in ring):
                    rings.append(tuple(places[name] for name in ring))
    kinds = [_kinds(atom, standard_name(residue.name)) for atom, residue, _ in rows]

    def having(kind: str) -> NDArray[np.bool_]:
        return np.array([kind in own for own in kinds], dtype=np.bool_)

    return ReceptorAtoms(
        positions=np.array([atom.pos.tolist() for atom, _, _ in rows], dtype=np.float64).reshape(-1, 3),
        residue=tuple(label for _, _, label in rows),
        name=tuple(atom.name for atom, _, _ in rows),
        donor=having("donor"),
        acceptor=having("acceptor"),
        positive=having("positive"),
        negative=having("negative"),
        hydrophobic=having("hydrophobic"),
        metal=having("metal"),
        rings=tuple(rings),
    )


def _kinds(atom: gemmi.Atom, residue: str) -> set[str]:
    if atom.element.is_metal:
        return {"metal"}
    if residue not in _HYDROPHOBIC and residue not in _DONORS and residue not in ("GLY", "ASP"):
        # A cofactor or the like: its nitrogens and oxygens may be either.
        return {"donor", "acceptor"} if atom.element.name in ("N", "O") else set()
    found = {
        kind
        for kind, table in (
            ("donor", _DONORS),
            ("acceptor", _ACCEPTORS),
            ("positive", _POSITIVE),
            ("negative", _NEGATIVE),
            ("hydrophobic", _HYDROPHOBIC),
        )
        if atom.name in table.get(residue, ())
    }
    if atom.name == "N" and residue != "PRO":
        found.add("donor")
    if atom.name in ("O", "OXT"):
        found.add("acceptor")
    return found
