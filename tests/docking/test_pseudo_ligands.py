"""Ligands cut out of proteins: the right molecules, in the right place, and a pocket without a trace of them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from docking_models import complexes
from rdkit import Chem
from scipy.spatial.distance import cdist

from domains.docking.structures.protein import Protein
from domains.docking.structures.protein_files import read_protein
from domains.docking.structures.pseudo_ligands import CUTS, Cut, PseudoLigands, Run, cut_out, find_runs
from domains.docking.structures.residues import SIDE_CHAINS

THREE_LETTERS = (
    *("ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE"),
    *("LEU", "LYS", "MET", "PHE", "PRO", "SER", "THR", "TRP", "TYR", "VAL"),
)
ONE_LETTER = dict(zip(THREE_LETTERS, "ARNDCQEGHILKMFPSTWYV", strict=True))


def protein() -> Protein:
    """Of 1uou, 433 amino acids."""
    return complexes()[3].protein


def peptide(names: list[str], cut: Cut) -> str:
    """The same molecule without coordinates: RDKit's own L-peptide, its ends changed."""
    mol = Chem.RWMol(Chem.MolFromSequence("".join(ONE_LETTER[name] for name in names)))
    start, end = cut.split("/")
    by_name = {
        (a.GetPDBResidueInfo().GetResidueNumber(), a.GetPDBResidueInfo().GetName().strip()): a.GetIdx()
        for a in mol.GetAtoms()
    }
    oxt = by_name[len(names), "OXT"]
    mol.GetAtomWithIdx(oxt).SetAtomicNum(7)
    if end == "methylamide":
        mol.AddBond(oxt, mol.AddAtom(Chem.Atom(6)), Chem.BondType.SINGLE)
    if start == "acetyl":
        carbonyl, oxygen, methyl = (mol.AddAtom(Chem.Atom(z)) for z in (6, 8, 6))
        mol.AddBond(by_name[1, "N"], carbonyl, Chem.BondType.SINGLE)
        mol.AddBond(carbonyl, oxygen, Chem.BondType.DOUBLE)
        mol.AddBond(carbonyl, methyl, Chem.BondType.SINGLE)
    Chem.SanitizeMol(mol)
    return Chem.MolToSmiles(Chem.MolFromSmiles(Chem.MolToSmiles(mol)))


def test_runs_are_consecutive_residues_with_their_contacts() -> None:
    """Counted from the distances of all atoms."""
    own = protein()
    runs = find_runs(own, contacts=6)
    assert len(runs) > 500
    assert {len(run.residues) for run in runs} == {1, 2, 3}
    for run in runs[::40]:
        ids = [own.residue_ids[r] for r in (run.before, *run.residues, run.after)]
        numbers = [int(word.split(":")[1]) for word in ids]
        assert all(b - a == 1 for a, b in pairwise(numbers)), ids
        inside = np.isin(own.residue_index, run.residues)
        near = (cdist(own.positions[inside], own.positions) <= 4.5).any(0)
        touched = set(own.residue_index[near].tolist()) - run.removed
        assert run.contacts == len(touched) >= 6
        assert {run.before, run.after, *run.residues} <= run.removed


def test_more_contacts_are_asked_of_fewer_runs() -> None:
    loose, tight = (set(find_runs(protein(), contacts=n)) for n in (6, 14))
    assert tight < loose
    assert tight


@pytest.mark.parametrize("cut", [cut for cut in CUTS if cut != "side chain"])
def test_a_run_is_the_peptide_of_its_sequence(cut: Cut) -> None:
    """Atoms, bond orders and chirality, against RDKit's L-peptides."""
    own, seen = protein(), set()
    for run in find_runs(own)[::9]:
        ligand = cut_out(own, run, cut)
        if ligand is None:
            continue
        names = [own.residue_names[r] for r in run.residues]
        assert Chem.MolToSmiles(ligand.mol) == peptide(names, cut), names
        seen |= set(names)
    assert len(seen) > 15, "too few kinds of residues to say anything"


