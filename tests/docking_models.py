"""Small docking models and real complexes that the tests of the docking domain share."""

from __future__ import annotations

import functools
from dataclasses import fields, replace

import torch
from torch import Tensor

from domains.docking.networks.diffdock import DiffDock, DiffDockConfig, DiffDockScoreModel
from domains.docking.networks.pocket_net import PocketNet, PocketNetConfig
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.diffusion import NoiseRange
from domains.docking.poses.pose import bound_poses, retract, tangent_sizes
from domains.docking.structures.batch import ComplexBatch, collate
from domains.docking.structures.complexes import Complex, read

SMALL = PocketNetConfig(
    scalars=16,
    vectors=4,
    layers=2,
    message_scalars=4,
    message_vectors=2,
    pocket_scalars=4,
    pocket_vectors=2,
    pocket_basis=6,
    ligand_basis=5,
)

SMALL_DIFFDOCK = DiffDockConfig(
    ns=6,
    nv=2,
    num_conv_layers=2,
    num_prot_emb_layers=1,
    sh_lmax=2,
    sigma_embed_dim=8,
    distance_embed_dim=6,
    cross_distance_embed_dim=6,
    dynamic_max_cross=True,
    language_model=False,
)


@functools.cache
def complexes() -> tuple[Complex, ...]:
    """1ia1, 1of6, 1s3v and 1uou: 13 to 27 atoms, 2 to 6 torsions."""
    found, problems = read()
    assert not problems
    return tuple(found)


def stiff(complex_: Complex) -> Complex:
    """The same complex with a ligand that cannot turn."""
    ligand = complex_.ligand
    rigid = replace(ligand, torsion_bonds=ligand.torsion_bonds[:0], torsion_mask=ligand.torsion_mask[:0])
    return replace(complex_, name=f"{complex_.name}, stiff", ligand=rigid)


def double(batch: ComplexBatch) -> ComplexBatch:
    """The same batch in float64."""
    tensors = {f.name: getattr(batch, f.name) for f in fields(batch) if f.name != "names"}
    return replace(batch, **{name: x.double() for name, x in tensors.items() if x.is_floating_point()})


@functools.cache
def batch() -> ComplexBatch:
    """The four complexes in float64."""
    return double(collate(complexes()))


def moved_poses(data: ComplexBatch, row: Tensor) -> Tensor:
    """Positions (B, A, 3) Å: the bound poses moved by some ångströms and radians."""
    g = torch.Generator().manual_seed(0)
    step = {f: torch.randn(len(row), n, generator=g, dtype=torch.float64) for f, n in tangent_sizes(data).items()}
    return retract(data, bound_poses(data, row), step).positions


@functools.cache
def network(config: PocketNetConfig = SMALL) -> PocketNet:
    """Random weights in float64, the last layers large enough for scores to matter."""
    torch.manual_seed(0)
    net = PocketNet(config).double().eval().requires_grad_(False)
    assert isinstance(net, PocketNet)
    return net


@functools.cache
def diffdock(config: DiffDockConfig = SMALL_DIFFDOCK) -> DiffDock:
    """Random weights in float64."""
    torch.manual_seed(0)
    return DiffDock(DiffDockScoreModel(config)).double().eval().requires_grad_(False)


def model(score_scale: float = 1.0) -> DockingModel:
    """An untrained model in float64."""
    return DockingModel(network(), NoiseRange(), score_scale)
