"""Molecules of a MOL2 file: its records as they are written, and as RDKit molecules with bond orders and charges.

RDKit's own reader knows the types of one program only, so the orders of aromatic bonds and the formal charges, which
MOL2 leaves to its reader, are found here (:mod:`domains.docking.structures.mol2_bonds`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from rdkit import Chem
from rdkit.Geometry import Point3D

from domains.docking.structures.mol2_bonds import Assignment, assigned
from domains.docking.structures.templates import NO_TEMPLATES, skeleton
from domains.docking.structures.written_molecules import UnusableError

REMEDY = "MOL2 is the cause: write the molecule as SDF, or give its SMILES as a template (--template)"
_WHOLE = 0.25  # e; partial charges of a molecule add up to a whole number but for their rounding
_FORMS = re.compile(r"^@<TRIPOS>(\w+)[^\n]*\n", re.MULTILINE)
_NUMBER = {Chem.GetPeriodicTable().GetElementSymbol(n).upper(): n for n in range(1, 104)}


@dataclass
class Mol2Record:
    """What a record says.

    elements, types  of A atoms; positions (A, 3), Å; partial charges, e, or none of them.
    bonds            (atom, atom, type) with atoms from 0.
    charges          atom -> formal charge, where the file declares any (UNITY_ATOM_ATTR).
    """

    elements: list[int] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    positions: list[tuple[float, float, float]] = field(default_factory=list)
    partial: list[float] = field(default_factory=list)
    bonds: list[tuple[int, int, str]] = field(default_factory=list)
    charges: dict[int, int] = field(default_factory=dict)


def mol_of_mol2(block: str, templates: Mapping[str, Chem.Mol] = NO_TEMPLATES) -> tuple[Chem.Mol, tuple[str, ...]]:
    """The molecule of a record, not sanitised, and remarks; all bonds are single if there is a template for it.

    Raises:
        UnusableError: if the record is no MOL2, or does not say which molecule it is.
    """
    record = parsed(block)
    if templates:
        bare = _built(record, Assignment.single(record.elements, record.bonds))
        if skeleton(bare) in templates:
            return bare, ()
    found = assigned(record.elements, record.types, record.bonds, record.charges)
    if found is None:
        raise UnusableError("its atom types, bonds and hydrogens fit no molecule without radicals", REMEDY)
    if found.is_ambiguous:
        raise UnusableError("it has no hydrogens, and several tautomers fit it", REMEDY)
    return _built(record, found), _compared(record, sum(found.charges))


def _built(record: Mol2Record, found: Assignment) -> Chem.Mol:
    mol = Chem.RWMol()
    for number, charge, hydrogens in zip(record.elements, found.charges, found.hydrogens, strict=True):
        atom = Chem.Atom(number)
        atom.SetFormalCharge(charge)
        atom.SetNoImplicit(True)
        atom.SetNumExplicitHs(hydrogens)
        mol.AddAtom(atom)
    kinds = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}
    for (a, b, _), order in zip(record.bonds, found.orders, strict=True):
        mol.AddBond(a, b, kinds[order])
    conformer = Chem.Conformer(len(record.elements))
    for index, xyz in enumerate(record.positions):
        conformer.SetAtomPosition(index, Point3D(*xyz))
    mol.AddConformer(conformer)
    return mol.GetMol()


def _compared(record: Mol2Record, charge: int) -> tuple[str, ...]:
    """Nothing if the charges that the file declares, or else its partial charges, add up to the charge that was found.

    Raises ``UnusableError`` if they do not. Open Babel's partial charges of phosphates add up to one of their two
    charges, so that declared ones come first.
    """
    source, total = ("partial", float(np.sum(record.partial))) if any(record.partial) else ("", float(charge))
    if record.charges:
        source, total = "formal", float(sum(record.charges.values()))
    if abs(total - round(total)) > _WHOLE:
        return (f"its partial charges add up to {total:.2f} e, no whole number: its charge of {charge} is not checked",)
    if round(total) != charge:
        message = f"its {source} charges add up to {total:+.2f} e, and its bonds to {charge:+d}"
        raise UnusableError(message, REMEDY)
    return ()


def parsed(block: str) -> Mol2Record:
    """The forms MOLECULE, ATOM, BOND and UNITY_ATOM_ATTR of a record. Raises ``UnusableError``."""
    forms = dict(zip(*[iter(_FORMS.split(block)[1:])] * 2, strict=True))
    lines = {name: [line for line in text.split("\n") if line.strip()] for name, text in forms.items()}
    record = Mol2Record()
    try:
        counts = [int(word) for word in forms["MOLECULE"].split("\n")[1].split()[:2]]
        has_charges = "NO_CHARGES" not in forms["MOLECULE"]
        places = {line.split()[0]: i for i, line in enumerate(lines["ATOM"])}
        for line in lines["ATOM"]:
            words = line.split()
            record.positions.append((float(words[2]), float(words[3]), float(words[4])))
            record.types.append(words[5])
            record.elements.append(_element(words[5]))
            record.partial.append(float(words[8]) if has_charges and len(words) > 8 else 0.0)
        for line in lines.get("BOND", []):
            _, a, b, kind = line.split()[:4]
            record.bonds.append((places[a], places[b], kind.lower()))
        record.charges = _declared(lines.get("UNITY_ATOM_ATTR", []), places)
    except (KeyError, IndexError, ValueError) as error:
        raise UnusableError(f"it is no MOL2 ({type(error).__name__}: {error})", "write the file again") from error
    if len(places) != len(record.types) or counts != [len(record.types), len(record.bonds)][: len(counts)]:
        given = f"{len(record.types)} atoms and {len(record.bonds)} bonds"
        raise UnusableError(f"it has {given}, and says {' and '.join(map(str, counts))}", "write the file again")
    if len({frozenset(bond[:2]) for bond in record.bonds}) < len(record.bonds):
        raise UnusableError("a bond is there twice", "write the file again")
    return record


def _element(kind: str) -> int:
    symbol = kind.split(".")[0].upper()
    if symbol not in _NUMBER:
        remedy = "write it with SYBYL atom types (antechamber: -at sybyl), or as SDF"
        raise UnusableError(f"atom type '{kind}' is none of SYBYL's", remedy)
    return _NUMBER[symbol]


def _declared(lines: list[str], places: dict[str, int]) -> dict[int, int]:
    """Formal charges: "ATOM COUNT" and then COUNT lines of attributes, of which "charge Q" is one."""
    charges: dict[int, int] = {}
    rest = iter(lines)
    for line in rest:
        atom, count = line.split()[:2]
        for _ in range(int(count)):
            name, value = next(rest, "- 0").split()[:2]
            if name == "charge":
                charges[places[atom]] = int(value)
    return charges
