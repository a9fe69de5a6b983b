"""What a GPU makes of all this, in under eight minutes: ``python -m benchmarks.gpu``.

On a network of the size that EDM trained on CIFAR-10, with random weights: fits at 4, 5 and 10 evaluations, and
training steps a second in bfloat16. Of the docking networks, PocketNet and DiffDock-L's, with random weights:
evaluations a second, and PocketNet's training steps. Without a GPU it says so, and measures nothing.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
import tyro
from rich.console import Console

from benchmarks.common.tables import Table
from benchmarks.gpu import measure
from benchmarks.gpu.measure import Row
from benchmarks.speed.measure import random_model, workload
from domains import docking
from domains.docking.structures.complexes import Complex
from domains.images.edm.denoiser import DenoiserConfig
from domains.images.edm.network import NetworkConfig

NO_GPU = 2


@dataclass(frozen=True)
class Options:
    """Options of the measurement."""

    minutes: float = 7.5
    """nothing new is begun after that"""
    nfe: tuple[int, ...] = (4, 5, 10)
    """of the fits"""
    pairs: int = 200
    """teacher runs of a fit"""
    batch: int = 128
    """images side by side"""
    poses: tuple[int, ...] = (10, 40, 200)
    """side by side, of one complex"""
    out: Path | None = None
    """also write the figures to this JSON file"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__, prog="python -m benchmarks.gpu")
    if not torch.cuda.is_available():
        print("no GPU that torch can use is here: nothing was measured", file=sys.stderr)
        return NO_GPU
    card = torch.cuda.get_device_name()
    log = Console(stderr=True, highlight=False, soft_wrap=True)
    rows: list[Row] = []
    left_out: list[str] = []
    deadline = time.monotonic() + 60 * options.minutes
    for name, work in parts(options, "cuda"):
        if time.monotonic() > deadline:
            left_out.append(name)
            continue
        log.print(f"{name} ...", markup=False)
        rows += work()
        write(options.out, card, options, rows, left_out)
    write(options.out, card, options, rows, left_out)
    print(f"{card}, torch {torch.__version__}\n")
    print(table(rows))
    for name in left_out:
        print(f"left out, for time: {name}")
    return 0


def parts(
    options: Options, device: str, size: DenoiserConfig | None = None, complexes: list[Complex] | None = None
) -> Iterator[tuple[str, Callable[[], list[Row]]]]:
    """What is measured, in order, each with what does it.

    Args:
        options: of the measurement.
        device: as torch writes it.
        size: of the image network; that of EDM on CIFAR-10 if None.
        complexes: that are docked and trained on; those that come with the package if None.
    """
    size, place = size or DenoiserConfig(NetworkConfig()), torch.device(device)
    members = docking.read(None)[0] if complexes is None else complexes
    half = torch.bfloat16

    def pocket(name: str) -> list[Row]:
        model = random_model(name, 0)
        model.network.to(place)
        own = workload(members[0], 1, ligands=False, seed=0)
        return [measure.docking(model, name, own, poses) for poses in options.poses]

    def training() -> list[Row]:
        return [measure.docking_training(measure.train_config(Path(), device), members, 20)]

    for name in ("pocket", "diffdock"):
        yield f"evaluations of the docking network {name}", partial(pocket, name)
    yield "training steps of the docking network", training
    yield "training steps of the image network", lambda: [measure.image_training(size, place, half, options.batch, 20)]
    share = 60 * options.minutes / (2 * len(options.nfe))
    flow = measure.random_flow(size, place, half, 0)
    for n in options.nfe:
        yield (
            f"a fit at {n} evaluations",
            partial(
                measure.fits,
                flow,
                (n,),
                options.pairs,
                options.batch,
                measure.image_fit(share),
                measure.teacher(40, options.batch),
            ),
        )


def table(rows: Sequence[Row]) -> str:
    """One line a figure, as Markdown."""
    cells = [(row.what, row.detail, f"{row.value:,.3g}", row.unit) for row in dict.fromkeys(rows)]
    return Table(("what", "of", "", "unit"), cells, text_columns=2).markdown()


def write(out: Path | None, card: str, options: Options, rows: Sequence[Row], left_out: Sequence[str]) -> None:
    """All figures so far."""
    if out is None:
        return
    content = {
        "schema": "ld3.gpu",
        "card": card,
        "options": json.loads(json.dumps(asdict(options), default=str)),
        "versions": {name: version(name) for name in ("torch", "e3nn")},
        "rows": [asdict(row) for row in rows],
        "left_out": list(left_out),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(content, indent=2))


if __name__ == "__main__":
    sys.exit(main())
