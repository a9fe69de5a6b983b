"""DiffDock's graphs from raw files: those of the published code for the same files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import data
from diffdock_reference import complex_6o5u
from rdkit import Chem

from domains.docking.networks.diffdock.processing import ligand_graph, read_molecule, receptor_centre, receptor_graph
from domains.docking.structures.protein import Protein
from domains.docking.structures.protein_files import read_protein
from domains.errors import InputError


@pytest.mark.parametrize("name", ["6o5u", "1a46"])
def test_ligands_of_files(name: str) -> None:
    published = np.load(data("diffdock_conformers.npz"))
    graph = ligand_graph(read_molecule(data(f"{name}_ligand.sdf")), name)
    np.testing.assert_array_equal(graph.atom_features, published[f"{name}/x"])
    np.testing.assert_array_equal(graph.bonds, published[f"{name}/edge_index"])
    np.testing.assert_array_equal(graph.bond_types, published[f"{name}/edge_attr"].argmax(1))
    np.testing.assert_array_equal(graph.rotatable, published[f"{name}/edge_mask"])
    np.testing.assert_array_equal(graph.turned, published[f"{name}/mask_rotate"])


def test_bonds_without_a_feature_are_refused() -> None:
    mol = Chem.MolFromSmiles("[NH3]->[Cu]")
    with pytest.raises(InputError, match="ammonia: it has dative bonds"):
        ligand_graph(mol, "ammonia")


def test_files_that_are_no_ligands_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.sdf").write_text("nothing")
    with pytest.raises(InputError, match=r"x\.sdf: RDKit"):
        read_molecule(tmp_path / "x.sdf")
    with pytest.raises(InputError, match=r"\.txt cannot be read"):
        read_molecule(tmp_path / "x.txt")


def test_receptor_of_a_file() -> None:
    protein = read_protein(data("6o5u_protein.pdb"))
    graph, published = receptor_graph(protein, None), complex_6o5u().receptor
    assert torch.equal(graph.residue_type, published.residue_type)
    assert torch.equal(graph.edges, published.edges)
    assert (graph.positions - published.positions).abs().max() < 2e-5
    centre = np.load(data("diffdock_6o5u_graph.npz"))["original_center"][0]
    np.testing.assert_allclose(receptor_centre(protein), centre, atol=2e-5)


def peptide(folder: Path, n: int) -> Protein:
    """A chain of n tryptophans with atoms N, CA, C, O and all of the side chain, one heavy atom every Å or so."""
    names = ("N", "CA", "C", "O", "CB", "CG", "CD1", "CD2", "NE1", "CE2", "CE3", "CZ2", "CZ3", "CH2", "OXT")
    rng = np.random.default_rng(0)
    lines: list[str] = []
    for i in range(n):
        for name in names:
            x, y, z = 3.8 * np.array([i % 7, i // 7, 0]) + rng.normal(size=3)
            serial = len(lines) + 1
            place = f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00"
            lines.append(f"ATOM  {serial:5d}  {name:<3s} TRP A{i + 1:4d}    {place}          {name[0]:>2s}")
    path = folder / "peptide.pdb"
    path.write_text("\n".join([*lines, "END", ""]))
    return read_protein(path)


@pytest.mark.parametrize("reach", [None, 5.0])
def test_neighbours_are_the_nearest(tmp_path: Path, reach: float | None) -> None:
    graph = receptor_graph(peptide(tmp_path, 40), None, neighbours=9, reach=reach)
    distance = torch.cdist(graph.positions.double(), graph.positions.double()).fill_diagonal_(torch.inf)
    for i, row in enumerate(distance):
        nearest = row.argsort()[:9]
        kept = nearest if reach is None else nearest[(row[nearest] < reach) | (torch.arange(9) == 0)]
        assert graph.edges[0, graph.edges[1] == i].tolist() == kept.tolist()


def test_small_receptor_has_all_pairs(tmp_path: Path) -> None:
    assert receptor_graph(peptide(tmp_path, 5), None).edges.shape == (2, 20)


def test_atoms_of_the_confidence_model(tmp_path: Path) -> None:
    protein = peptide(tmp_path, 12)
    atoms = receptor_graph(protein, None, atoms=(8, None)).atoms
    assert atoms is not None
    assert atoms.features.shape == (12 * 14, 4)  # the published table has no OXT
    assert atoms.edges.shape == (2, 12 * 14 * 8)
    # Element, two letters of the name and name of N, CA and CH2, as in the published code's receptor.
    assert atoms.features[[0, 1, 13], 1:].tolist() == [[6, 8, 17], [5, 1, 1], [5, 6, 13]]
    assert atoms.residue.tolist() == [i // 14 for i in range(12 * 14)]


def test_embeddings_of_another_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 12 residues, but there are embeddings for 11"):
        receptor_graph(peptide(tmp_path, 12), torch.zeros(11, 1280))
