"""What the names in a protein file mean: vocabularies of the network, variants of names, and water."""

from __future__ import annotations

from functools import cache

import gemmi

ELEMENT_VOCABULARY: tuple[str, ...] = ("C", "N", "O", "S", "P", "halogen", "metal", "other")

RESIDUE_VOCABULARY: tuple[str, ...] = (
    *("ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE"),
    *("LEU", "LYS", "MET", "PHE", "PRO", "SER", "THR", "TRP", "TYR", "VAL"),
    "other",
)

ATOM_NAME_VOCABULARY: tuple[str, ...] = (
    *("N", "CA", "C", "O", "OXT", "CB", "CG", "CG1", "CG2", "OG", "OG1", "SG"),
    *("CD", "CD1", "CD2", "ND1", "ND2", "OD1", "OD2", "SD"),
    *("CE", "CE1", "CE2", "CE3", "NE", "NE1", "NE2", "OE1", "OE2"),
    *("CZ", "CZ2", "CZ3", "NZ", "CH2", "NH1", "NH2", "OH"),
    "other",
)

SIDE_CHAINS: dict[str, tuple[str, ...]] = {
    "ALA": ("CB",),
    "ARG": ("CB", "CG", "CD", "NE", "CZ", "NH1", "NH2"),
    "ASN": ("CB", "CG", "OD1", "ND2"),
    "ASP": ("CB", "CG", "OD1", "OD2"),
    "CYS": ("CB", "SG"),
    "GLN": ("CB", "CG", "CD", "OE1", "NE2"),
    "GLU": ("CB", "CG", "CD", "OE1", "OE2"),
    "GLY": (),
    "HIS": ("CB", "CG", "ND1", "CD2", "CE1", "NE2"),
    "ILE": ("CB", "CG1", "CG2", "CD1"),
    "LEU": ("CB", "CG", "CD1", "CD2"),
    "LYS": ("CB", "CG", "CD", "CE", "NZ"),
    "MET": ("CB", "CG", "SD", "CE"),
    "PHE": ("CB", "CG", "CD1", "CD2", "CE1", "CE2", "CZ"),
    "PRO": ("CB", "CG", "CD"),
    "SER": ("CB", "OG"),
    "THR": ("CB", "OG1", "CG2"),
    "TRP": ("CB", "CG", "CD1", "CD2", "NE1", "CE2", "CE3", "CZ2", "CZ3", "CH2"),
    "TYR": ("CB", "CG", "CD1", "CD2", "CE1", "CE2", "CZ", "OH"),
    "VAL": ("CB", "CG1", "CG2"),
}
"""Heavy atoms of a complete side chain."""

# Variants by protonation and disulphides that force fields write and the PDB's dictionary does not know.
_FORCE_FIELD_NAMES = {
    **dict.fromkeys(("HID", "HIE", "HIP", "HSD", "HSE", "HSP"), "HIS"),
    **dict.fromkeys(("CYX", "CYM"), "CYS"),
    **dict.fromkeys(("HISA", "HISB", "HISD", "HISE", "HISH", "HIS1", "HIS2"), "HIS"),
    **dict.fromkeys(("CYSH", "CYS1", "CYS2", "CYSS"), "CYS"),
    **{"ASH": "ASP", "GLH": "GLU", "LYN": "LYS", "ARN": "ARG", "LSN": "LYS", "LYP": "LYS", "TYM": "TYR"},
    **{"ASPH": "ASP", "GLUH": "GLU", "LYSH": "LYS", "ARGN": "ARG"},
}


@cache
def standard_name(name: str) -> str:
    """Residue name in the PDB's dictionary: HIS for a force field's HIE, SER for Amber's NSER at the N-terminus."""
    if name in _FORCE_FIELD_NAMES:
        return _FORCE_FIELD_NAMES[name]
    if len(name) == 4 and name[0] in "NC":
        inner = _FORCE_FIELD_NAMES.get(name[1:], name[1:])
        return inner if inner in SIDE_CHAINS else name
    return name


@cache
def parent_residue(name: str) -> str | None:
    """The one of the 20 amino acids that a residue is or was made from, "other" for an amino acid without one, and
    ``None`` for what is no amino acid. Modified residues follow the parent that gemmi tabulates from the PDB."""
    info = gemmi.find_tabulated_residue(standard_name(name))
    if not info.is_amino_acid():
        return None
    parent = gemmi.expand_one_letter(info.one_letter_code.upper(), gemmi.ResidueKind.AA)
    return parent if parent in SIDE_CHAINS else "other"


def is_water(residue: gemmi.Residue) -> bool:
    """A water by name, or a lone oxygen that is no remnant of an amino acid: programs name waters in many ways."""
    heavy = [atom for atom in residue if not atom.is_hydrogen()]
    lone_oxygen = len(heavy) == 1 and heavy[0].element == gemmi.Element("O")
    return residue.is_water() or (lone_oxygen and parent_residue(residue.name) is None)


def element_class(element: gemmi.Element) -> str:
    """Word of ``ELEMENT_VOCABULARY``. Selenium counts as sulphur, whose place it takes in MSE and SEC."""
    if element.name in ("C", "N", "O", "S", "P"):
        return element.name
    if element.name in ("F", "Cl", "Br", "I"):
        return "halogen"
    if element.name == "Se":
        return "S"
    return "metal" if element.is_metal else "other"