def test_side_chains_keep_their_chemistry() -> None:
    expected = {"PHE": "CCc1ccccc1", "LYS": "CCCCCN", "GLU": "CCCC(=O)O", "TRP": "CCc1c[nH]c2ccccc12", "MET": "CCCSC"}
    own, found = protein(), {}
    for run in find_runs(own):
        name = own.residue_names[run.residues[0]]
        if len(run.residues) == 1 and (ligand := cut_out(own, run, "side chain")) is not None:
            found[name] = Chem.MolToSmiles(ligand.mol)
        elif len(run.residues) > 1:
            assert cut_out(own, run, "side chain") is None
    assert {name: found[name] for name in expected if name in found} == {
        n: s for n, s in expected.items() if n in found
    }
    assert len(expected.keys() & found.keys()) >= 4
    assert "PRO" not in found
    assert "ALA" not in found


def test_the_pocket_has_no_trace_of_the_ligand() -> None:
    """No atom twice, nothing within a covalent bond of it, and all the rest of the protein still there."""
    own, rng = protein(), np.random.default_rng(0)
    source = PseudoLigands(own)
    for _ in range(40):
        drawn = source.draw(rng)
        assert drawn is not None
        ligand, pocket = drawn
        apart = cdist(ligand.positions, pocket.positions)
        assert apart.min() > 2.0
        to_own = cdist(ligand.positions, own.positions)
        assert (to_own.min(1) == 0).all(), "it lies where the protein's atoms were"
        assert len(set(to_own.argmin(1).tolist())) == ligand.n_atoms
        gone = set(own.residue_ids) - set(pocket.residue_ids)
        assert len(gone) <= 3 + 2 * 2
        assert (
            len(own.positions) - len(pocket.positions)
            == np.isin(own.residue_index, [i for i, word in enumerate(own.residue_ids) if word in gone]).sum()
        )
        assert 5 <= ligand.n_atoms <= 60
        assert ligand.n_torsions <= 14


def test_draws_depend_on_the_generator_alone() -> None:
    one, two = PseudoLigands(protein()), PseudoLigands(protein())
    names = [[s.draw(np.random.default_rng(k)) for k in range(6)] for s in (one, two)]
    found = [[drawn[0].name for drawn in row if drawn is not None] for row in names]
    assert found[0] == found[1]
    assert len(set(found[0])) > 3


def test_a_run_of_a_given_length_or_none() -> None:
    for length in (1, 2, 3):
        drawn = PseudoLigands(protein()).draw(np.random.default_rng(1), length)
        assert drawn is not None
        assert len(drawn[0].name.split(" ")[0].split("-")) == length
    assert PseudoLigands(protein(), contacts=100).draw(np.random.default_rng(0)) is None


def written(tmp_path: Path, lines: list[str]) -> Protein:
    path = tmp_path / "protein.pdb"
    path.write_text("\n".join([*lines, "END\n"]))
    return read_protein(path)


def of(own: Protein, runs: list[Run], residue: str) -> list[Run]:
    return [run for run in runs if own.residue_ids.index(residue) in run.residues]


def test_residues_that_lack_atoms_or_are_bonded_elsewhere_stay(tmp_path: Path) -> None:
    own = protein()
    lines = [str(line) for line in own.pdb_lines]
    run = next(r for r in find_runs(own) if own.residue_names[r.residues[0]] == "PHE" and len(r.residues) == 1)
    residue = own.residue_ids[run.residues[0]]
    atoms = np.flatnonzero(own.residue_index == run.residues[0])
    lost = next(i for i in atoms if lines[i][12:16].strip() == "CZ")
    cut_short = written(tmp_path, lines[:lost] + lines[lost + 1 :])
    assert of(own, find_runs(own), residue)
    assert not of(cut_short, find_runs(cut_short), residue)
    x, y, z = own.positions[lost] + np.array([0.0, 0.0, 1.4], dtype=np.float32)
    carbon = f"HETATM 9999  C1  XYZ Z 999    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C"
    bonded = written(tmp_path, [*lines, carbon])
    assert not of(bonded, find_runs(bonded), residue)


def test_chain_ends_are_not_cut_out() -> None:
    """A cap needs a neighbour, and where the chain is broken there is none."""
    own = protein()
    inside = {r for run in find_runs(own, contacts=0) for r in run.residues}
    assert 0 not in inside
    amino_acids = [i for i, name in enumerate(own.residue_names) if name in SIDE_CHAINS]
    assert amino_acids[-1] not in inside


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="flank and longest must be at least 1, got 0 and 3"):
        find_runs(protein(), flank=0)
