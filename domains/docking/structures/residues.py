"""What the names in a protein file mean: vocabularies of the network, name variants, water and additives."""

from __future__ import annotations

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

# Protonation and disulphide variants that force fields write and the PDB's dictionary does not know.
_FORCE_FIELD_NAMES = {
    **dict.fromkeys(("HID", "HIE", "HIP", "HSD", "HSE", "HSP"), "HIS"),
    **dict.fromkeys(("CYX", "CYM"), "CYS"),
    **{"ASH": "ASP", "GLH": "GLU", "LYN": "LYS", "ARN": "ARG"},
}

# Cryoprotectants, precipitants, buffers, reductants and detergents. They come with the crystal and not with the
# protein, and one that sits in the pocket is what the ligand displaces. Single ions, phosphates, sugars and anything
# not listed are kept, because they can be substrates, cofactors or part of the site.
ADDITIVES: frozenset[str] = frozenset(
    (
        *("GOL", "EDO", "PGO", "PGR", "MPD", "MRD", "IPA", "EOH", "MOH", "TBU", "BU1", "BU3", "HEZ", "DIO", "DMS"),
        *("PEG", "PGE", "PG4", "PG5", "PG6", "1PE", "2PE", "P6G", "P33", "PE3", "PE4", "PE5", "PE8", "7PE", "12P"),
        *("15P", "XPE", "M2M", "TOE", "ACN", "ACT", "ACY", "FMT", "SO4", "NO3", "SCN", "NH4", "CAC", "LDA"),
        *("CIT", "FLC", "TLA", "TAR", "MLI", "MLA", "TRS", "TAM", "BTB", "MES", "EPE", "NHE", "CXS", "CPS"),
        *("PIN", "IMD", "BCN", "B3P", "BME", "DTT", "DTV", "TCE", "BOG", "LMT", "DDQ", "C8E", "OLC", "OLB"),
        *("OLA", "UNX", "UNL"),
    )
)


def standard_name(name: str) -> str:
    """Residue name in the PDB's dictionary: HIS for a force field's HIE, and so on."""
    return _FORCE_FIELD_NAMES.get(name, name)


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
