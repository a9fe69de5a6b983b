"""Molecules as files write them: old charges, lost bond orders, templates, records that run together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import data
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from domains.docking.structures.ligand import Ligand, from_mol
from domains.docking.structures.ligand_files import read_sdf
from domains.docking.structures.templates import skeleton, templates_of, with_template
from domains.docking.structures.written_molecules import UnusableError, sanitised
from domains.errors import InputError, InputProblem


def _embedded(smiles: str, *, hydrogens: bool = True) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=7) == 0
    rdForceFieldHelpers.MMFFOptimizeMolecule(mol)
    return mol if hydrogens else Chem.RemoveAllHs(mol)


def _records(folder: Path, text: str, name: str = "x.sdf") -> list[Ligand | InputProblem]:
    (folder / name).write_text(text)
    return list(read_sdf(folder / name))


OLD = {
    "carboxylate": ("CC(=O)=O", "CC(=O)[O-]", "C(=O)(=O) with 5 bonds read as C(=O)([O-])"),
    "charge on carbon": ("C[C-](=O)=O", "CC(=O)[O-]", "C(=O)(=O) with 5 bonds read as C(=O)([O-])"),
    "sulphonate": ("CS(=O)(=O)=O", "CS(=O)(=O)[O-]", "S(=O)(=O)(=O) with 7 bonds read as S(=O)(=O)([O-])"),
    "phosphate": ("CP(O)(=O)=O", "CP(=O)([O-])O", "P(=O)(=O) with 6 bonds read as P(=O)([O-])"),
    "choline": ("CN(C)(C)CCO", "C[N+](C)(C)CCO", "N with four bonds read as [N+]"),
    "N-oxide": ("CN(C)(C)O", "C[N+](C)(C)[O-]", "N with four bonds read as [N+][O-]"),
    "two": ("O=C(=O)CC(=O)=O", "O=C([O-])CC(=O)[O-]", "2 x C(=O)(=O) with 5 bonds read as C(=O)([O-])"),
}


@pytest.mark.parametrize(("written", "read", "said"), OLD.values(), ids=OLD)
def test_old_ways_to_write_charges_are_read_and_said(written: str, read: str, said: str) -> None:
    sound, repairs = sanitised(Chem.MolFromSmiles(written, sanitize=False))
    assert Chem.MolToSmiles(sound) == Chem.CanonSmiles(read)
    assert repairs == (said,)


@pytest.mark.parametrize("smiles", ["CC(=O)O", "C[N+](=O)[O-]", "O=C=O", "CS(=O)(=O)N", "c1cc[nH]c1", "CP(=O)(O)O"])
def test_molecules_of_today_are_left_alone(smiles: str) -> None:
    sound, repairs = sanitised(Chem.MolFromSmiles(smiles, sanitize=False))
    assert Chem.MolToSmiles(sound) == Chem.CanonSmiles(smiles)
    assert repairs == ()


@pytest.mark.parametrize("smiles", ["CC(C)(C)(C)C", "CC(=O)(=O)(C)C", "CO(C)C", "CC(=O)(=C)C"])
def test_what_cannot_be_repaired_is_refused(smiles: str) -> None:
    with pytest.raises(UnusableError, match="RDKit cannot sanitise the molecule"):
        sanitised(Chem.MolFromSmiles(smiles, sanitize=False))


def test_radicals_are_what_a_file_declares() -> None:
    block = Chem.MolToMolBlock(_embedded("CC[CH2]"))
    assert "M  RAD" in block
    radical = from_mol(Chem.MolFromMolBlock(block, sanitize=False, removeHs=False), "x")
    assert sum(atom.GetNumRadicalElectrons() for atom in radical.mol.GetAtoms()) == 1
    mol = Chem.MolFromSmiles("CC[CH2]", sanitize=False)
    with pytest.raises(UnusableError, match=r"1 of its atoms lack a bond, a hydrogen or a charge \(C3\)"):
        sanitised(mol)


def _all_single(mol: Chem.Mol) -> Chem.Mol:
    """As a converter writes it that knows no bond orders."""
    bare = Chem.RWMol(mol)
    for bond in bare.GetBonds():
        bond.SetBondType(Chem.BondType.SINGLE)
        bond.SetIsAromatic(False)
    for atom in bare.GetAtoms():
        atom.SetIsAromatic(False)
        atom.SetFormalCharge(0)
        atom.SetNoImplicit(False)
        atom.SetNumExplicitHs(0)
    return bare.GetMol()


UNSATURATED = ["c1ccccc1CCO", "CC(C)=O", "CC(=O)Nc1ccc(O)cc1", "C=CC", "CC#N", "CCNC(=O)C", "O=C(O)CCC(=O)O", "c1ccoc1"]
SATURATED = ["CCCCO", "C1CCCCC1", "C1CCCC1", "CC(C)(C)C", "OC[C@H]1OC(O)[C@H](O)[C@@H](O)[C@@H]1O", "FC(F)(F)C(F)(F)F"]
SATURATED += ["C1CC1CC1CCC1", "C1CC2CCC1C2", "CN1CCOCC1", "CSSC", "NCCN", "ClC(Cl)Cl", "C[Si](C)(C)C"]


@pytest.mark.parametrize("hydrogens", [True, False])
@pytest.mark.parametrize("smiles", UNSATURATED)
def test_lost_bond_orders_are_refused(smiles: str, hydrogens: bool) -> None:
    mol = _embedded(smiles, hydrogens=hydrogens)
    with pytest.raises(InputError, match=r"give its SMILES as a template \(--template\)"):
        from_mol(_all_single(mol), "x")
    found = from_mol(_all_single(mol), "x", templates=templates_of([smiles]))
    assert Chem.MolToSmiles(found.mol) == Chem.CanonSmiles(smiles)
    np.testing.assert_array_equal(found.positions, from_mol(mol, "x").positions)
    assert found.remarks == (f"bond orders and charges of the template {Chem.CanonSmiles(smiles)}",)


@pytest.mark.parametrize("hydrogens", [True, False])
@pytest.mark.parametrize("smiles", SATURATED)
def test_saturated_molecules_lack_nothing(smiles: str, hydrogens: bool) -> None:
    assert from_mol(_embedded(smiles, hydrogens=hydrogens), "x").remarks == ()


@pytest.mark.parametrize("order", [5, 6, 7, 8])
def test_query_bonds_are_refused_or_taken_from_the_template(tmp_path: Path, order: int) -> None:
    block = Chem.MolToMolBlock(_embedded("CC(=O)Nc1ccccc1", hydrogens=False), kekulize=True)
    (problem,) = _records(tmp_path, block.replace("  2  3  2  0", f"  2  3  {order}  0"))
    assert "some of its bonds have no order (query bonds" in str(problem)
    (found,) = read_sdf(tmp_path / "x.sdf", templates=templates_of(["CC(=O)Nc1ccccc1"]))
    assert isinstance(found, Ligand)
    assert Chem.MolToSmiles(found.mol) == "CC(=O)Nc1ccccc1"


def test_a_template_is_laid_where_it_fits() -> None:
    """The oxygen at 1.2 Å is =O, whatever the order of the atoms; charges and stereo are as they should be."""
    for smiles in ("C[C@@H]([NH3+])C(=O)O", "C[C@@H]([NH3+])C(O)=O"):
        mol = _embedded(smiles, hydrogens=False)
        found = with_template(_all_single(mol), Chem.MolFromSmiles("CC([NH3+])C(=O)O"))
        Chem.SanitizeMol(found)
        assert [a.GetTotalNumHs() for a in found.GetAtoms()] == [a.GetTotalNumHs() for a in mol.GetAtoms()]
        Chem.AssignStereochemistryFrom3D(found)
        assert Chem.MolToSmiles(found) == Chem.CanonSmiles(smiles)


def test_a_template_is_for_its_own_skeleton() -> None:
    templates = templates_of(["c1ccccc1O", "CC(=O)O"])
    assert skeleton(Chem.MolFromSmiles("C1CCCCC1O")) in templates
    assert skeleton(Chem.MolFromSmiles("C1CCCCC1N")) not in templates
    assert from_mol(_embedded("CCO"), "x", templates=templates).remarks == ()
    with pytest.raises(ValueError, match="template is 'CC\\(', which RDKit cannot read"):
        templates_of(["CC("])


def test_old_file_of_pdbbind(tmp_path: Path) -> None:
    """X-TOOL writes carboxylates with two double bonds, and topologies that RDKit takes for queries."""
    mol = _embedded("CC(C)=CC(=O)[O-]")
    lines = Chem.MolToMolBlock(mol).split("\n")
    lines = [line for line in lines if not line.startswith("M  CHG")]
    text = "\n".join(lines).replace("  5  7  1  0", "  5  7  2  0  0  2")
    (found,) = _records(tmp_path, text)
    assert isinstance(found, Ligand), str(found)
    assert Chem.MolToSmiles(found.mol) == "CC(C)=CC(=O)[O-]"
    assert found.remarks == ("C(=O)(=O) with 5 bonds read as C(=O)([O-])",)


def _block(smiles: str, title: str) -> str:
    mol = _embedded(smiles)
    mol.SetProp("_Name", title)
    return Chem.MolToMolBlock(mol)


@pytest.mark.parametrize("between", ["", "\n", "> <affinity>\n7.1\n\n"])
def test_mol_blocks_without_separators_are_all_read(tmp_path: Path, between: str) -> None:
    text = (
        _block("CCO", "a") + between + _block("CCN", "b") + between + _block("CCF", "") + "$$$$\n" + _block("CCS", "d")
    )
    assert [found.name for found in _records(tmp_path, text) if isinstance(found, Ligand)] == ["a", "b", "x_3", "d"]


def test_a_torn_block_before_another_one(tmp_path: Path) -> None:
    torn, whole = _records(tmp_path, _block("CCCCO", "a")[:200] + "\n" + _block("CCN", "b"))
    assert isinstance(torn, InputProblem)
    assert "cut off" in str(torn)
    assert isinstance(whole, Ligand)


def test_a_mol_block_in_a_data_field_is_no_record(tmp_path: Path) -> None:
    text = _block("CCO", "a") + "> <original>\n" + _block("CCN", "b") + "\n$$$$\n"
    (found,) = _records(tmp_path, text)
    assert isinstance(found, Ligand)
    assert found.name == "a"


def test_old_blocks_without_a_version_are_not_lost(tmp_path: Path) -> None:
    text = (_block("CCO", "a") + _block("CCN", "b")).replace(" V2000", "      ")
    (problem,) = _records(tmp_path, text)
    assert "the record holds several MOL blocks" in str(problem)


def test_names_without_a_title(tmp_path: Path) -> None:
    (alone,) = _records(tmp_path, _block("CCO", ""), "aspirin.sdf")
    assert isinstance(alone, Ligand)
    assert alone.name == "aspirin"


def test_the_remedy_works_on_real_files() -> None:
    mol = Chem.MolFromMolFile(str(data("1a46_ligand.sdf")))
    smiles = Chem.MolToSmiles(mol, isomericSmiles=False)
    with pytest.raises(InputError, match="its bond orders were lost, or it is a drawing"):
        from_mol(_all_single(mol), "x")
    found = from_mol(_all_single(mol), "x", templates=templates_of([smiles]))
    assert Chem.MolToSmiles(found.mol) == Chem.MolToSmiles(from_mol(mol, "x").mol)
