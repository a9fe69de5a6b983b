"""The published confidence model: its answers, and poses side by side."""

from __future__ import annotations

import pytest
import torch
from conftest import shared
from diffdock_reference import complex_6o5u, largest_difference, part_of

from domains.docking.networks.diffdock import ComplexGraph, ConfidenceModel, LigandGraph, ReceptorAtoms, ReceptorGraph
from domains.docking.networks.diffdock.confidence import ConfidenceConfig
from domains.docking.networks.diffdock.release import load_state


def test_logits_and_activations_of_the_published_code() -> None:
    path = shared("oracles/diffdock/confidence_model_old_aa.pt")
    record = torch.load(path, weights_only=True)
    model = ConfidenceModel(ConfidenceConfig.from_parameters(record["args"]))
    load_state(model, record["state_dict"], path)
    model.eval()
    ligand, receptor, atoms = (record["graph"][part] for part in ("ligand", "receptor", "atom"))
    owner = record["graph"]["atom_receptor_edge_index"]
    assert owner[0].tolist() == list(range(len(atoms["x"])))
    graph = ComplexGraph(
        ReceptorGraph(
            receptor["x"][:, 0].long(),
            receptor["x"][:, 1:],
            receptor["pos"],
            receptor["edge_index"],
            ReceptorAtoms(atoms["x"].long(), atoms["pos"], atoms["edge_index"], owner[1]),
        ),
        LigandGraph(
            ligand["x"],
            ligand["edge_index"],
            ligand["edge_attr"].argmax(1),
            ligand["edge_mask"],
            ligand["mask_rotate"],
        ),
    )
    found = {}
    for name in record["intermediates"]:
        model.get_submodule(name).register_forward_hook(lambda _, __, y, name=name: found.update({name: y}))
    with torch.no_grad():
        logits = model(graph, record["poses"])
    for name, wanted in record["intermediates"].items():
        mine = found[name].repeat(len(wanted) // len(found[name]), 1)
        assert largest_difference(mine, wanted) < 1e-5, name
    assert largest_difference(logits, record["confidence_logits"]) < 1e-5
    assert torch.equal(model.confidence(graph, record["poses"]), logits[:, 0])


def small_model() -> ConfidenceModel:
    torch.manual_seed(0)
    config = ConfidenceConfig(8, 3, 4, 8, 8, 8, outputs=2)
    return ConfidenceModel(config).double().eval().requires_grad_(False)


def small_complex() -> ComplexGraph:
    """Ninety residues of 6o5u with two atoms each."""
    whole = complex_6o5u(torch.float64)
    receptor, generator = part_of(whole.receptor, 90), torch.Generator().manual_seed(1)
    n = len(receptor)
    residue = torch.arange(n).repeat_interleave(2)
    positions = receptor.positions[residue] + torch.randn(2 * n, 3, generator=generator, dtype=torch.float64)
    features = torch.stack([receptor.residue_type[residue], *(torch.full((2 * n,), i) for i in (5, 1, 1))], 1)
    edges = torch.stack([torch.arange(2 * n).roll(1), torch.arange(2 * n)])
    atoms = ReceptorAtoms(features, positions, edges, residue)
    graph = ReceptorGraph(receptor.residue_type, receptor.language_model, receptor.positions, receptor.edges, atoms)
    return ComplexGraph(graph, whole.ligand)


def test_poses_side_by_side_and_moved_together() -> None:
    model, graph = small_model(), small_complex()
    generator = torch.Generator().manual_seed(2)
    poses = graph.receptor.positions[:3, None] + 4 * torch.randn(3, 33, 3, generator=generator, dtype=torch.float64)
    together = model.confidence(graph, poses)
    alone = torch.cat([model.confidence(graph, pose) for pose in poses.split(1)])
    assert together.std() > 1e-6
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)
    shift = torch.tensor([3.0, -2.0, 7.0], dtype=torch.float64)
    receptor = graph.receptor
    assert receptor.atoms is not None
    atoms = ReceptorAtoms(
        receptor.atoms.features, receptor.atoms.positions + shift, receptor.atoms.edges, receptor.atoms.residue
    )
    moved = ReceptorGraph(
        receptor.residue_type, receptor.language_model, receptor.positions + shift, receptor.edges, atoms
    )
    there = model.confidence(ComplexGraph(moved, graph.ligand), poses + shift)
    torch.testing.assert_close(there, together, rtol=0, atol=1e-9)


def test_receptor_without_atoms_is_refused() -> None:
    with pytest.raises(ValueError, match="receptor's atoms"):
        small_model()(complex_6o5u(torch.float64), torch.zeros(1, 33, 3, dtype=torch.float64))
