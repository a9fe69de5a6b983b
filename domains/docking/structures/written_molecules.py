"""From a molecule as it is written to one that is sound: old ways to write charges, valences, radicals."""

from __future__ import annotations

import numpy as np
from rdkit import Chem, rdBase
from scipy.spatial.distance import pdist

TEMPLATE_REMEDY = "give its SMILES as a template (--template), or an SDF with bond orders and hydrogens"
_NON_METALS = frozenset((2, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 32, 33, 34, 35, 36, 51, 52, 53, 54, 85, 86))
_COINCIDENT = 0.1  # Å; no bond is shorter than 0.7 Å
_ORDERS = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE, Chem.BondType.AROMATIC)
_MAY_HOLD = {6: 4, 15: 5, 16: 6}  # bonds of an atom without charge; RDKit itself reads N(=O)=O


class UnusableError(Exception):
    """What is wrong with a molecule, and what to do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message, self.remedy = message, remedy


def sanitised(mol: Chem.Mol) -> tuple[Chem.Mol, tuple[str, ...]]:
    """The molecule with RDKit's perception, and what had to be repaired for it. Raises ``UnusableError``."""
    if any(_is_query(bond) for bond in mol.GetBonds()):
        raise UnusableError("some of its bonds have no order (query bonds, such as 'any')", TEMPLATE_REMEDY)
    declared = [atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()]
    mol, repairs = _repaired(mol)
    with rdBase.BlockLogs():
        try:
            Chem.SanitizeMol(mol)
        except Chem.MolSanitizeException as error:
            message = f"RDKit cannot sanitise the molecule ({error})"
            remedy = "correct its valences, charges and aromatic bonds, or give its SMILES as a template (--template)"
            raise UnusableError(message, remedy) from error
    short = [a for a, n in zip(mol.GetAtoms(), declared, strict=True) if a.GetNumRadicalElectrons() > n]
    if short:
        named = ", ".join(f"{atom.GetSymbol()}{atom.GetIdx() + 1}" for atom in short[:5])
        message = f"{len(short)} of its atoms lack a bond, a hydrogen or a charge ({named})"
        raise UnusableError(message, TEMPLATE_REMEDY)
    return mol, repairs


def _is_query(bond: Chem.Bond) -> bool:
    """Whether its order is open. A MOL file's types 5 to 8 are, though RDKit gives "single or double" a single one."""
    written = bond.GetIntProp("_MolFileBondType") if bond.HasProp("_MolFileBondType") else 0
    return bond.GetBondType() not in (*_ORDERS, Chem.BondType.DATIVE) or written in (5, 6, 7, 8)


def _repaired(mol: Chem.Mol) -> tuple[Chem.Mol, tuple[str, ...]]:
    """A copy in which groups of too high a valence are written as today, where there is one way to."""
    mol = Chem.RWMol(mol)
    repairs: dict[str, int] = {}
    for atom in mol.GetAtoms():
        kinds = {bond.GetBondType() for bond in atom.GetBonds()}
        if not kinds <= {Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE}:
            continue
        valence = int(sum(bond.GetBondTypeAsDouble() for bond in atom.GetBonds()))
        if what := _with_charge(atom, valence) or _with_oxides(atom, valence):
            repairs[what] = repairs.get(what, 0) + 1
    return mol.GetMol(), tuple(f"{n} x {what}" if n > 1 else what for what, n in repairs.items())


def _with_charge(atom: Chem.Atom, valence: int) -> str:
    """Nitrogen with four bonds and no charge gets one, and gives its own to an oxide."""
    if atom.GetAtomicNum() != 7 or atom.GetFormalCharge() or valence != 4:
        return ""
    atom.SetFormalCharge(1)
    oxides = _bare_oxygens(atom, Chem.BondType.SINGLE)
    if len(oxides) == 1:
        oxides[0].GetOtherAtom(atom).SetFormalCharge(-1)
    return f"N with four bonds read as {'[N+][O-]' if len(oxides) == 1 else '[N+]'}"


def _with_oxides(atom: Chem.Atom, valence: int) -> str:
    """O=C=O with a further bond is a carboxylate, and the like for sulphur and phosphorus."""
    limit = _MAY_HOLD.get(atom.GetAtomicNum(), valence)
    oxygens = _bare_oxygens(atom, Chem.BondType.DOUBLE)
    excess = valence - limit
    if atom.GetFormalCharge() not in (0, -1) or not 0 < excess < len(oxygens):
        return ""
    for bond in oxygens[-excess:]:
        bond.SetBondType(Chem.BondType.SINGLE)
        bond.GetOtherAtom(atom).SetFormalCharge(-1)
    atom.SetFormalCharge(0)
    symbol, oxo = atom.GetSymbol(), "(=O)" * len(oxygens)
    return f"{symbol}{oxo} with {valence} bonds read as {symbol}{'(=O)' * (len(oxygens) - excess)}{'([O-])' * excess}"


def _bare_oxygens(atom: Chem.Atom, order: Chem.BondType) -> list[Chem.Bond]:
    """Bonds of that order to oxygens without charge or other bonds."""
    bonds = ((bond, bond.GetOtherAtom(atom)) for bond in atom.GetBonds() if bond.GetBondType() == order)
    return [bond for bond, o in bonds if o.GetAtomicNum() == 8 and o.GetDegree() == 1 and o.GetFormalCharge() == 0]


def check_composition(mol: Chem.Mol) -> None:
    """Raises ``UnusableError`` for a molecule, with or without hydrogens, that is none to dock."""
    heavy = [atom for atom in mol.GetAtoms() if atom.GetAtomicNum() != 1]
    if metals := sorted({a.GetSymbol() for a in heavy if a.GetAtomicNum() not in _NON_METALS}):
        remedy = "remove the record: metals and dummy atoms cannot be docked"
        raise UnusableError(f"it contains {', '.join(metals)}", remedy)
    if len(heavy) < 2:
        raise UnusableError("it has fewer than two heavy atoms", "remove the record: ions cannot be docked")
    if (fragments := len(Chem.GetMolFrags(mol))) > 1:
        remedy = "keep one molecule a record, without counter-ions or solvent"
        raise UnusableError(f"it has {fragments} fragments", remedy)


def check_positions(mol: Chem.Mol) -> None:
    """Raises ``UnusableError`` if the heavy atoms of a conformer are nowhere, or at one place."""
    remedy = "give 3-D coordinates, or a SMILES"
    heavy = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() != 1]
    positions = mol.GetConformer().GetPositions()[heavy]
    if not np.isfinite(positions).all():
        raise UnusableError("some coordinates are not numbers", remedy)
    if len(positions) > 1 and (positions == 0).all():
        raise UnusableError("all coordinates are zero", remedy)
    if len(positions) > 1 and pdist(positions).min() < _COINCIDENT:
        raise UnusableError(f"two heavy atoms are closer than {_COINCIDENT} Å", remedy)
