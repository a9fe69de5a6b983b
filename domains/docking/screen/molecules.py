"""Which molecule a record of a library is: its parent without salts, in one canonical spelling."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, final

from rdkit import Chem, rdBase

from domains.docking.screen.library import Entry
from domains.docking.structures.isomers import without_salts
from domains.errors import InputError, InputProblem

MOST_ATOMS: Final = 100
"""Heavy atoms of the largest ligand that is docked; beyond, time and memory of one ligand are those of hundreds."""

_LONGEST_SMILES: Final = 2000  # letters; RDKit's time grows faster than their number


@final
@dataclass(frozen=True)
class Molecule:
    """What is docked of a record.

    Attributes:
        smiles: canonical and isomeric, of the parent. Records that share it are the same ligand.
        remarks: what was left out.
    """

    smiles: str
    remarks: tuple[str, ...] = ()

    @property
    def key(self) -> bytes:
        """See :func:`key_of`."""
        return key_of(self.smiles)


def key_of(smiles: str) -> bytes:
    """16 bytes that stand for a canonical SMILES: of a billion ligands no two are likely to share them."""
    return hashlib.blake2b(smiles.encode(), digest_size=16).digest()


def identify(entry: Entry) -> Molecule | str:
    """The molecule of a record, or why it has none. Charges and tautomers are as given.

    Of a salt the largest part is taken; a mixture of equally large ones has none.
    Stereo of an SDF record is that of its coordinates if it has three of them, else that of its wedges.
    """
    if not entry.text.strip():
        return "there is nothing in it"
    if entry.kind == "smiles" and len(entry.text) > _LONGEST_SMILES:
        return f"the SMILES has more than {_LONGEST_SMILES} letters"
    with rdBase.BlockLogs():
        mol = _read(entry)
        if mol is None:
            return "RDKit cannot read it: correct its valences, charges and aromatic bonds"
        if mol.GetNumHeavyAtoms() > 10 * MOST_ATOMS:
            return f"it has {mol.GetNumHeavyAtoms()} heavy atoms"
        where = InputProblem("", str(entry.row), "", "")
        try:
            text, said = without_salts(Chem.MolToSmiles(Chem.RemoveAllHs(mol)), where)
        except InputError as error:
            return error.problem.message
        parent = Chem.MolFromSmiles(text)
        if parent is None:
            return "RDKit cannot read what it writes of this molecule"
        if not 2 <= parent.GetNumAtoms() <= MOST_ATOMS:
            return f"it has {parent.GetNumAtoms()} heavy atoms: from 2 to {MOST_ATOMS} are docked"
        return Molecule(Chem.MolToSmiles(parent), said)


def _read(entry: Entry) -> Chem.Mol | None:
    if entry.kind == "smiles":
        return Chem.MolFromSmiles(entry.text)
    mol = Chem.MolFromMolBlock(entry.text, removeHs=False)
    if mol is not None and mol.GetNumConformers() and mol.GetConformer().Is3D():
        Chem.AssignStereochemistryFrom3D(mol)
    return mol
