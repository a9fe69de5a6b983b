"""Measures on a device: fits on an image network, a docking network's evaluations, and training steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch

from domains.docking.networks.weights import DockingModel
from domains.docking.poses.flow import DockingFlow
from domains.docking.structures.batch import collate
from domains.docking.structures.complexes import Complex
from domains.docking.training.config import TrainConfig
from domains.docking.training.examples import noisy_example
from domains.docking.training.run import new_run, train_step
from domains.fit_cost import seconds_a_call
from domains.images.edm.denoiser import DenoiserConfig, edm_denoiser
from domains.images.fits import learn_grid
from domains.images.flow import DenoiserFlow
from domains.images.models.preconditioning import NoiseDistribution, loss_weight
from domains.images.settings import FITS, TEACHER
from ld3.learn import FitConfig, Teacher
from ld3.solvers import get_solver

_ANSWER = 0.02  # standard deviation of weights that start at zero: a network that answers nothing has nothing to fit


@final
@dataclass(frozen=True)
class Row:
    """A figure.

    Attributes:
        what: was measured.
        value: of it.
        unit: of the value.
        detail: what else there is to know.
    """

    what: str
    value: float
    unit: str
    detail: str = ""


def random_flow(config: DenoiserConfig, device: torch.device, precision: torch.dtype | None, seed: int) -> DenoiserFlow:
    """A denoiser of these sizes with random weights, none of them zero, as a flow on the device."""
    torch.manual_seed(seed)
    denoiser = edm_denoiser(config)
    with torch.no_grad():
        for weight in denoiser.parameters():
            if not weight.any():
                weight.normal_(std=_ANSWER)
    return DenoiserFlow(denoiser.to(device).eval().requires_grad_(False), precision=precision)


def fits(
    flow: DenoiserFlow, nfe: tuple[int, ...], pairs: int, batch: int, config: FitConfig, teacher: Teacher
) -> list[Row]:
    """Evaluations a second, and for every number of evaluations how long a fit takes and what it gains."""
    seconds = seconds_a_call(flow, flow.starts(batch, 0))
    parameters = sum(weight.numel() for weight in flow.denoiser.parameters())
    rows = [Row("image network", 1 / seconds, "evaluations/s", f"{parameters / 1e6:.1f} M weights, batch {batch}")]
    for n in nfe:
        began = time.perf_counter()
        fit = learn_grid(flow, n, learn=config, pairs=pairs, batch=batch, teacher=teacher)
        whole = time.perf_counter() - began
        gain = fit.loss_learned / fit.loss_hand_made
        detail = (
            f"{fit.solver}, {pairs} pairs; {fit.seconds:.1f} s without the teacher, {fit.gradient_evaluations:,} of "
            f"{fit.network_evaluations:,} evaluations differentiated; {gain:.3g} of the best distance by hand"
        )
        rows.append(Row(f"fit at {n} evaluations", whole, "s", detail))
    return rows


@torch.no_grad()
def docking(model: DockingModel, name: str, members: list[Complex], poses: int, rounds: int = 3) -> Row:
    """Network evaluations a second, of `poses` poses of one complex side by side; the best of `rounds`."""
    flow = DockingFlow(model.encode(collate(members)))
    start = flow.prior(poses, torch.Generator(model.device).manual_seed(0))
    seconds = min(seconds_a_call(flow, start) for _ in range(rounds))
    return Row(f"docking network {name}", 1 / seconds, "evaluations/s", f"{poses} poses of {members[0].name}")


def image_training(
    config: DenoiserConfig, device: torch.device, precision: torch.dtype | None, batch: int, steps: int
) -> Row:
    """Training steps a second of a denoiser: forward, backward and Adam, on random images."""
    torch.manual_seed(0)
    denoiser = edm_denoiser(config).to(device).train()
    adam = torch.optim.Adam(denoiser.parameters(), lr=1e-4)
    generator = torch.Generator(device).manual_seed(0)
    network = config.network
    shape = (batch, network.channels, network.resolution, network.resolution)
    clean = torch.randn(shape, generator=generator, device=device)
    label = torch.zeros(batch, dtype=torch.long, device=device) if network.classes else None

    def step() -> None:
        sigma = NoiseDistribution().draw(batch, generator)
        noise = torch.randn(clean.shape, generator=generator, device=device)
        with torch.autocast(device.type, precision, enabled=precision is not None):
            denoised = denoiser(clean + sigma[:, None, None, None] * noise, sigma, label)
        error = (denoised.float() - clean).square().flatten(1).mean(1)
        adam.zero_grad()
        (loss_weight(sigma, config.sigma_data) * error).mean().backward()
        adam.step()

    return Row("image training", steps / timed(step, steps, device), "steps/s", f"batch {batch}, {_word(precision)}")


def docking_training(config: TrainConfig, members: list[Complex], steps: int) -> Row:
    """Training steps a second of the docking network, on noisy poses of these complexes that lie ready on the CPU."""
    run = new_run(config)
    example = noisy_example(collate(members), config.poses, config.noise, torch.Generator().manual_seed(config.seed))
    device = torch.device(config.device)

    def step() -> None:
        train_step(run, example, config)

    detail = f"{len(members)} complexes x {config.poses} poses, {config.precision}"
    return Row("docking training", steps / timed(step, steps, device), "steps/s", detail)


def timed(work: Callable[[], None], times: int, device: torch.device) -> float:
    """Wall seconds of doing it so often, after once to warm up."""
    work()
    synchronise(device)
    began = time.perf_counter()
    for _ in range(times):
        work()
    synchronise(device)
    return time.perf_counter() - began


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def image_fit(seconds: float) -> FitConfig:
    """The usual fit of images, ended after so many seconds."""
    return FitConfig(**{**vars(FITS["joint"]), "seconds": seconds})


def teacher(nfe: int, batch: int) -> Teacher:
    """The usual teacher of images."""
    get_solver(TEACHER.solver).steps(nfe)
    return Teacher(solver=TEACHER.solver, grid=TEACHER.grid, nfe=nfe, checked=batch, chunk=batch)


def train_config(out: Path, device: str) -> TrainConfig:
    """The usual training of the docking network, in bfloat16."""
    return TrainConfig(data=(out,), out=out, device=device, precision="bf16")


def _word(precision: torch.dtype | None) -> str:
    return "float32" if precision is None else str(precision).removeprefix("torch.")
