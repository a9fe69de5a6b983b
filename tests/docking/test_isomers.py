"""A SMILES with counter-ions or open stereo: what is docked, and what is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from rdkit import Chem

from domains.docking.structures.complexes import read
from domains.docking.structures.isomers import isomers, without_salts
from domains.docking.structures.pairs import Pair
from domains.errors import InputError, InputProblem

PROTEIN = Path(__file__).parents[1] / "data" / "6o5u_protein.pdb"
POCKET = str(Path(__file__).parents[1] / "data" / "6o5u_ligand.sdf")
WHERE = InputProblem("SMILES", "x", "", "")


def test_the_largest_part_of_a_salt_is_docked_as_it_is_charged() -> None:
    parent, (remark,) = without_salts("CC(=O)[O-].C[N+](C)(C)CCO.Cl", WHERE)
    assert Chem.CanonSmiles(parent) == Chem.CanonSmiles("C[N+](C)(C)CCO")
    assert "left out CC(=O)[O-], Cl" in remark
    assert without_salts("CCO", WHERE) == ("CCO", ())
    assert without_salts("OCC.CCO", WHERE)[0] == "CCO"
    with pytest.raises(InputError, match="equally large"):
        without_salts("CCO.CCN", WHERE)


def test_every_isomer_that_can_be_built_is_there_once() -> None:
    """Lactic acid 2; tartaric acid 3, for one is meso; a double bond 2; norbornane's bridgeheads none beside one."""
    assert isomers("CC(O)C(=O)O", WHERE) == sorted(["C[C@@H](O)C(=O)O", "C[C@H](O)C(=O)O"])
    assert len(isomers("OC(=O)C(O)C(O)C(=O)O", WHERE)) == 3
    assert len(isomers("CC=CC(=O)O", WHERE)) == 2
    assert len(isomers("CCO", WHERE)) == 1
    with pytest.raises(InputError, match="open in 64 ways"):
        isomers("CC(O)C(O)C(O)C(O)C(O)C(O)CC", WHERE)


def test_isomers_are_complexes_of_their_own_in_a_pair_and_in_a_table(tmp_path: Path) -> None:
    found, problems = read(Pair(PROTEIN, "CC(O)C(=O)O.[Na] lactate"), pocket=POCKET, stereo="enumerate")
    assert problems == [] and [own.name for own in found] == ["isomer_1", "isomer_2"]
    assert {Chem.MolToSmiles(own.ligand.mol) for own in found} == {"C[C@@H](O)C(=O)O", "C[C@H](O)C(=O)O"}
    assert all(any("left out [Na]" in remark for remark in own.remarks) for own in found)
    table = tmp_path / "jobs.csv"
    table.write_text(f"complex_name,protein_path,ligand_description\nlac,{PROTEIN},CC(O)C(=O)O\n")
    (one,), _ = read(table, pocket=POCKET)
    assert one.name == "lac" and any("stereo is open" in remark for remark in one.remarks)
    assert [own.name for own in read(table, pocket=POCKET, stereo="enumerate")[0]] == ["lac/isomer_1", "lac/isomer_2"]
