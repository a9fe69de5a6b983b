"""MOL2: Open Babel's files, the types of SYBYL, and what is refused rather than guessed."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import data, shared
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdPartialCharges

from domains.docking.structures.ligand import Ligand
from domains.docking.structures.ligand_files import read_mol2, read_sdf
from domains.docking.structures.templates import templates_of
from domains.errors import InputProblem

AMIDE = Chem.MolFromSmarts("[NX3;!$(N=*)]-[CX3]=[O,S]")
CARBOXYLATE = Chem.MolFromSmarts("[OX1]~[CX3]~[OX1]")
PHOSPHATE = Chem.MolFromSmarts("[OX1]~[P]~[OX1]")
AMIDINIUM = Chem.MolFromSmarts("[NX3;H1,H2]-[CX3](-[NX3;H1,H2])=[N+]")


def sybyl_mol2(mol: Chem.Mol) -> str:
    """A record with the types and bonds of SYBYL's own manual, as MOE, Corina and Maestro write them.

    Aromatic bonds are "ar", and so are those of carboxylates, phosphates and guanidinium; amides are "am"; no formal
    charges are declared.
    """
    mol = Chem.Mol(mol)
    rdPartialCharges.ComputeGasteigerCharges(mol)
    types = {}
    for atom in mol.GetAtoms():
        symbol, hybrid = atom.GetSymbol(), int(atom.GetHybridization()) - int(Chem.HybridizationType.SP) + 1
        kind = symbol
        if symbol in ("C", "N", "O", "S", "P") and symbol != "H":
            kind = f"{symbol}.{min(max(hybrid, 1), 3)}"
        if atom.GetIsAromatic() and symbol in ("C", "N"):
            is_pyrrole = symbol == "N" and atom.GetTotalDegree() == 3 and atom.GetFormalCharge() == 0
            kind = "N.pl3" if is_pyrrole else f"{symbol}.ar"
        if symbol == "N" and atom.GetFormalCharge() == 1 and atom.GetTotalDegree() == 4:
            kind = "N.4"
        types[atom.GetIdx()] = kind
    ar = {bond.GetIdx() for bond in mol.GetBonds() if bond.GetIsAromatic()}
    am = {mol.GetBondBetweenAtoms(n, c).GetIdx() for n, c, _ in mol.GetSubstructMatches(AMIDE)}
    for pattern in (CARBOXYLATE, PHOSPHATE):
        for a, centre, b in mol.GetSubstructMatches(pattern):
            if mol.GetAtomWithIdx(a).GetFormalCharge() + mol.GetAtomWithIdx(b).GetFormalCharge() < 0:
                for end in (a, b):
                    types[end] = "O.co2"
                    ar.add(mol.GetBondBetweenAtoms(end, centre).GetIdx())
    for match in mol.GetSubstructMatches(AMIDINIUM):
        types[match[1]] = "C.cat"
        for end in (match[0], match[2], match[3]):
            bond = mol.GetBondBetweenAtoms(end, match[1])
            if not bond.IsInRing():
                ar.add(bond.GetIdx())
    lines = ["@<TRIPOS>MOLECULE", "made", f"{mol.GetNumAtoms()} {mol.GetNumBonds()} 1", "SMALL", "USER_CHARGES", ""]
    lines.append("@<TRIPOS>ATOM")
    for i, (x, y, z) in enumerate(mol.GetConformer().GetPositions()):
        charge = float(mol.GetAtomWithIdx(i).GetProp("_GasteigerCharge"))
        lines.append(f"{i + 1} A{i + 1} {x:.4f} {y:.4f} {z:.4f} {types[i]} 1 LIG {charge:.4f}")
    lines.append("@<TRIPOS>BOND")
    Chem.Kekulize(mol, clearAromaticFlags=False)
    for bond in mol.GetBonds():
        i = bond.GetIdx()
        kind = "ar" if i in ar else "am" if i in am else str(int(Chem.Bond.GetBondTypeAsDouble(bond)))
        lines.append(f"{i + 1} {bond.GetBeginAtomIdx() + 1} {bond.GetEndAtomIdx() + 1} {kind}")
    return "\n".join(lines) + "\n"


def _embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=7) == 0
    return mol


def _read(folder: Path, text: str, **options: object) -> Ligand | InputProblem:
    (folder / "x.mol2").write_text(text)
    (found,) = read_mol2(folder / "x.mol2", **options)  # type: ignore[arg-type]
    return found


OPEN_BABEL = {
    "purine": "Nc1nc2c(ncn2[C@@H]2O[C@H](CO)[C@@H](O)[C@H]2O)c(=O)[nH]1",
    "phosphate": "Cc1nc2ccc(P(=O)([O-])[O-])cc2s1",
    "quat": "CC(=O)OCC[N+](C)(C)C",
    "indole": "c1ccc2[nH]ccc2c1",
    "pyridone": "O=c1cccc[nH]1",
    "nitro": "O=[N+]([O-])c1ccc(O)cc1",
}


def test_open_babels_files() -> None:
    *found, bare = read_mol2(data("openbabel.mol2"))
    read = {ligand.name: Chem.MolToSmiles(ligand.mol) for ligand in found if isinstance(ligand, Ligand)}
    assert read == {name: Chem.CanonSmiles(smiles) for name, smiles in OPEN_BABEL.items()}
    assert isinstance(bare, InputProblem)  # guanine without hydrogens: N1-H or N3-H?
    assert bare.message == "it has no hydrogens, and several tautomers fit it"
    assert bare.remedy.startswith("MOL2 is the cause: write the molecule as SDF")
    (*_, mended) = read_mol2(data("openbabel.mol2"), templates=templates_of([OPEN_BABEL["purine"]]))
    assert isinstance(mended, Ligand)
    assert Chem.MolToSmiles(mended.mol) == Chem.CanonSmiles(OPEN_BABEL["purine"])


SYBYL = [
    *("CC(=O)[O-]", "CC(=O)O", "C[NH3+]", "C[N+](C)(C)C", "NC(=O)c1ccccc1", "C[N+](=O)[O-]", "O=[N+]([O-])c1ccccc1"),
    *("c1cc[nH]c1", "c1c[nH]cn1", "Cn1ccnc1", "c1ccncc1", "C[n+]1ccccc1", "c1ccc2[nH]ccc2c1", "O=c1cc[nH]cc1"),
    *("c1ccoc1", "c1ccsc1", "Cc1nnn[n-]1", "NC(=[NH2+])NCC", "NC(=[NH2+])c1ccccc1", "COP(=O)([O-])[O-]"),
    *(
        "CS(=O)(=O)Nc1ccccc1",
        "CS(=O)(=O)[O-]",
        "CS(C)=O",
        "N#Cc1ccccc1",
        "C#CCO",
        "CN=[N+]=[N-]",
        "O=c1[nH]cnc2[nH]cnc12",
    ),
    *("Clc1ccc(Br)cc1", "OB(O)c1ccccc1", "C[Si](C)(C)C", "[O-][n+]1ccccc1", "CCS", "c1ccc2ccccc2c1", "FC(F)(F)C"),
]


@pytest.mark.parametrize("smiles", SYBYL)
def test_sybyls_own_types(tmp_path: Path, smiles: str) -> None:
    found = _read(tmp_path, sybyl_mol2(_embedded(smiles)))
    assert isinstance(found, Ligand), str(found)
    assert Chem.MolToSmiles(found.mol) == Chem.CanonSmiles(smiles)
    assert found.remarks == ()


@pytest.mark.slow
def test_fep_plus_in_sybyls_types(tmp_path: Path) -> None:
    """947 ligands: at least 99% are read as what they are, and none as something else."""
    references, text = [], []
    for path in sorted(shared("data/fep_plus").glob("*/ligands.sdf")):
        for ligand in read_sdf(path):
            assert isinstance(ligand, Ligand)
            references.append(Chem.MolToSmiles(ligand.mol))
            text.append(sybyl_mol2(Chem.AddHs(ligand.mol, addCoords=True)))
    (tmp_path / "all.mol2").write_text("".join(text))
    found = list(read_mol2(tmp_path / "all.mol2"))
    read = [
        (Chem.MolToSmiles(x.mol), smiles) for x, smiles in zip(found, references, strict=True) if isinstance(x, Ligand)
    ]
    assert [pair for pair in read if pair[0] != pair[1]] == []
    assert len(read) >= 0.99 * len(references)


def _without_hydrogens(text: str, kept: str = "") -> str:
    """The record without its hydrogens, but those bonded to an element that is kept."""
    head, rest = text.split("@<TRIPOS>ATOM\n")
    atoms, bonds = (part.strip().split("\n") for part in rest.split("@<TRIPOS>BOND\n"))
    kinds = {line.split()[0]: line.split()[5] for line in atoms}
    pairs = [line.split()[1:3] for line in bonds]
    gone = set()
    for a, b in pairs:
        for h, other in ((a, b), (b, a)):
            if kinds[h] == "H" and (not kept or kinds[other].split(".")[0] not in kept):
                gone.add(h)
    atoms = [line for line in atoms if line.split()[0] not in gone]
    bonds = [line for line in bonds if not gone & set(line.split()[1:3])]
    lines = head.split("\n")
    lines[2], lines[4] = f"{len(atoms)} {len(bonds)} 1", "NO_CHARGES"
    return "\n".join(lines) + "@<TRIPOS>ATOM\n" + "\n".join(atoms) + "\n@<TRIPOS>BOND\n" + "\n".join(bonds) + "\n"


@pytest.mark.parametrize(
    "smiles", ["CC(=O)[O-]", "C[NH3+]", "CCO", "c1cc[nH]c1", "c1ccncc1", "CC(=O)Nc1ccccc1", "c1cnccn1"]
)
def test_hydrogens_that_are_not_shown_are_added(tmp_path: Path, smiles: str) -> None:
    for kept in ("", "NOS"):
        found = _read(tmp_path, _without_hydrogens(sybyl_mol2(_embedded(smiles)), kept))
        assert isinstance(found, Ligand), str(found)
        assert Chem.MolToSmiles(found.mol) == Chem.CanonSmiles(smiles)


def test_one_hydrogen_that_is_missing_is_no_radical(tmp_path: Path) -> None:
    text = sybyl_mol2(_embedded("CCOC"))
    lines = text.split("\n")
    atom = next(i for i, line in enumerate(lines) if " H 1 LIG" in line)
    number = lines[atom].split()[0]
    bond = next(i for i, line in enumerate(lines) if line.split()[2:3] == [number] and len(line.split()) == 4)
    lines = [line for i, line in enumerate(lines) if i not in (atom, bond)]
    counts = [int(word) for word in lines[2].split()]
    lines[2] = f"{counts[0] - 1} {counts[1] - 1} 1"
    problem = _read(tmp_path, "\n".join(lines))
    assert isinstance(problem, InputProblem)
    assert "fit no molecule without radicals; MOL2 is the cause" in str(problem)


def test_charges_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    text = sybyl_mol2(_embedded("CC[NH3+]")).replace("N.4", "N.3")
    assert isinstance(_read(tmp_path, text), Ligand)
    neutral = sybyl_mol2(_embedded("CCN"))
    lines = neutral.split("\n")
    words = lines[7].split()
    lines[7] = " ".join([*words[:-1], f"{float(words[-1]) + 1:.4f}"])
    problem = _read(tmp_path, "\n".join(lines))
    assert isinstance(problem, InputProblem)
    assert problem.message == "its partial charges add up to +1.00 e, and its bonds to +0"
    lines[7] = " ".join([*words[:-1], f"{float(words[-1]) + 0.5:.4f}"])
    half = _read(tmp_path, "\n".join(lines))
    assert isinstance(half, Ligand)
    assert half.remarks == ("its partial charges add up to 0.50 e, no whole number: its charge of 0 is not checked",)


BROKEN = {
    "GAFF types": (lambda text: text.replace(" C.3 ", " c3 "), "atom type 'c3' is none of SYBYL's"),
    "cut off": (lambda text: text[: text.index("\n6 ", text.index("BOND"))], "9 atoms and 5 bonds, and says 9 and 8"),
    "a bond twice": (lambda text: text.replace("\n2 2 3 1", "\n2 1 2 1"), "a bond is there twice"),
    "an atom that is none": (lambda text: text.replace("\n2 2 3 1", "\n2 2 99 1"), "it is no MOL2"),
    "a coordinate that is none": (lambda text: text.replace(" 1 LIG", " x 1 LIG", 1).replace("A1 ", "A1 x"), "no MOL2"),
    "a bond of unknown order": (lambda text: text.replace("\n2 2 3 1", "\n2 2 3 un"), "fit no molecule"),
    "a dummy": (lambda text: text.replace(" C.3 ", " Du ", 1), "atom type 'Du'"),
}


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_records(tmp_path: Path, change: object, message: str) -> None:
    text = sybyl_mol2(_embedded("CCO"))
    changed = change(text)  # type: ignore[operator]
    assert changed != text
    problem = _read(tmp_path, changed)
    assert isinstance(problem, InputProblem)
    assert message in problem.message
