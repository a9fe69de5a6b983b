"""Copies of the ligand in a protein file: what is removed, what stays, and what the network and the checks then see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from scipy.spatial.distance import cdist

from domains.docking.poses.validity import Validity, check_all
from domains.docking.structures.complexes import Complex, read
from domains.docking.structures.copies import without_copies
from domains.docking.structures.ligand import Ligand, from_mol, from_smiles
from domains.docking.structures.protein import Protein
from domains.docking.structures.protein_files import read_protein


def line(atom: str, residue: str, number: int, xyz: NDArray[Any], *, chain: str = "X") -> str:
    """An atom line of a protein file; the element is the letters before the first digit of a name like C12, or its
    first letter."""
    element = atom.rstrip("0123456789") if any(map(str.isdigit, atom)) else atom[0]
    padded = f" {atom:<3}" if len(element) == 1 and len(atom) < 4 else f"{atom:<4}"
    x, y, z = xyz
    return (
        f"{'ATOM' if residue in ('GLY', 'ALA', 'SER') else 'HETATM':<6}    1 {padded} {residue:>3} {chain}{number:>4}"
        f"    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {element.upper():>2}\n"
    )


def as_residue(ligand: Ligand, name: str, number: int, shift: float = 0.0) -> str:
    """A ligand in a protein file, in another order of its atoms and with the errors of a crystal structure."""
    rng = np.random.default_rng(number)
    positions = ligand.positions + shift + rng.uniform(-0.05, 0.05, ligand.positions.shape)
    order = rng.permutation(ligand.n_atoms).tolist()
    symbols = [atom.GetSymbol() for atom in ligand.mol.GetAtoms()]
    return "".join(line(f"{symbols[i]}{i}", name, number, positions[i]) for i in order)


def peptide(sequence: str, chain: str) -> tuple[Chem.Mol, str]:
    """A peptide and its lines in a protein file."""
    full = Chem.AddHs(Chem.MolFromSequence(sequence))
    assert rdDistGeom.EmbedMolecule(full, randomSeed=1) == 0
    mol = Chem.RemoveHs(full)
    lines = ""
    for atom, xyz in zip(mol.GetAtoms(), mol.GetConformer().GetPositions(), strict=True):
        info = atom.GetPDBResidueInfo()
        lines += line(info.GetName().strip(), info.GetResidueName(), info.GetResidueNumber(), xyz, chain=chain)
    return mol, lines


WALL = "".join(
    line(name, "GLY", 3 * i + j + 1, np.array([6.0 * i + x, 6.0 * j + y, -8.0]), chain="A")
    for i in range(3)
    for j in range(3)
    for name, x, y in (("N", -1.4, 0.0), ("CA", 0.0, 0.0), ("C", 1.4, 0.0), ("O", 1.4, 1.2))
)
"""Nine glycines that touch nothing."""


def protein(tmp_path: Path, text: str) -> Protein:
    (tmp_path / "protein.pdb").write_text(WALL + text)
    return read_protein(tmp_path / "protein.pdb")


def left(found: Protein) -> list[str]:
    """What is there besides the wall."""
    return [f"{place} {name}" for place, name in zip(found.residue_ids, found.residue_names, strict=True)][9:]


DRUG = from_smiles("CC(=O)Nc1ccc(OC2CC2)cc1S(N)(=O)=O", "drug", seed=1)
ISOMER = from_smiles("CC(=O)Nc1ccc(OC2CC2)c(S(N)(=O)=O)c1", "isomer", seed=1)


def test_the_same_molecule_goes_wherever_it_is(tmp_path: Path) -> None:
    text = as_residue(DRUG, "LIG", 900) + as_residue(DRUG, "OTH", 901, 30.0) + as_residue(ISOMER, "ISO", 902, 60.0)
    text += line("ZN1", "ZN", 903, DRUG.positions[0] + 2.0)
    whole = protein(tmp_path, text)
    found = without_copies(whole, DRUG, None)
    assert left(found) == ["X:902 ISO", "X:903 ZN"]
    assert found.report.copies == ("X:900 LIG", "X:901 OTH")
    assert found.report.hetero == ("X:902 ISO", "X:903 ZN")
    assert "removed LIG, OTH, the ligand itself (X:900, X:901)" in str(found.report)
    kept = np.isin(whole.residue_index, [*range(9), 11, 12])
    for field in ("positions", "element", "residue", "atom_name", "is_ca", "atomic_number", "pdb_lines"):
        np.testing.assert_array_equal(getattr(found, field), getattr(whole, field)[kept])
    np.testing.assert_array_equal(found.residue_index[-1], 10)
    assert without_copies(whole, from_smiles("CCO", "other", seed=1), None) is whole


def test_with_a_pose_what_is_elsewhere_stays(tmp_path: Path) -> None:
    """A pocket that is known leaves other sites as they are; in its place nothing else can be, whatever it is."""
    text = as_residue(DRUG, "LIG", 900) + as_residue(DRUG, "OTH", 901, 30.0)
    assert left(without_copies(protein(tmp_path, text), DRUG, DRUG.positions)) == ["X:901 OTH"]
    half_moved = as_residue(DRUG, "LIG", 900, 0.7) + as_residue(DRUG, "OTH", 901, 30.0)
    assert left(without_copies(protein(tmp_path, half_moved), DRUG, DRUG.positions)) == ["X:901 OTH"]
    longer = from_mol(Chem.MolFromMolBlock(Chem.MolToMolBlock(DRUG.mol)), "analogue")
    shorter = Chem.RWMol(longer.mol)
    shorter.RemoveAtom(0)
    analogue = from_mol(shorter.GetMol(), "analogue")
    assert left(without_copies(protein(tmp_path, as_residue(analogue, "ANA", 900)), DRUG, DRUG.positions)) == []
    assert left(without_copies(protein(tmp_path, as_residue(analogue, "ANA", 900)), DRUG, None)) == ["X:900 ANA"]


def test_a_ligand_that_the_file_splits_into_residues_goes_as_a_whole(tmp_path: Path) -> None:
    lines = as_residue(DRUG, "LIG", 900).splitlines(keepends=True)
    text = "".join(part[:17] + f"L{i // 6}L X{900 + i // 6:>4}" + part[26:] for i, part in enumerate(lines))
    expected = ("X:900 L0L", "X:901 L1L", "X:902 L2L")
    for pose in (None, DRUG.positions):
        assert without_copies(protein(tmp_path, text), DRUG, pose).report.copies == expected


@pytest.mark.parametrize("pose_is_known", [False, True])
def test_a_peptide_is_removed_as_a_ligand_and_not_as_part_of_a_chain(tmp_path: Path, pose_is_known: bool) -> None:
    mol, lines = peptide("GAS", "B")
    ligand = from_mol(mol, "peptide")
    pose = ligand.positions if pose_is_known else None
    found = without_copies(protein(tmp_path, lines), ligand, pose)
    assert left(found) == []
    assert found.report.amino_acids == 9
    longer, lines = peptide("AAAGASAAA", "B")
    piece = [a.GetIdx() for a in longer.GetAtoms() if 4 <= a.GetPDBResidueInfo().GetResidueNumber() <= 6]
    in_chain = longer.GetConformer().GetPositions()[piece].astype(np.float32)
    shorter = Chem.RWMol(longer)
    for index in sorted(set(range(longer.GetNumAtoms())) - set(piece), reverse=True):
        shorter.RemoveAtom(index)
    ligand = from_mol(shorter.GetMol(), "piece")
    whole = protein(tmp_path, lines)
    assert without_copies(whole, ligand, in_chain if pose_is_known else None) is whole


def test_a_residue_that_a_covalent_ligand_repeats_stays(tmp_path: Path) -> None:
    mol, lines = peptide("AAAASAAAA", "B")
    serine = [a.GetIdx() for a in mol.GetAtoms() if a.GetPDBResidueInfo().GetResidueNumber() == 5]
    pose = mol.GetConformer().GetPositions()[serine].astype(np.float32)
    whole = protein(tmp_path, lines)
    assert without_copies(whole, from_smiles("NC(CO)C=O", "serine", seed=1), pose) is whole


def with_its_ligand(folder: Path) -> tuple[Path, Complex]:
    """1ia1 with the ligand back in its protein file, and the complex without it."""
    plain = next(c for c in read()[0] if c.name == "1ia1")
    text = [row for row in plain.protein.path.read_text().splitlines() if row.startswith(("ATOM", "HETATM"))]
    water = line("O", "HOH", 950, plain.ligand.positions[0] + 0.5).rstrip("\n")
    glycerol = line("O1", "GOL", 951, plain.ligand.positions[9] + 0.5).rstrip("\n")
    (folder / "1ia1").mkdir()
    path = folder / "1ia1" / "protein.pdb"
    path.write_text("\n".join([*text, as_residue(plain.ligand, "TQ3", 900).rstrip("\n"), water, glycerol, "END\n"]))
    sdf = plain.protein.path.with_name("1ia1_ligand.sdf")
    (folder / "1ia1" / "ligands.sdf").write_text(sdf.read_text())
    return path, plain


def test_the_network_never_sees_the_ligand(tmp_path: Path) -> None:
    path, plain = with_its_ligand(tmp_path)
    on_ligand = cdist(read_protein(path).positions, plain.ligand.positions).min(0) < 0.2
    assert on_ligand.sum() == plain.ligand.n_atoms == 19
    x, y, z = plain.ligand.positions.mean(0)
    for pocket in ("ligand", f"point:{x},{y},{z}", "protein"):
        for known in (None, True):
            (found,), problems = read(tmp_path, pocket=pocket, known_poses=known)
            assert problems == []
            assert cdist(found.pocket.positions, plain.ligand.positions).min() > 2.0
            assert "X:900 TQ3" in found.protein.report.copies
            assert "X:900" not in found.pocket.residue_ids


@pytest.mark.filterwarnings("ignore")  # of PoseBusters itself
def test_the_checks_never_see_the_ligand_water_and_additives(tmp_path: Path) -> None:
    _, plain = with_its_ligand(tmp_path)
    (found,), _ = read(tmp_path)
    poses = plain.ligand.positions[None]
    assert check_all([(found, poses)], processes=1) == [[Validity(True)]]
