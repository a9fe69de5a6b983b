"""Stereo that a molecule leaves open, so that docking one isomer has to be said."""

from __future__ import annotations

from rdkit import Chem
from rdkit.Chem import EnumerateStereoisomers, rdMolDescriptors

# Acids of phosphorus and sulphur swap their proton between oxygens; an imine's own hydrogen swaps sides in water.
_ACID_CENTRE = "[P,S,As;$(*=[O,S]);$(*-[OH,SH,O-,S-])]"
_FREE_IMINE = "[C]=[NH1]"


def open_stereo(mol: Chem.Mol) -> tuple[str, ...]:
    """Centres ("C6") and double bonds ("C3=C4") of a sanitised molecule without a configuration; counted from 1.

    Left out is what has no isomers to keep apart: see the patterns above, and bridgeheads that only one configuration
    can build.
    """
    free = {tuple(sorted(match)) for match in mol.GetSubstructMatches(Chem.MolFromSmarts(_FREE_IMINE))}
    acids = {atom for (atom,) in mol.GetSubstructMatches(Chem.MolFromSmarts(_ACID_CENTRE))}
    bridge: list[int] = []
    rdMolDescriptors.CalcNumBridgeheadAtoms(mol, atoms=bridge)  # type: ignore[arg-type]  # the stubs know no list
    found: list[str] = []
    rigid: list[str] = []
    for element in Chem.FindPotentialStereo(Chem.Mol(mol)):
        if element.specified == Chem.StereoSpecified.Specified:
            continue
        if element.type == Chem.StereoType.Bond_Double:
            bond = mol.GetBondWithIdx(element.centeredOn)
            ends = sorted((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()))
            if tuple(ends) not in free:
                found.append("=".join(_label(mol, atom) for atom in ends))
        elif element.type == Chem.StereoType.Atom_Tetrahedral and element.centeredOn not in acids:
            (rigid if element.centeredOn in bridge else found).append(_label(mol, element.centeredOn))
    if rigid and not found and not _has_isomers(mol):
        rigid = []
    return (*found, *rigid)


def stereo_remark(drawn: Chem.Mol, docked: Chem.Mol) -> tuple[str, ...]:
    """A line that says which isomer is docked, if the molecule as it was written leaves that open."""
    isomer = Chem.MolToSmiles(docked)
    remarks = []
    if left_open := open_stereo(drawn):
        remarks.append(f"its stereo is open at {', '.join(left_open)}; docked as {isomer}")
    relative = (Chem.StereoGroupType.STEREO_AND, Chem.StereoGroupType.STEREO_OR)
    if any(group.GetGroupType() in relative for group in drawn.GetStereoGroups()):
        remarks.append(f"it stands for several stereoisomers (groups & or o); docked as {isomer}")
    return tuple(remarks)


def _has_isomers(mol: Chem.Mol) -> bool:
    """Whether more than one stereoisomer can be built in space."""
    options = EnumerateStereoisomers.StereoEnumerationOptions(tryEmbedding=True, unique=True, maxIsomers=8, rand=1)
    return len(list(EnumerateStereoisomers.EnumerateStereoisomers(mol, options=options))) > 1


def _label(mol: Chem.Mol, atom: int) -> str:
    return f"{mol.GetAtomWithIdx(atom).GetSymbol()}{atom + 1}"
