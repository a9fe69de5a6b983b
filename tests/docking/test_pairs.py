"""A protein and a ligand as two files, a SMILES, and a pocket around the ligand of a third file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from domains.docking.structures.complexes import read
from domains.docking.structures.pairs import Pair
from domains.docking.structures.pocket_files import read_pocket_choice
from domains.errors import InputError

DATA = Path(__file__).parents[1] / "data"
PROTEIN, LIGAND = DATA / "6o5u_protein.pdb", DATA / "6o5u_ligand.sdf"


def test_a_pair_is_what_a_table_with_that_row_is(tmp_path: Path) -> None:
    table = tmp_path / "jobs.csv"
    table.write_text(f"complex_name,protein_path,ligand_description,protein_sequence\na,{PROTEIN},{LIGAND},\n")
    (by_pair,), (by_table,) = read(Pair(PROTEIN, LIGAND))[0], read(table)[0]
    assert by_pair.pocket.residue_ids == by_table.pocket.residue_ids
    assert by_pair.reference is not None and by_table.reference is not None
    np.testing.assert_array_equal(by_pair.reference, by_table.reference)


def test_a_smiles_goes_into_the_pocket_of_another_ligand() -> None:
    """The same residues as around that ligand's own pose; nothing is known of the pose."""
    (known,), _ = read(Pair(PROTEIN, LIGAND), pocket="ligand:5")
    (found,), problems = read(Pair(PROTEIN, "CC(=O)Nc1ccc(O)cc1 paracetamol"), pocket=f"{LIGAND}:5")
    assert problems == []
    assert (found.name, found.reference, found.ligand.n_atoms) == ("paracetamol", None, 11)
    assert found.pocket.residue_ids == known.pocket.residue_ids
    assert found.pocket.spec.startswith("6o5u_ligand.sdf, 5 Å")


def test_what_cannot_be_a_pocket_or_a_ligand_is_said() -> None:
    with pytest.raises(InputError, match=r"none\.sdf"):
        read_pocket_choice("none.sdf")
    with pytest.raises(ValueError, match="give a number of Å after the file"):
        read_pocket_choice(f"{LIGAND}:near")
    none, (problem,) = read(Pair(PROTEIN, "C1CC"), pocket="point:0,0,0")
    assert none == [] and "cannot read the SMILES 'C1CC'" in str(problem)
