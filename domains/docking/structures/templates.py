"""Bond orders and charges from a SMILES, for a molecule whose file lost them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom

NO_TEMPLATES: Mapping[str, Chem.Mol] = {}
_MOST = 1000  # ways to lay a template on a molecule that are compared


def templates_of(smiles: Iterable[str]) -> Mapping[str, Chem.Mol]:
    """Templates by the skeleton of the molecules that they are for. Raises ``ValueError`` for one that is no SMILES."""
    found = {}
    for text in smiles:
        with rdBase.BlockLogs():
            mol = Chem.MolFromSmiles(text)
        if mol is None or not mol.GetNumAtoms():
            raise ValueError(f"template is {text!r}, which RDKit cannot read; give a SMILES")
        mol = Chem.RemoveAllHs(mol)
        found[skeleton(mol)] = mol
    return found


def skeleton(mol: Chem.Mol) -> str:
    """Elements and bonds of the heavy atoms, without orders, charges and stereo, whatever their numbering."""
    return Chem.MolToSmiles(_bare(mol))


def with_template(mol: Chem.Mol, template: Chem.Mol) -> Chem.Mol:
    """The heavy atoms of `mol`, in their order and with their coordinates; all else from a template of its skeleton.

    Of several ways to lay the template on the molecule (which oxygen of an acid is =O?) that one is taken whose bond
    lengths and angles fit the coordinates best. Stereo is not taken from the template.
    """
    bare = _bare(mol)
    positions = bare.GetConformer().GetPositions()
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    bounds = rdDistGeom.GetMoleculeBoundsMatrix(template)
    ideal = (np.triu(bounds, 1) + np.tril(bounds, -1).T) / 2
    a, b = np.nonzero(np.triu(Chem.GetDistanceMatrix(template) <= 2, 1))
    ways = np.array(bare.GetSubstructMatches(_bare(template), uniquify=False, maxMatches=_MOST))
    best = ways[np.argmin([np.square(distance[way[a], way[b]] - ideal[a, b]).sum() for way in ways])]
    out = Chem.RWMol(bare)
    for atom, place in zip(template.GetAtoms(), best.tolist(), strict=True):
        new = Chem.Atom(atom)
        new.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
        out.ReplaceAtom(place, new)
    for bond in template.GetBonds():
        copy = out.GetBondBetweenAtoms(int(best[bond.GetBeginAtomIdx()]), int(best[bond.GetEndAtomIdx()]))
        copy.SetBondType(bond.GetBondType())
        copy.SetIsAromatic(bond.GetIsAromatic())
    return out.GetMol()


def _bare(mol: Chem.Mol) -> Chem.Mol:
    """Heavy atoms in their order with single bonds, and their coordinates if there are any."""
    heavy = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() != 1]
    place = {atom: i for i, atom in enumerate(heavy)}
    bare = Chem.RWMol()
    for atom in heavy:
        new = Chem.Atom(mol.GetAtomWithIdx(atom).GetAtomicNum())
        new.SetNoImplicit(True)
        bare.AddAtom(new)
    for bond in mol.GetBonds():
        a, b = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        if a in place and b in place:
            bare.AddBond(place[a], place[b], Chem.BondType.SINGLE)
    if mol.GetNumConformers():
        conformer = Chem.Conformer(len(heavy))
        conformer.SetPositions(mol.GetConformer().GetPositions()[heavy])
        bare.AddConformer(conformer)
    return bare.GetMol()
