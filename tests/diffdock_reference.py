"""DiffDock's published code on 6o5u with random weights: networks, complexes and answers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from conftest import data
from torch import Tensor

from domains.docking.networks.diffdock import ComplexGraph, DiffDockScoreModel, LigandGraph, ReceptorGraph
from domains.docking.networks.diffdock.config import DiffDockConfig
from domains.docking.networks.diffdock.processing import ligand_graph, read_molecule
from domains.docking.networks.diffdock.release import load_state
from domains.docking.networks.diffdock.score_norms import TorsionNorm

FACTORS = ("tr", "rot", "tor")
ANSWERS = np.load(data("diffdock_score_models.npz"))


def state(name: str) -> dict[str, Tensor]:
    """The state_dict of the configuration "small" or "small_lmax1", or of "small" with heads made larger."""
    prefix = f"{name.removesuffix('_ode')}/state/"
    found = {k.removeprefix(prefix): torch.tensor(ANSWERS[k]) for k in ANSWERS.files if k.startswith(prefix)}
    scales = f"{name}/head_scale/"
    for key in ANSWERS.files:
        if key.startswith(scales):
            found[key.removeprefix(scales)] *= float(ANSWERS[key])
    return found


def parameters(name: str) -> dict[str, Any]:
    """What the yaml of that configuration would hold."""
    values: dict[str, Any] = json.loads(str(ANSWERS[f"{name.removesuffix('_ode')}/args"]))
    return values


def network(name: str, dtype: torch.dtype = torch.float32, **options: object) -> DiffDockScoreModel:
    """The network of that configuration, with the Monte Carlo table that its answers were made with."""
    model = DiffDockScoreModel(DiffDockConfig.from_parameters(parameters(name) | options))
    load_state(model, state(name), data("diffdock_score_models.npz"))
    model.torsion_norm = TorsionNorm(torch.tensor(ANSWERS["torus_score_norm_table"]))
    return model.eval().requires_grad_(False).to(dtype)


def complex_6o5u(dtype: torch.dtype = torch.float32) -> ComplexGraph:
    """The published code's own graph."""
    graph = {k: torch.tensor(v) for k, v in np.load(data("diffdock_6o5u_graph.npz")).items()}
    ligand = LigandGraph(
        graph["ligand/x"],
        graph["ligand/edge_index"],
        graph["ligand/edge_attr"].argmax(1),
        graph["ligand/edge_mask"],
        graph["ligand/mask_rotate"],
    )
    esm, positions = graph["receptor/esm"].to(dtype), graph["receptor/pos"].to(dtype)
    return ComplexGraph(ReceptorGraph(graph["receptor/x"], esm, positions, graph["receptor/edge_index"]), ligand)


def part_of(receptor: ReceptorGraph, n: int) -> ReceptorGraph:
    """The first n residues of a receptor, with the edges among them."""
    edges = receptor.edges[:, (receptor.edges < n).all(0)]
    assert receptor.language_model is not None
    return ReceptorGraph(receptor.residue_type[:n], receptor.language_model[:n], receptor.positions[:n], edges)


def ligand_1a46() -> LigandGraph:
    """Another ligand, with 38 atoms and 13 torsions."""
    return ligand_graph(read_molecule(data("1a46_ligand.sdf")), "1a46")


def case(i: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Poses, time and noise levels of case 0 (t = 1), 1 (t = 0.5) or 2 (t = 0.05)."""
    sigma = torch.tensor(ANSWERS[f"case{i}/sigmas"])
    levels = dict(zip(FACTORS, sigma, strict=True))
    return torch.tensor(ANSWERS[f"case{i}/poses"]).to(dtype), torch.tensor(float(ANSWERS[f"case{i}/t"])), levels


def largest_difference(found: Tensor, wanted: Tensor) -> float:
    """In parts of the largest component."""
    return float((found - wanted).abs().max() / wanted.abs().max())
