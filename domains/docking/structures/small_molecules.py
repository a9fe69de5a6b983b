"""Small molecules that protein files hold besides the protein: which come with the crystal, which belong to the site.

Names alone do not say: UNL is what programs call any molecule, and a name may have been given twice. So composition
counts as well, in heavy atoms, for hydrogens may or may not be there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cache

_EXCESS = 2  # atoms more than in the list; ions and tautomers do not matter, and some entries carry an oxygen more

ADDITIVES: Mapping[str, str] = {
    **{"GOL": "C3O3", "EDO": "C2O2", "PGO": "C3O2", "PGR": "C3O2", "MPD": "C6O2", "MRD": "C6O2", "IPA": "C3O"},
    **{"EOH": "C2O", "MOH": "CO", "TBU": "C4O", "BU1": "C4O2", "BU3": "C4O2", "HEZ": "C6O2", "DIO": "C4O2"},
    **{"DMS": "C2OS", "PEG": "C4O3", "PGE": "C6O4", "PG4": "C8O5", "PG5": "C8O4", "PG6": "C12O6", "1PE": "C10O6"},
    **{"2PE": "C18O10", "P6G": "C12O7", "P33": "C14O8", "PE3": "C28O15", "PE4": "C16O8", "PE5": "C18O9"},
    **{"PE8": "C16O9", "7PE": "C14O7", "12P": "C24O13", "15P": "C69O35", "XPE": "C20O11", "M2M": "C6O3"},
    **{"TOE": "C7O4", "ACN": "C3O", "ACT": "C2O2", "ACY": "C2O2", "FMT": "CO2", "SO4": "SO4", "NO3": "NO3"},
    **{"SCN": "CNS", "NH4": "N", "CAC": "AsC2O2", "LDA": "C14NO", "CIT": "C6O7", "FLC": "C6O7", "TLA": "C4O6"},
    **{"TAR": "C4O6", "MLI": "C3O4", "MLA": "C3O4", "TRS": "C4NO3", "TAM": "C7NO3", "BTB": "C8NO5", "MES": "C6NO4S"},
    **{"EPE": "C8N2O4S", "NHE": "C8NO3S", "CXS": "C9NO3S", "CPS": "C32N2O7S", "PIN": "C8N2O6S2", "IMD": "C3N2"},
    **{"BCN": "C6NO4", "B3P": "C11N2O6", "BME": "C2OS", "DTT": "C4O2S2", "DTV": "C4O2S2", "TCE": "C9O6P"},
    **{"BOG": "C14O6", "LMT": "C24O11", "DDQ": "C12NO", "C8E": "C16O5", "OLC": "C21O4", "OLB": "C21O4", "OLA": "C18O2"},
}
"""Cryoprotectants, precipitants, buffers, reductants and detergents, with their heavy atoms.

They come with the crystal and not with the protein, and one that sits in the pocket is what the ligand displaces.
Single ions, phosphates, sugars and anything not listed are kept, because they can be substrates, cofactors or part of
the site.
"""

_UNKNOWN = frozenset(("UNL", "UNX"))  # an unknown ligand and an unknown atom in the PDB
_SMALLEST = 6  # heavy atoms of a molecule that is more than a solvent

COFACTORS: Mapping[str, str] = {
    **dict.fromkeys(("NAD", "NAI", "NAJ"), "C21N7O14P2"),
    **dict.fromkeys(("NAP", "NDP", "NPH"), "C21N7O17P3"),
    **dict.fromkeys(("FAD", "FDA"), "C27N9O15P2"),
    **dict.fromkeys(("FMN", "FNR"), "C17N4O9P"),
    **dict.fromkeys(("TPP", "TDP"), "C12N4O7P2S"),
    **{"SAM": "C15N6O5S", "SAH": "C14N6O5S", "COA": "C21N7O16P3S", "ACO": "C23N7O17P3S", "PLP": "C8NO6P"},
    **{"PMP": "C8N2O5P", "H4B": "C9N5O3", "PQQ": "C14N2O8", "GSH": "C10N3O6S", "PP9": "C34N4O4", "MTE": "C10N5O6PS2"},
    **{"GTP": "C10N5O14P3", "GDP": "C10N5O11P2", "GNP": "C10N6O13P3", "GSP": "C10N5O13P3S", "GCP": "C11N5O13P3"},
}
"""What stays in the site of a ligand, with its heavy atoms; what holds a metal stays too and is not listed.

Guanine nucleotides are a part of G proteins. Those of adenine are what inhibitors of their sites compete with.
"""

_TELLING = 20  # heavy atoms of a formula that says which molecule it is


def is_additive(name: str, elements: Counter[str]) -> bool:
    """By the name of the residue and its heavy atoms (element -> number)."""
    if name in ADDITIVES:
        return _fits(elements, formula(ADDITIVES[name]))
    return name in _UNKNOWN and (elements.total() < _SMALLEST or elements in map(formula, ADDITIVES.values()))


def is_cofactor(name: str, elements: Counter[str]) -> bool:
    """By the name and the heavy atoms; by the heavy atoms alone if they are many and exactly those of a cofactor."""
    if name in COFACTORS and _fits(elements, formula(COFACTORS[name])):
        return True
    return elements.total() >= _TELLING and elements in map(formula, COFACTORS.values())


def _fits(elements: Counter[str], whole: Counter[str]) -> bool:
    """A file may lack atoms of a molecule, but has no others."""
    return elements.keys() <= whole.keys() and elements.total() <= whole.total() + _EXCESS


@cache
def formula(text: str) -> Counter[str]:
    """Element -> number, from text like "C3O3"."""
    return Counter({symbol: int(n or 1) for symbol, n in re.findall(r"([A-Z][a-z]?)(\d*)", text)})
