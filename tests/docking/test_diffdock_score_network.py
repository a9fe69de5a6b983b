"""DiffDock's network behind the interface of the docking flow: the same scores, torsions in the batch's order."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch
from conftest import data
from diffdock_reference import FACTORS, case, complex_6o5u, largest_difference, network

from domains.docking.networks.diffdock import DiffDock
from domains.docking.poses.diffusion import score_norms
from domains.docking.structures.batch import ComplexBatch, collate
from domains.docking.structures.complexes import Complex
from domains.docking.structures.ligand import Ligand
from domains.docking.structures.ligand_files import read_sdf
from domains.docking.structures.pocket import Pocket
from domains.docking.structures.protein import Protein
from domains.docking.structures.residues import ATOM_NAME_VOCABULARY


def batch_6o5u(names: tuple[str, ...] = ("6o5u",), embedding: torch.Tensor | None = None) -> ComplexBatch:
    """The published graph's residues as a pocket of alpha carbons and nitrogens, and the ligand of the SDF."""
    receptor = complex_6o5u().receptor
    positions = receptor.positions.numpy().repeat(2, 0)
    names_of_atoms = np.tile([ATOM_NAME_VOCABULARY.index("N"), ATOM_NAME_VOCABULARY.index("CA")], len(receptor))
    pocket = Pocket(
        positions=positions,
        element=np.zeros(len(positions), dtype=np.int64),
        residue=receptor.residue_type.numpy().repeat(2),
        atom_name=names_of_atoms,
        residue_index=np.arange(len(receptor)).repeat(2),
        origin=np.zeros(3, dtype=np.float32),
        residue_ids=tuple(f"A:{i}" for i in range(len(receptor))),
        spec="protein",
    )
    ligand = next(iter(read_sdf(data("6o5u_ligand.sdf"), "diffdock")))
    assert isinstance(ligand, Ligand)
    unread = cast("Protein", None)  # a batch is made of pockets
    batch = collate([Complex(name, ligand, pocket, None, unread) for name in names])
    # The published features hold chirality tags that the hydrogens' order in the file decides.
    if embedding is not None:
        batch = replace(batch, residue_embedding=embedding.expand(len(names), -1, -1))
    return replace(batch, atom_features=complex_6o5u().ligand.atom_features.expand(len(names), -1, -1))


@pytest.mark.parametrize("i", range(3))
def test_scores_are_those_of_the_model(i: int) -> None:
    receptor = complex_6o5u().receptor
    assert receptor.language_model is not None
    model = network("small")
    adapter = DiffDock(model)
    batch = batch_6o5u(("a", "b"), receptor.language_model)
    encoding = adapter.encode(batch)
    assert len(encoding.first_residue) == 1  # one receptor for both
    poses, t, sigma = case(i)
    rows = torch.tensor([0, 1, 0])
    found = adapter.score(encoding, rows, poses, sigma)
    wanted = model(model.encode([complex_6o5u()]), torch.zeros(3, dtype=torch.long), poses, t, sigma)
    for factor, norm in score_norms(sigma).items():
        assert largest_difference(getattr(found, factor) * norm, getattr(wanted, factor)) < 1e-5


def test_missing_embeddings_are_named() -> None:
    with pytest.raises(ValueError, match=r"6o5u .* its 268 residues, got \(0, 0\)"):
        DiffDock(network("small")).encode(batch_6o5u())
    with pytest.raises(ValueError, match=r"6o5u .* its 268 residues, got \(5, 1280\)"):
        DiffDock(network("small")).encode(batch_6o5u(embedding=torch.zeros(5, 1280)))


def test_slopes_by_the_noise_levels() -> None:
    """Grids are learned through them: automatic derivatives against central differences, but for the table's steps."""
    receptor = complex_6o5u(torch.float64).receptor
    assert receptor.language_model is not None
    model = network("small", torch.float64)
    model.torsion_norm = type(model.torsion_norm)()
    adapter = DiffDock(model)
    batch = batch_6o5u(embedding=receptor.language_model)
    batch = replace(batch, pocket_positions=batch.pocket_positions.double())
    encoding, poses = adapter.encode(batch), case(1, torch.float64)[0]
    weights = {
        f: torch.randn(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        for f, n in (("rot", 3), ("tor", 6))
    }

    def value(rot: torch.Tensor, tor: torch.Tensor) -> torch.Tensor:
        sigma = {"tr": torch.tensor(1.3, dtype=torch.float64), "rot": rot, "tor": tor}
        scores, norms = adapter.score(encoding, torch.zeros(3, dtype=torch.long), poses, sigma), score_norms(sigma)
        return sum(((getattr(scores, f) * norms[f]) @ w).sum() for f, w in weights.items())

    rot = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    tor = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    slopes = torch.autograd.grad(value(rot, tor), [rot, tor])
    with torch.no_grad():
        for k, step in ((0, 0.08), (1, 1e-4)):  # the rotations' table has steps of half a percent
            shift = [step * (k == 0), step * (k == 1)]
            high = value(rot + shift[0], tor + shift[1])
            low = value(rot - shift[0], tor - shift[1])
            difference = (high - low) / (2 * step)
            assert abs(difference / slopes[k] - 1) < (0.1 if k == 0 else 1e-5)
    assert set(FACTORS) == {"tr", *weights}
