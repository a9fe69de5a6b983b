"""One workload: P poses of one complex, or P ligands on one receptor, through one step at a noise level."""

from __future__ import annotations

import resource
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Final, final

import numpy as np
import torch
from torch import Tensor

from benchmarks.speed.stopwatch import Stopwatch
from domains import docking
from domains.docking.networks.diffdock import DiffDock, DiffDockConfig, DiffDockScoreModel, edges, network, receptors
from domains.docking.networks.diffdock.config import LANGUAGE_MODEL_WIDTH
from domains.docking.networks.diffdock.convolution import Convolution
from domains.docking.networks.pocket_net import PocketNet, PocketNetConfig
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.diffusion import FACTORS, NoiseRange, draw_noise
from domains.docking.poses.flow import DockingFlow
from domains.docking.poses.low_temperature_sde import PUBLISHED, LowTemperature, sample_low_temperature_sde
from domains.docking.poses.pose import Poses, bound_poses, retract
from domains.docking.structures.batch import collate
from domains.docking.structures.complexes import Complex
from domains.docking.structures.residues import ATOM_NAME_VOCABULARY
from domains.errors import InputError
from ld3.grids import from_times
from ld3.solvers import noise_from, solve

_ALPHA: Final = ATOM_NAME_VOCABULARY.index("CA")

PARTS: Final[dict[str, list[tuple[object, str]]]] = {
    "graphs": [
        *((network, f"{name}_edges") for name in ("ligand", "cross", "centre", "torsion")),
        *((network, name) for name in ("lay_out", "embedded", "share")),
        *((module, "embedded") for module in (receptors, edges)),
    ],
    "products": [(Convolution, "summed")],
    "kinematics": [(DockingFlow, "retract")],
    "solver": [(import_module("ld3.solvers.solve"), name) for name in ("_apply", "_add", "_spread", "_seen_from")],
}
"""Functions whose time is counted apart; what is left of a step is the rest."""

DIFFDOCK_L: Final = DiffDockConfig(
    ns=48,
    nv=10,
    num_conv_layers=11,
    num_prot_emb_layers=3,
    sh_lmax=2,
    sigma_embed_dim=64,
    distance_embed_dim=64,
    cross_distance_embed_dim=64,
    reduce_pseudoscalars=True,
    dynamic_max_cross=True,
    noise=NoiseRange((0.1, 19.0), (0.03, 1.55), (0.0314, 3.14)),
)
"""The sizes of DiffDock-L: 30.2 million numbers."""


@final
@dataclass(frozen=True)
class Cost:
    """Of a workload.

    Attributes:
        parts: "encoding" (once for all steps), then those of one step -> CPU seconds of all threads.
        step_cpu, step_wall: seconds of one step.
        edges: between ligand atoms and residues, one direction; None where the network has no such graph.
        memory: MiB, the largest that the process has held so far.
    """

    network: str
    workload: str
    poses: int
    t: float
    parts: dict[str, float]
    step_cpu: float
    step_wall: float
    edges: int | None
    memory: float

    @property
    def outside(self) -> float:
        """Fraction of a step that solver and kinematics take."""
        return (self.parts.get("solver", 0.0) + self.parts.get("kinematics", 0.0)) / self.step_cpu


def random_model(name: str, seed: int) -> DockingModel:
    """ "diffdock" of the size of DiffDock-L, or "pocket" of the demo's size, with random weights."""
    torch.manual_seed(seed)
    if name == "pocket":
        return DockingModel(PocketNet(PocketNetConfig()).eval().requires_grad_(False), NoiseRange(), 1.0)
    model = DiffDock(DiffDockScoreModel(DIFFDOCK_L)).eval().requires_grad_(False)
    return DockingModel(model, DIFFDOCK_L.noise, 1.0, start_proportion=1.4601642460337794)


