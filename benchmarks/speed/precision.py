"""What half precision changes, in Å: ``python -m benchmarks.speed.precision``.

End poses of the demo weights on their shipped grid, from the same starts, against those of float32; and the atoms'
displacement in one step of the network at DiffDock-L's size with random weights, with the CPU seconds that it takes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.common.tables import Table
from benchmarks.speed.__main__ import Options as SpeedOptions
from benchmarks.speed.measure import noisy_poses, random_model, read_complex, workload
from domains import docking
from domains.docking.networks.weights import PRECISIONS, DockingModel
from domains.docking.poses.flow import DockingFlow
from domains.docking.poses.metrics import success
from domains.docking.structures.batch import collate
from domains.errors import InputError
from domains.options import check_numbers
from ld3.grids import from_times
from ld3.solvers import get_solver, integrate

EXACT: Final = "float32"


@dataclass(frozen=True)
class Options:
    """What is compared."""

    nfe: int = 10
    """evaluations a pose of the grid that comes with the weights"""
    samples: int = 16
    """poses of each of the four complexes of the posebusters package"""
    poses: int = 2
    """of the step at DiffDock-L's size; 0 leaves it out"""
    times: tuple[float, ...] = (1.0, 0.5, 0.05)
    """of that step, from t to half of it"""
    weights: Path = Path("demo")
    """that have a grid of --nfe evaluations"""
    seed: int = 0
    threads: int = 1


def main(options: Options, console: Console) -> None:
    """Compare and print.

    Raises:
        InputError: for what the user can mend.
    """
    check_numbers(options, {"nfe": 1, "samples": 1, "poses": 0, "threads": 1})
    torch.set_num_threads(options.threads)
    headings = ("precision", "median Å", "90%", "largest", "over 0.5 Å", "< 2 Å of the bound pose", "failed")
    title = f"end poses against {EXACT}'s, {4 * options.samples} poses, {options.nfe} NFE"
    console.print(Table(headings, _ends(options)).terminal(title))
    if options.poses:
        model = random_model("diffdock", options.seed)
        lines = [row for t in options.times for row in _step(model, options, t)]
        title = f"one step at DiffDock-L's size, random weights, {options.poses} poses, {options.threads} threads"
        step_headings = ("precision", "t", "atoms move, Å", "error, Å", "largest, Å", "CPU s")
        console.print(Table(step_headings, lines).terminal(title))


def _ends(options: Options) -> list[tuple[str, ...]]:
    """A line a precision, of the demo weights."""
    model = docking.load_model(options.weights)
    complexes, _ = docking.read()
    lines: list[tuple[str, ...]] = []
    exact: dict[str, NDArray[np.float32]] = {}
    for name, precision in PRECISIONS.items():
        own = replace(model, precision=precision)
        docked = docking.dock(own, complexes, options.nfe, samples=options.samples, seed=options.seed)
        exact = exact or dict(docked.positions)
        away = np.concatenate([_rmsd(docked.positions[c.name], exact[c.name]) for c in complexes])
        rate = np.concatenate([success(rmsd, 2.0) for rmsd in docked.rmsd().values()]).mean()
        sound = away[np.isfinite(away)]
        quantiles = (f"{value:.4f}" for value in np.quantile(sound, (0.5, 0.9, 1.0)))
        lines.append((name, *quantiles, f"{(sound > 0.5).mean():.1%}", f"{rate:.1%}", str(len(docked.failed))))
    return lines


def _step(model: DockingModel, options: Options, t: float) -> list[tuple[str, ...]]:
    """A line a precision, of one Euler step of the ODE from t to half of it."""
    files = SpeedOptions()
    members = workload(read_complex(files.protein, files.ligand, whole=True), 1, ligands=False, seed=options.seed)
    encoded = model.encode(collate(members))
    lines: list[tuple[str, ...]] = []
    exact: NDArray[np.float32] | None = None
    for name, precision in PRECISIONS.items():
        flow = DockingFlow(replace(encoded, model=replace(model, precision=precision)))
        x = noisy_poses(flow, options.poses, t, torch.Generator().manual_seed(options.seed))
        began = time.process_time()
        with torch.no_grad():
            end = integrate(flow, x, from_times(flow.clock, (t, t / 2)), get_solver("euler_lambda")).positions.numpy()
        spent = time.process_time() - began
        exact = end if exact is None else exact
        moved, away = _rmsd(end, x.positions.numpy()), _rmsd(end, exact)
        figures = (f"{moved.mean():.3f}", f"{np.sqrt((away**2).mean()):.1e}", f"{away.max():.1e}", f"{spent:.1f}")
        lines.append((name, f"{t:g}", *figures))
    return lines


def _rmsd(poses: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float64]:
    """Å, atom by atom, (S,)."""
    square = (poses.astype(np.float64) - others).astype(np.float64) ** 2
    return np.asarray(np.sqrt(square.sum(-1).mean(-1)))


def cli(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status, 2 with one line for a mistake of the user."""
    try:
        options = tyro.cli(Options, args=arguments, description=__doc__, prog="python -m benchmarks.speed.precision")
        main(options, Console(width=None if sys.stdout.isatty() else 140))
    except InputError as error:
        Console(stderr=True).print(f"error: {error}", highlight=False, markup=False, soft_wrap=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(cli())