def read_complex(protein: Path, ligand: Path, *, whole: bool) -> Complex:
    """A complex of two files, with the whole protein or the pocket around the ligand.

    Raises:
        InputError: if it cannot be docked.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "complex"
        place.mkdir()
        shutil.copy(protein, place / f"protein{protein.suffix}")
        shutil.copy(ligand, place / "ligands.sdf")
        found, problems = docking.read(folder, pocket="protein" if whole else "ligand", rule="diffdock")
    if not found:
        raise InputError(problems[0])
    return found[0]


def workload(found: Complex, poses: int, *, ligands: bool, seed: int) -> list[Complex]:
    """The complex, or `poses` of it with names of their own; with random embeddings of its residues."""
    count = int((found.pocket.atom_name == _ALPHA).sum())
    embedding = np.random.default_rng(seed).standard_normal((count, LANGUAGE_MODEL_WIDTH)).astype(np.float32)
    whole = replace(found, embedding=embedding)
    return [replace(whole, name=f"{found.name} {i}") for i in range(poses)] if ligands else [whole]


@torch.no_grad()
def measure(model: DockingModel, name: str, members: list[Complex], poses: int, t: float, seed: int) -> Cost:
    """One step of the low-temperature SDE from t, on bound poses with the noise of t; its noise included."""
    watch, generator = Stopwatch(), torch.Generator().manual_seed(seed)
    with watch.part("encoding"):
        encoded = model.encode(collate(members))
    flow = DockingFlow(encoded)
    x = noisy_poses(flow, poses, t, generator)
    grid, solver = from_times(flow.clock, (t, t / 2, 0.0)), PUBLISHED.solver(flow.clock)
    began, wall = time.process_time(), time.perf_counter()
    with watch.watching(PARTS):
        steps = solve(x, grid, solver, flow.retract, noise=noise_from(generator))
        question = next(steps)
        steps.send(flow.displacement(*question))
    cpu, wall = time.process_time() - began, time.perf_counter() - wall
    watch.seconds["rest"] = cpu - sum(own for part, own in watch.seconds.items() if part != "encoding")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    kind = "ligands" if len(members) > 1 else "poses"
    sigma = float(flow.clock.sigma(flow.clock.levels(torch.tensor(t)))["tr"])
    pairs = _edges(flow, x, sigma) if name == "diffdock" else None
    return Cost(name, kind, poses, t, watch.seconds, cpu, wall, pairs, memory)


@torch.no_grad()
def docking_seconds(
    model: DockingModel, members: list[Complex], poses: int, steps: int, seed: int
) -> tuple[float, float]:
    """CPU and wall seconds of a whole docking by the low-temperature SDE, all of `steps` steps, encoding included."""
    began, wall = time.process_time(), time.perf_counter()
    flow, generator = DockingFlow(model.encode(collate(members))), torch.Generator().manual_seed(seed)
    start = flow.prior(poses, generator)
    settings = LowTemperature(PUBLISHED.temperatures, steps, steps)
    sample_low_temperature_sde(flow, start, noise_from(generator), settings)
    return time.process_time() - began, time.perf_counter() - wall


def noisy_poses(flow: DockingFlow, poses: int, t: float, generator: torch.Generator) -> Poses:
    """Bound poses, dealt to the complexes in turn, with the noise of t."""
    row = torch.arange(poses) % len(flow.batch)
    sigma = flow.clock.sigma(flow.clock.levels({f: torch.full((poses,), t, dtype=torch.float64) for f in FACTORS}))
    noise = draw_noise(sigma, flow.batch.torsion_bonds.shape[1], generator)
    return retract(flow.batch, bound_poses(flow.batch, row), noise)


def _edges(flow: DockingFlow, x: Poses, sigma: float) -> int:
    """Pairs of a ligand atom and an alpha carbon within 3 σ_tr + 20 Å."""
    alpha = (flow.batch.pocket_atom_name == _ALPHA) & flow.batch.pocket_mask
    pairs: Tensor = torch.cdist(x.positions, flow.batch.pocket_positions[x.complex_row]) < 3 * sigma + 20
    pairs = pairs & alpha[x.complex_row].unsqueeze(1) & flow.batch.atom_mask[x.complex_row].unsqueeze(2)
    return int(pairs.sum())
